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
PLANNED = ("FlashNeuron", "G10GDSSSD", "G10GDSFULL", "prefetch_lru")
"""Policies that follow a plan of the artifact's."""
_MOVED = ("ssd_read_bytes", "ssd_write_bytes", "cpu_read_bytes", "cpu_write_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What the artifact itself reports of a policy; None where the folder does not say it."""

    cycles: int | None = None
    moved_bytes: tuple[int, ...] | None = None
    """SSD to GPU, GPU to SSD, host to GPU, GPU to host."""
    seconds: float | None = None
    """Of its own run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A policy that cannot run the workload, even by the artifact's rules."""

    policy: str
    published: Published
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """One policy."""

    policy: str
    published: Published
    our_cycles: float
    printed_cycles: int
    """Ours as the artifact prints them: all digits at page level, six at tensor level."""
    moved_bytes: tuple[int, ...]
    ends: str
    """Iteration and kernel where ends begin to differ, if they do."""
    seconds: float

    @property
    def is_exact(self) -> bool | None:
        """Equal to the last digit that the artifact prints; None where nothing is published."""
        return None if self.published.cycles is None else self.printed_cycles == self.published.cycles

    @property
    def are_bytes_equal(self) -> bool | None:
        """All four directions; None where nothing is published."""
        return None if self.published.moved_bytes is None else self.moved_bytes == self.published.moved_bytes


def compare_policies(folder: Path) -> Iterator[Fidelity | Refused]:
    """Yield each policy's comparison, from the files in `folder` alone.

    Args:
        folder: Of a workload; results.csv, kernel_ends.csv and plans.csv may be missing, or lack policies.

    Raises:
        InputError: the workload cannot be read.
    """
    workload = load_g10(folder)
    run_pages(workload, no_hints(workload), all_resident=True)  # compiles
    results = {row["policy"]: _published(row) for row in _rows(folder / "results.csv")}
    planned = {row["policy"] for row in _rows(folder / "plans.csv")}
    for policy in POLICIES:
        published = results.get(policy, Published())
        if policy in PLANNED and policy not in planned:
            yield Refused(policy=policy, published=published, reason="plans.csv has no plan of it")
            continue
        begin = time.perf_counter()
        try:
            run = _RUNS[policy](folder, workload)
        except PolicyError as error:
            yield Refused(policy=policy, published=published, reason=str(error))
            continue
        yield Fidelity(
            policy=policy,
            published=published,
            our_cycles=run.total_cycles,
            printed_cycles=_printed_cycles(run, workload),
            moved_bytes=_moved_bytes(run, workload),
            ends=_compare_ends(folder, policy, run) if isinstance(run, PageRun) else "not recorded",
            seconds=time.perf_counter() - begin,
        )


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table that may be missing."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as recorded:
        return list(csv.DictReader(recorded))


def _published(row: dict[str, str]) -> Published:
    cells = [row.get(name) for name in _MOVED]
    return Published(
        cycles=int(row["total_cycles"]) if row.get("total_cycles") else None,
        moved_bytes=tuple(int(cell) for cell in cells if cell) if all(cells) else None,
        seconds=float(row["wall_s"]) if row.get("wall_s") else None,
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


def _printed_cycles(run: PageRun | TensorRun, workload: G10Workload) -> int:
    """Return the cycles as the artifact prints them; at tensor level it prints six digits of milliseconds."""
    if isinstance(run, PageRun):
        return run.total_cycles
    clock_per_ms = workload.machine.gpu.clock_hz / 1e3
    return round(float(f"{run.total_cycles / clock_per_ms:.6g}") * clock_per_ms)


def _moved_bytes(run: PageRun | TensorRun, workload: G10Workload) -> tuple[int, ...]:
    if isinstance(run, TensorRun):
        return run.moved_bytes
    return tuple((run.moved_pages[1] * workload.machine.page_bytes).tolist())


def _compare_ends(folder: Path, policy: str, run: PageRun) -> str:
    rows = _rows(folder / "kernel_ends.csv")
    columns = [f"{policy}_iter{iteration}_end" for iteration in range(len(run.kernel_ends))]
    if not rows or any(column not in rows[0] for column in columns):
        return "not recorded"
    for iteration, (column, ends) in enumerate(zip(columns, run.kernel_ends, strict=True)):
        differs = np.flatnonzero(ends != np.array([int(row[column]) for row in rows]))
        if len(differs):
            return f"iteration {iteration}, kernel {differs[0]}"
    return "all equal"
