"""How fast our engine simulates page-exact policies: page accesses per second on one core.

    python benchmarks/engine_speed.py [SOURCE ...] [--out FILE]

A page access is one page that one slice touches. The engine counts them by extents (docs/decisions.md). The G10 artifact
walks over its pages one by one: its seconds are of two iterations, ours of all steps until the step repeats itself,
deciding included, loading and lowering aside. Sources are whatever ``tmtrain simulate`` takes.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tmtrain.evaluation import trace_of
from tmtrain.importing import is_g10
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import load_machine
from tmtrain.policies import make_policy
from tmtrain.simulation import simulate
from tmtrain.units import parse_fast

G10 = Path(__file__).parent / "g10"
SOURCES = (str(G10), "gpt3-175b")
POLICIES = ("paging", "lru")
ARTIFACT_POLICIES = ("lru", "deepUM", "prefetch_lru")
"""Those that the artifact simulates page by page."""
ARTIFACT_STEPS = 2
REPEATS = 3
"""Of which the fastest counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """One simulation."""

    model: str
    policy: str
    steps: int
    page_accesses: int
    """Of all steps."""
    seconds: float

    @property
    def rate(self) -> float:
        """Page accesses per second."""
        return self.page_accesses / self.seconds


def main() -> None:
    """Read the arguments, simulate, print the table and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("sources", nargs="*", default=SOURCES)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    text = "\n".join(_lines(arguments.sources)) + "\n"
    print(text, end="")
    arguments.out.write_text(text, encoding="utf-8")


def _lines(sources: list[str]) -> Iterator[str]:
    yield "Page-exact LRU on one core: page accesses per second. Ours: the best of 3 runs; `paging` faults like a GPU."
    yield ""
    yield "| simulator | step | policy | steps | page accesses | seconds | millions per second |"
    yield "|---|---|---|---|---|---|---|"
    ours: dict[str, list[Speed]] = {source: list(_measure(source)) for source in sources}
    for speed in (speed for speeds in ours.values() for speed in speeds):
        yield _row("tmtrain", speed)
    theirs = list(_artifact())
    for speed in theirs:
        yield _row("G10 artifact", speed)
    yield ""
    slowest = {source: min(speed.rate for speed in speeds) for source, speeds in ours.items()}
    for source, rate in slowest.items():
        low, high = (rate / pick(speed.rate for speed in theirs) for pick in (max, min))
        yield f"{ours[source][0].model}: {low:,.0f} to {high:,.0f} times the artifact's page accesses per second, at least."


def _row(simulator: str, speed: Speed) -> str:
    return (
        f"| {simulator} | {speed.model} | {speed.policy} | {speed.steps} | {speed.page_accesses:,} "
        f"| {speed.seconds:.3f} | {speed.rate / 1e6:,.1f} |"
    )


def _measure(source: str) -> Iterator[Speed]:
    is_theirs = is_g10(Path(source))
    trace, machine = trace_of(source), load_machine("g10-host" if is_theirs else "v4-slc")
    fast = parse_fast("40GiB" if is_theirs else "12.5%").of(trace.footprint_bytes, page_bytes=4096)
    timeline = lower(trace, machine=machine, fast_bytes=fast)
    for policy in POLICIES:
        best, steps = float("inf"), 0
        for _ in range(REPEATS):
            begin = time.perf_counter()
            decision = make_policy(policy).decide(timeline, machine=machine)
            result = simulate(decision, machine=machine, policy=policy)
            best, steps = min(best, time.perf_counter() - begin), result.warm_up_steps + 1
        yield Speed(
            model=trace.model,
            policy=policy,
            steps=steps,
            page_accesses=steps * _page_accesses(timeline),
            seconds=best,
        )


def _page_accesses(timeline: Timeline) -> int:
    """Pages that the slices of one step touch."""
    return int(timeline.extents.pages[timeline.accesses.extent].sum(dtype=np.int64))


def _artifact() -> Iterator[Speed]:
    machine = load_machine("g10-host")
    trace = trace_of(str(G10))
    timeline = lower(trace, machine=machine, fast_bytes=machine.fast.capacity_bytes)
    with (G10 / "results.csv").open(newline="") as recorded:
        rows = {row["policy"]: row for row in csv.DictReader(recorded)}
    for policy in ARTIFACT_POLICIES:
        yield Speed(
            model=trace.model,
            policy=policy,
            steps=ARTIFACT_STEPS,
            page_accesses=ARTIFACT_STEPS * _page_accesses(timeline),
            seconds=float(rows[policy]["wall_s"]),
        )


if __name__ == "__main__":
    main()
