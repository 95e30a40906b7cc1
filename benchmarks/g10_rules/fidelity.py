"""Our re-implementation of the artifact's seven policies beside what the artifact itself reports."""

import csv
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from g10_rules.hints import correlation_hints, no_hints, planned_hints
from g10_rules.pages import PageRun, run_pages
from g10_rules.tensors import TensorRun, run_tensors
from tmtrain.errors import PolicyError
from tmtrain.importing import G10Workload, load_g10

POLICIES = ("ideal", "lru", "FlashNeuron", "deepUM", "G10GDSSSD", "G10GDSFULL", "prefetch_lru")
_MOVED = ("ssd_read_bytes", "ssd_write_bytes", "cpu_read_bytes", "cpu_write_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A policy that cannot run the workload, even by the artifact's rules."""

    policy: str
    artifact_cycles: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """One policy."""

    policy: str
    artifact_cycles: int
    our_cycles: float
    is_exact: bool
    """Equal to the last digit that the artifact prints: all of them at page level, six at tensor level."""
    first_difference: str | None
    """Iteration and kernel where ends begin to differ; None where none does, or none is recorded."""
    are_bytes_equal: bool
    """All four directions."""
    seconds: float
    artifact_seconds: float

    @property
    def error(self) -> float:
        """Of the total, relative."""
        return self.our_cycles / self.artifact_cycles - 1


def compare_policies(folder: Path) -> Iterator[Fidelity | Refused]:
    """Yield each policy's comparison, from the files in `folder` alone.

    Raises:
        InputError: the workload cannot be read.
    """
    workload = load_g10(folder)
    run_pages(workload, no_hints(workload), all_resident=True)  # compiles
    with (folder / "results.csv").open(newline="") as recorded:
        rows = {row["policy"]: row for row in csv.DictReader(recorded)}
    for policy in POLICIES:
        row = rows[policy]
        total = int(row["total_cycles"])
        begin = time.perf_counter()
        try:
            run = _RUNS[policy](folder, workload)
        except PolicyError as error:
            yield Refused(policy=policy, artifact_cycles=total, reason=str(error))
            continue
        seconds = time.perf_counter() - begin
        moved = run.moved_bytes if isinstance(run, TensorRun) else (run.moved_pages[1] * 4096).tolist()
        is_page_run = isinstance(run, PageRun)
        yield Fidelity(
            policy=policy,
            artifact_cycles=total,
            our_cycles=run.total_cycles,
            is_exact=run.total_cycles == total if is_page_run else _to_six_digits(run, workload) == total,
            first_difference=_first_difference(folder, policy, run) if is_page_run else None,
            are_bytes_equal=list(moved) == [int(row[name]) for name in _MOVED],
            seconds=seconds,
            artifact_seconds=float(row["wall_s"]),
        )


def _planned(policy: str) -> Callable[[Path, G10Workload], TensorRun]:
    def run(folder: Path, workload: G10Workload) -> TensorRun:
        return run_tensors(
            workload, planned_hints(folder, workload, policy), is_flashneuron=policy == "FlashNeuron"
        )

    return run


_RUNS: dict[str, Callable[[Path, G10Workload], PageRun | TensorRun]] = {
    "ideal": lambda _, w: run_pages(w, no_hints(w), all_resident=True),
    "lru": lambda _, w: run_pages(w, no_hints(w)),
    "deepUM": lambda _, w: run_pages(w, correlation_hints(w), is_deepum=True),
    "prefetch_lru": lambda f, w: run_pages(w, planned_hints(f, w, "prefetch_lru")),
    **{policy: _planned(policy) for policy in ("FlashNeuron", "G10GDSSSD", "G10GDSFULL")},
}


def _to_six_digits(run: TensorRun, workload: G10Workload) -> int:
    """Round as the artifact prints: milliseconds, six digits."""
    clock_per_ms = workload.machine.gpu.clock_hz / 1e3
    return round(float(f"{run.total_cycles / clock_per_ms:.6g}") * clock_per_ms)


def _first_difference(folder: Path, policy: str, run: PageRun) -> str | None:
    with (folder / "kernel_ends.csv").open(newline="") as recorded:
        rows = list(csv.DictReader(recorded))
    for iteration, ends in enumerate(run.kernel_ends):
        column = f"{policy}_iter{iteration}_end"
        if column not in rows[0]:
            return None
        differs = np.flatnonzero(ends != np.array([int(row[column]) for row in rows]))
        if len(differs):
            return f"iteration {iteration}, kernel {differs[0]}"
    return None
