"""What a budget costs where operators are small: CPU time of this process in it, over that without one.

Run ``python benchmarks/small_operators.py FOLDER`` on a quiet computer (2 minutes). Steps with and without take turns in
one process, so both see the same computer. ``user`` is what computation and Python take, ``all`` has the kernel's
share of moving pages as well.
"""

import argparse
import resource
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from tmtrain import train
from tmtrain.runtime.dispatch.facts import UncompiledMode

F = torch.nn.functional
ROUNDS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A model, its optimizer, and one step of theirs."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[], Any]


def mlp() -> Job:
    """Eight layers of 512 by 512, 128 rows."""
    layers: list[torch.nn.Module] = []
    for _ in range(8):
        layers += [torch.nn.Linear(512, 512), torch.nn.GELU()]
    model = torch.nn.Sequential(*layers)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)

    def step() -> None:
        F.mse_loss(model(torch.randn(128, 512)), torch.zeros(128, 512)).backward()
        optimizer.step()
        optimizer.zero_grad()

    return Job(model=model, optimizer=optimizer, step=step)


def gpt() -> Job:
    """Two million parameters as in nanoGPT's smallest examples: 4 layers, 4 heads, 192 wide, 8 times 64 tokens."""
    config = transformers.GPT2Config(
        n_layer=4,
        n_head=4,
        n_embd=192,
        n_positions=64,
        vocab_size=1024,
        bos_token_id=0,
        eos_token_id=0,
        use_cache=False,
    )
    model = transformers.GPT2LMHeadModel(config)
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)

    def step() -> None:
        ids = torch.randint(0, 1024, (8, 64))
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return Job(model=model, optimizer=optimizer, step=step)


class _Idle(UncompiledMode):
    """Sees every operator, and does nothing."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return func(*args, **(kwargs or {}))


JOBS = {"mlp": mlp, "gpt": gpt}


def main() -> None:
    """Print a row for each job and share of the footprint."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("flash", help="folder on a local drive")
    parser.add_argument("jobs", nargs="*", default=[*JOBS])
    parser.add_argument("--shares", nargs="+", type=float, default=(2.0, 0.35))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(
        "| step | budget | operators | plain, ms | user | all | us an operator | idle mode, us | stalled, ms |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in arguments.jobs:
        footprint = _footprint(JOBS[name](), flash=arguments.flash)
        for share in arguments.shares:
            print(
                f"| {name} | {share:.0%} {_compared(name, int(share * footprint), flash=arguments.flash)} |",
                flush=True,
            )


def _footprint(job: Job, *, flash: str) -> int:
    with train(job.model, job.optimizer, job.step, budget_bytes=1 << 32, flash=flash) as training:
        for _ in range(3):
            training.step()
        return max(step.peak_bytes for step in training.result.steps)


def _compared(name: str, budget_bytes: int, *, flash: str) -> str:
    """Return the row of a job within and without the budget, a step of each in turns."""
    plain, kept = JOBS[name](), JOBS[name]()
    without: list[tuple[float, float]] = []
    within: list[tuple[float, float]] = []
    idle: list[tuple[float, float]] = []
    for _ in range(3):
        plain.step()
    with train(kept.model, kept.optimizer, kept.step, budget_bytes=budget_bytes, flash=flash) as training:
        for _ in range(6):
            training.step()
        session: Any = training._session  # pyright: ignore[reportPrivateUsage]
        residency = session.residency
        for _ in range(ROUNDS):
            within.append(_took(training.step))
            operators = residency.operators
            residency.__exit__(None, None, None)
            without.append(_took(plain.step))
            with _Idle():
                idle.append(_took(plain.step))
            residency.__enter__()
        began = operators
        training.step()
        count = residency.operators - began
        steps = training.result.steps[-ROUNDS:]
    user, both = (statistics.median(times) for times in zip(*within, strict=True))
    user_plain, both_plain = (statistics.median(times) for times in zip(*without, strict=True))
    idle_both = statistics.median(both for _, both in idle)
    stalled = statistics.median(step.stall_s for step in steps)
    assert all(step.how == "planned" for step in steps)
    return (
        f"| {count} | {both_plain * 1e3:.1f} | {user / user_plain:.2f} | {both / both_plain:.2f} "
        f"| {(both - both_plain) / count * 1e6:.0f} | {(idle_both - both_plain) / count * 1e6:.0f} | {stalled * 1e3:.1f}"
    )


def _took(step: Callable[[], Any]) -> tuple[float, float]:
    """Return the CPU seconds of a step: in user mode, and in all."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    step()
    after = resource.getrusage(resource.RUSAGE_SELF)
    user = after.ru_utime - before.ru_utime
    return user, user + after.ru_stime - before.ru_stime


if __name__ == "__main__":
    main()
