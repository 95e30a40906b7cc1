"""Export "deepspeed": a ZeRO-3 configuration with the plan's ratios and sizes, and a text about what it cannot say.

Keys and defaults: deepspeed.ai/docs/config-json and `deepspeed/runtime/zero/{config,offload_config}.py` of DeepSpeed, read
2026-11-24. Sizes are counted in elements there, not bytes. Imports neither deepspeed nor torch.
"""

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tmtrain.bundle import write_text_atomically
from tmtrain.errors import InputError
from tmtrain.exports.deepspeed_text import ZeroFacts, explain_config
from tmtrain.exports.layers import find_layers
from tmtrain.exports.ledger import Ledger
from tmtrain.planning.problem.problem import cover
from tmtrain.trace import Role

Device: TypeAlias = Literal["nvme", "cpu"]

_NVME_PATH = "/local_nvme"
"""DeepSpeed's own default; the text says that it is to be replaced."""
_BUFFERS_PARAM, _BUFFERS_OPTIMIZER = 5, 4
"""DeepSpeed's defaults; the second is the states of Adam (parameter, gradient, momentum, variance)."""
_BLOCK_BYTES, _QUEUE_DEPTH = 1 << 20, 8
"""DeepSpeed's defaults of asynchronous I/O, taken where the machine does not need more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepspeedConfig:
    """A configuration and what belongs beside it."""

    config: dict[str, Any]
    text: str


def make_deepspeed_config(ledger: Ledger, *, device: Device = "nvme") -> DeepspeedConfig:
    """Say as much of a plan as a ZeRO-3 configuration can.

    Args:
        ledger: The plan and its step.
        device: Where DeepSpeed shall offload to. It knows a ratio for "cpu" only; for "nvme" shares become all or nothing.

    >>> from tmtrain.exports.example import example_ledger
    >>> make_deepspeed_config(example_ledger()).config["zero_optimization"]["stage"]
    3
    """
    facts = _facts(ledger)
    zero: dict[str, Any] = {"stage": 3, "contiguous_gradients": True, "overlap_comm": True}
    zero |= _offload(facts, device)
    zero["sub_group_size"] = facts.largest_parameter_elements
    zero |= _live_parameters(ledger, facts)
    config: dict[str, Any] = {"train_micro_batch_size_per_gpu": ledger.trace.samples}
    config |= {"bf16": {"enabled": True}} if facts.is_bf16 else {}
    config["zero_optimization"] = zero
    offloads = "offload_param" in zero or "offload_optimizer" in zero
    if device == "nvme" and offloads:
        config["aio"] = _aio(ledger)
    if facts.recomputed_bytes:
        config["activation_checkpointing"] = _activation_checkpointing(ledger)
    return DeepspeedConfig(config=config, text=explain_config(facts, config, device=device))


def write_deepspeed_config(config: DeepspeedConfig, path: Path) -> Path:
    """Write the configuration to `path`, and the text beside it; returns where that is.

    Raises:
        InputError: the disk refuses.
    """
    beside = path.with_name(f"{path.stem}.README.txt")
    write_text_atomically(beside, config.text)
    write_text_atomically(path, json.dumps(config.config, indent=2) + "\n")
    return beside


def _facts(ledger: Ledger) -> ZeroFacts:
    storages, plan = ledger.trace.storages, ledger.plan
    share = ledger.ever_moved() / np.maximum(ledger.pages(), 1)
    split = ledger.over_long_gaps()
    parameters = storages.role == Role.PARAMETER
    activations = storages.role == Role.ACTIVATION
    if not parameters.any():
        raise InputError(
            f"the step of {ledger.trace.model} has no parameters: there is nothing for DeepSpeed to shard"
        )

    def moved(role: Role) -> float:
        own = storages.role == role
        size = float(storages.bytes[own].sum())
        return float(share[own] @ storages.bytes[own]) / size if size else 0.0

    page = ledger.timeline.page_bytes
    return ZeroFacts(
        model=ledger.trace.model,
        machine=plan.machine,
        fast_bytes=plan.fast_bytes,
        bytes_in=plan.prediction.bytes_in,
        bytes_out=plan.prediction.bytes_out,
        parameters_moved=moved(Role.PARAMETER),
        gradients_moved=moved(Role.GRADIENT),
        optimizer_moved=moved(Role.OPTIMIZER_STATE),
        moved_activation_bytes=int(split.moved[activations].sum()) * page,
        recomputed_bytes=int(split.recomputed.sum()) * page,
        largest_parameter_elements=int(_elements(ledger)[parameters].max()),
        is_bf16=all(storages.dtype[i] == "bfloat16" for i in np.flatnonzero(parameters).tolist()),
    )


def _elements(ledger: Ledger) -> NDArray[np.int64]:
    """Return the elements of each storage."""
    storages = ledger.trace.storages
    bits = [int(digits[0]) if (digits := re.search(r"\d+", dtype)) else 8 for dtype in storages.dtype]
    return storages.bytes * 8 // np.array(bits, np.int64)


def _offload(facts: ZeroFacts, device: Device) -> dict[str, Any]:
    target: dict[str, Any] = {"device": device, "pin_memory": True}
    target |= {"nvme_path": _NVME_PATH} if device == "nvme" else {}
    sections: dict[str, Any] = {}
    # A ratio beside NVMe is an error: github.com/deepspeedai/DeepSpeed/issues/5508.
    if device == "cpu" and facts.optimizer_moved > 0:
        sections["offload_optimizer"] = target | {"ratio": round(facts.optimizer_moved, 4)}
    elif facts.optimizer_moved >= 0.5:
        sections["offload_optimizer"] = target | {
            "buffer_count": _BUFFERS_OPTIMIZER,
            "pipeline_read": True,
            "pipeline_write": True,
        }
    if facts.parameters_moved >= 0.5:
        sections["offload_param"] = dict(target)
        if device == "nvme":
            # A buffer must hold any one parameter; the plan knows no third tier to hold some of them in.
            size = facts.largest_parameter_elements
            sections["offload_param"] |= {
                "buffer_count": _BUFFERS_PARAM,
                "buffer_size": size,
                "max_in_cpu": 0,
            }
    return sections


def _live_parameters(ledger: Ledger, facts: ZeroFacts) -> dict[str, int]:
    """How many elements of parameters the plan has in fast memory, on their way, and never lets go of."""
    storages, elements = ledger.trace.storages, _elements(ledger)
    own = storages.role == Role.PARAMETER
    per_byte = float(elements[own].sum()) / max(1, int(storages.bytes[own].sum()))
    moves, T = ledger.plan.transfers, len(ledger.longer_step.slices)
    mine = own[ledger.longer_step.extents.storage[moves.extent]]
    pages, leave = moves.pages[mine], moves.leave_slice[mine]
    fetch, back = moves.fetch_slice[mine], moves.return_slice[mine]
    page = ledger.timeline.page_bytes
    absent = cover(_cyclic(leave - 1, T), _cyclic(back, T), pages, num_slices=T) * page * per_byte
    coming = (
        cover(_cyclic(fetch - 1, T), _cyclic(back, T), np.where(fetch < back, pages, 0), num_slices=T)
        * page
        * per_byte
    )
    live = int(elements[own].sum() - absent.min(initial=0))
    sizes = {
        "stage3_max_live_parameters": max(facts.largest_parameter_elements, live),
        "stage3_param_persistence_threshold": _persistent(elements[own], kept=1 - facts.parameters_moved),
    }
    if len(pages):
        sizes["stage3_prefetch_bucket_size"] = max(
            facts.largest_parameter_elements, int(coming.max(initial=0))
        )
    return sizes


def _cyclic(t: NDArray[np.int32], num_slices: int) -> NDArray[np.int32]:
    return (t % num_slices).astype(np.int32)


def _persistent(elements: NDArray[np.int64], *, kept: float) -> int:
    """Return the largest size up to which all parameters together are no more than the plan always keeps."""
    sizes, counts = np.unique(elements, return_counts=True)
    fits = np.cumsum(sizes * counts) <= kept * elements.sum()
    return int(sizes[fits].max(initial=0))


def _aio(ledger: Ledger) -> dict[str, Any]:
    """As many requests at once as keep the drive busy: rate times latency."""
    machine = ledger.machine
    block = max(_BLOCK_BYTES, ledger.timeline.page_bytes)
    depth = math.ceil(machine.read_bytes_per_s * machine.slow.read_latency_s / block)
    return {
        "block_size": block,
        "queue_depth": max(_QUEUE_DEPTH, depth),
        "thread_count": 1,
        "single_submit": False,
        "overlap_events": True,
    }


def _activation_checkpointing(ledger: Ledger) -> dict[str, Any]:
    try:
        layers = len(find_layers(ledger.trace))
    except InputError:
        # A step without repeated layers can be checkpointed; only the number of pieces is not known.
        layers = None
    return {
        "partition_activations": False,
        "cpu_checkpointing": False,
        "contiguous_memory_optimization": False,
        "number_checkpoints": layers,
        "synchronize_checkpoint_boundary": False,
        "profile": False,
    }
