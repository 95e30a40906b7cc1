"""The same training in little memory, by us and by what people use: step time, bytes, peak memory.

    python benchmarks/real_run.py FOLDER [--layers 3] [--vocabulary 50257] [--batch 4] [--threads 1]
        [--budget 600MiB] [--objective bytes] [--steps 6] [--sides ...]

GPT-2 of so many layers and tokens (256: bytes), sequences of 256, AdamW, fp32. Sides, each in a process of its own, one
after the other:

- *unlimited*: plain PyTorch;
- *roomy*: `tmtrain.train` with a budget that everything fits into: what the machinery costs;
- *tmtrain*: `tmtrain.train` with the budget. `floor_s` is the longer of computation and the certified least bytes over the
  drive's rate; `simulated` is what the simulator says of the step that was recorded;
- *hooks*: activations saved to a file on the same drive through saved-tensor hooks, and read back in backward;
- *checkpointing*: every block recomputed in backward;
- *deepspeed*: DeepSpeed's ZeRO-3 with parameters and optimizer state on the same drive (`pip install deepspeed`, and libaio
  and ninja of the system; it compiles four extensions on first use, seven minutes here). Its Adam is its own, so losses
  differ;
- *deepspeed-checkpointing*: the same with every block recomputed in backward, since it leaves activations in memory;
- *swap* (as root, with version 1 of the memory cgroup): plain PyTorch in a cgroup that holds the process to
  its fixed part and the budget, swapping to a file on the same drive.

The memory of hooks, checkpointing and DeepSpeed is what they need, not what they may take: none has a budget. Prints one
JSON line per side. `same` says whether the losses are those of the first side, bit for bit, `apart` by how much they differ
at most.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
import transformers

from tmtrain import RunResult, parse_bytes, train
from tmtrain.cli.summaries.simulated_step import simulated_step
from tmtrain.planning import bound_of
from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.host.counters import drives_so_far, forget_peak, peak_resident_bytes
from tmtrain.runtime.tier.pages import PAGE_BYTES, keep_large_blocks_apart

USUAL = ("unlimited", "roomy", "tmtrain", "hooks", "checkpointing")
SIDES = (*USUAL, "deepspeed", "deepspeed-checkpointing", "swap")
LENGTH = 256
ROOMY = "8 GiB"
ON_TOP = "160 MiB"
"""What ours takes beside the budget for temporaries in operators (`RunResult.unmoved_bytes`); swapping gets it too."""
SMALLEST_SAVED = 1 << 18
"""Of an activation that the hooks save: what is smaller is not worth a file access."""
ONE_RANK = {
    "DS_ACCELERATOR": "cpu",
    "RANK": "0",
    "WORLD_SIZE": "1",
    "LOCAL_RANK": "0",
    "LOCAL_SIZE": "1",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29555",
}
"""Where DeepSpeed looks for what else a launcher would say."""
CGROUP, SWAP_BYTES = Path("/sys/fs/cgroup/memory/tmtrain-benchmark"), 16 << 30


def main() -> None:
    """Run all sides, or the one that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--vocabulary", type=int, default=50257)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--budget", default="600MiB")
    parser.add_argument("--objective", help="of ours; by default time")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument(
        "--sides", nargs="+", choices=SIDES, default=USUAL, help="all but DeepSpeed's and swap by default"
    )
    parser.add_argument("--side", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        print(json.dumps(_side(arguments)))
        return
    losses: list[float] | None = None
    for side in arguments.sides:
        with _swap_file(arguments.folder) if side == "swap" else nullcontext():
            done = subprocess.run(
                [sys.executable, *sys.argv, "--side", side], capture_output=True, text=True, check=False
            )
        if done.returncode:
            print(json.dumps({"side": side, "failed": done.stderr.strip().splitlines()[-1:]}))
            continue
        row = json.loads(done.stdout.splitlines()[-1])
        own_losses = row.pop("losses")
        losses = losses or own_losses
        apart = max(abs(one / other - 1) for one, other in zip(own_losses, losses, strict=True))
        print(json.dumps(row | {"same": own_losses == losses, "apart": apart}), flush=True)


def _side(arguments: argparse.Namespace) -> dict[str, Any]:
    torch.set_num_threads(arguments.threads)
    keep_large_blocks_apart()
    if arguments.side == "swap":  # what it takes from here on is counted
        (CGROUP / "cgroup.procs").write_text(str(os.getpid()))
    model, step = _training(arguments)
    if "deepspeed" in arguments.side:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            return {"side": arguments.side} | _measured(
                _by_deepspeed(model, arguments, folder), arguments.steps
            )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    if arguments.side in ("roomy", "tmtrain"):
        budget = arguments.budget if arguments.side == "tmtrain" else ROOMY
        with train(
            model,
            optimizer,
            lambda: step(optimizer),
            budget_bytes=budget,
            flash=arguments.folder,
            objective=arguments.objective,
        ) as training:
            row = _measured(training.step, arguments.steps)
            assert training.planned_step is not None
            return {"side": arguments.side} | row | _outcome_of_ours(training.result, training.planned_step)
    if arguments.side == "swap":
        counted = int((CGROUP / "memory.usage_in_bytes").read_text())
        fixed = counted - sum(parameter.nbytes for parameter in model.parameters())
        limit = fixed + parse_bytes(arguments.budget) + parse_bytes(ON_TOP)
        (CGROUP / "memory.limit_in_bytes").write_text(str(limit))
    return {"side": arguments.side} | _measured(lambda: step(optimizer), arguments.steps)


def _training(
    arguments: argparse.Namespace,
) -> tuple[torch.nn.Module, Callable[[torch.optim.Optimizer], float]]:
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=arguments.layers, vocab_size=arguments.vocabulary)
    config.use_cache = False
    model = transformers.AutoModelForCausalLM.from_config(config).train()
    model.loss_type = "ForCausalLM"
    if "checkpointing" in arguments.side:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    tokens = _tokens(arguments)
    parameters = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    saved = _Saved(arguments.folder, parameters) if arguments.side == "hooks" else None

    def step(optimizer: torch.optim.Optimizer) -> float:
        with saved.forward() if saved else nullcontext():
            loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return model, step


def _tokens(arguments: argparse.Namespace) -> torch.Tensor:
    return torch.randint(
        0, arguments.vocabulary, (arguments.batch, LENGTH), generator=torch.Generator().manual_seed(0)
    )


def _by_deepspeed(model: torch.nn.Module, arguments: argparse.Namespace, folder: str) -> Callable[[], float]:
    os.environ |= ONE_RANK
    import deepspeed  # an own installation: nobody else needs it

    deepspeed.init_distributed("gloo")
    config = _zero_config(model, arguments, folder)
    # initialize() would make the parameters bfloat16, whatever the configuration says: its Init overrules a dtype where the
    # accelerator has no fp16, and then all weights on the drive are half as long as their biases
    deepspeed.zero.Init(module=model, config_dict_or_path=config)
    engine, *_ = deepspeed.initialize(model=model, model_parameters=model.parameters(), config=config)
    tokens = _tokens(arguments)

    def step() -> float:
        loss = engine(input_ids=tokens, labels=tokens).loss
        engine.backward(loss)
        engine.step()
        return loss.item()

    return step


def _zero_config(model: torch.nn.Module, arguments: argparse.Namespace, folder: str) -> dict[str, Any]:
    """Return ZeRO-3 with all on the drive in as little memory as it takes.

    Each of its buffers is as long as the largest parameter. What is soon needed once more would stay, and what is used next
    would be fetched, into as many buffers: with both on, GPT-2 small needs three times the memory and is no faster here.
    """
    largest = max(parameter.numel() for parameter in model.parameters())
    drive = {"device": "nvme", "nvme_path": folder, "pin_memory": False}
    return {
        "train_micro_batch_size_per_gpu": arguments.batch,
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4, "weight_decay": 1e-2}},
        "zero_optimization": {
            "stage": 3,
            "sub_group_size": largest,
            "stage3_max_live_parameters": largest,
            "stage3_max_reuse_distance": 0,
            "stage3_prefetch_bucket_size": 0,
            "reduce_bucket_size": largest,
            "offload_optimizer": drive | {"buffer_count": 4},
            "offload_param": drive | {"buffer_count": 3, "buffer_size": largest, "max_in_cpu": 0},
        },
        "aio": {"block_size": 1 << 20, "queue_depth": 32, "overlap_events": True, "intra_op_parallelism": 1},
    }


def _outcome_of_ours(result: RunResult, planned_step: PlannedStep) -> dict[str, Any]:
    least = bound_of(
        planned_step.timeline, machine=planned_step.machine, objective="bytes", recompute=False
    ).value
    floor_s = max(planned_step.timeline.compute_s, least / planned_step.machine.shared_bytes_per_s)
    return {
        "hows": [step.how for step in result.steps],
        "peak_bytes": max(step.peak_bytes for step in result.steps),
        "bytes_in": result.steps[-1].bytes_in,
        "bytes_out": result.steps[-1].bytes_out,
        "recomputations": result.steps[-1].recomputations,
        "stall_s": result.steps[-1].stall_s,
        "unmoved_bytes": result.unmoved_bytes,
        "planning_s": result.planning_s,
        "compute_s": planned_step.timeline.compute_s,
        "floor_s": floor_s,
        "simulated": asdict(simulated_step(planned_step)),
    }


def _measured(step: Callable[[], float], steps: int) -> dict[str, Any]:
    """Run the steps; the median of time and bytes over those after the third, which ours has planned by then."""
    rows: list[tuple[float, int, int]] = []
    losses: list[float] = []
    torch.manual_seed(1)  # of dropout: building a side may have drawn numbers
    forget_peak()
    for _ in range(steps):
        before, began = _drives(), time.perf_counter()
        losses.append(step())
        seconds = time.perf_counter() - began
        read, written, swapped_in, swapped_out = (
            now - then for now, then in zip(_drives(), before, strict=True)
        )
        rows.append((seconds, max(read, swapped_in), written + swapped_out))
    seconds, read, written = (median(column) for column in zip(*rows[3:], strict=True))
    return {
        "step_time_s": round(seconds, 3),
        "drive_read_bytes": read,
        "drive_written_bytes": written,
        "peak_resident_bytes": peak_resident_bytes(),
        "losses": losses,
    }


def _drives() -> tuple[int, int, int, int]:
    """Return what was read and written so far by this process, and by swapping: its reads are the process's too."""
    counts = dict(line.split() for line in Path("/proc/vmstat").read_text().splitlines())
    ours = drives_so_far()
    return (
        ours.read_bytes,
        ours.written_bytes,
        *(int(counts[name]) * PAGE_BYTES for name in ("pswpin", "pswpout")),
    )


class _Saved:
    """Saves what autograd keeps to a file, but parameters and what is small, and reads it back when it is needed."""

    def __init__(self, folder: Path, parameters: set[int]) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # as long as this
        self._parameters = parameters

    def forward(self) -> Any:
        """Return the context of a forward pass; what the last one saved is forgotten."""
        self._file.seek(0)
        self._file.truncate()
        return torch.autograd.graph.saved_tensors_hooks(self._pack, self._unpack)

    def _pack(self, tensor: torch.Tensor) -> Any:
        if tensor.nbytes < SMALLEST_SAVED or tensor.untyped_storage().data_ptr() in self._parameters:
            return tensor
        at = self._file.seek(0, os.SEEK_END)
        self._file.write(memoryview(tensor.contiguous().numpy()).cast("B"))
        self._file.flush()
        os.posix_fadvise(self._file.fileno(), at, tensor.nbytes, os.POSIX_FADV_DONTNEED)
        return at, tensor.shape, tensor.dtype

    def _unpack(self, saved: Any) -> torch.Tensor:
        if isinstance(saved, torch.Tensor):
            return saved
        at, shape, dtype = saved
        tensor = torch.empty(shape, dtype=dtype)
        os.preadv(self._file.fileno(), [memoryview(tensor.numpy()).cast("B")], at)
        os.posix_fadvise(self._file.fileno(), at, tensor.nbytes, os.POSIX_FADV_DONTNEED)
        return tensor


@contextmanager
def _swap_file(folder: Path) -> Iterator[None]:
    """Swap to a file on the drive, and make the cgroup; both are taken away afterwards."""
    file = folder / "tmtrain-benchmark.swap"
    CGROUP.mkdir(exist_ok=True)
    try:
        with file.open("wb") as opened:
            file.chmod(0o600)
            os.posix_fallocate(opened.fileno(), 0, SWAP_BYTES)
        subprocess.run(["mkswap", "-q", str(file)], check=True)
        subprocess.run(["swapon", str(file)], check=True)
        yield
    finally:
        subprocess.run(["swapoff", str(file)], check=False)
        file.unlink(missing_ok=True)
        CGROUP.rmdir()


if __name__ == "__main__":
    main()
