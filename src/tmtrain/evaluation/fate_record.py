"""What a report tells about a plan: the price of fast memory over the step, and the fates of its bytes.

Gaps here are access gaps: stretches between two accesses of an extent.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmtrain.bundle import Bundle, check_range, read_bundle, write_bundle
from tmtrain.errors import FileFormatError
from tmtrain.lowering import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import Problem, build_problem, cover
from tmtrain.plans import Plan
from tmtrain.questions.fates import Fates, find_fates
from tmtrain.trace import Role, Trace

KIND = "fates"
VERSION = 2
"""Format version; a newer file is refused."""
_RENAMED = {"remade_bytes": "recomputed_bytes"}
"""Words of version 1."""
_SERIES = ("end_s", "phase", "price_per_byte", "kept_bytes", "moved_bytes", "recomputed_bytes")
_GROUPS = ("role", "module", "kept_bytes", "moved_bytes", "recomputed_bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class FateSeries:
    """One row per slice of the step without recomputations, laid end to end without waiting."""

    end_s: NDArray[np.float64]
    phase: NDArray[np.int8]
    price_per_byte: NDArray[np.float64]
    """What one more byte of fast memory while the slice runs would save, in objective units."""
    kept_bytes: NDArray[np.int64]
    """Of contents that wait for their next use while the slice runs: those that stay."""
    moved_bytes: NDArray[np.int64]
    recomputed_bytes: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class FateGroup:
    """All access gaps, of one role and kind of module, in which fast memory is scarce in some slice."""

    role: str
    module: str
    """Path with every number replaced by "*": layers are told together."""
    kept_bytes: int
    moved_bytes: int
    recomputed_bytes: int

    @property
    def bytes(self) -> int:
        """Of all fates."""
        return self.kept_bytes + self.moved_bytes + self.recomputed_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FateRecord:
    """Of one plan."""

    unit: str
    """Of the objective: "J", "s", "B", or "" for a mix."""
    series: FateSeries
    groups: tuple[FateGroup, ...]
    """The largest first."""


def record_fates(plan: Plan, *, trace: Trace, timeline: Timeline, machine: Machine) -> FateRecord:
    """Gather what a report tells about `plan`.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_plan, example_timeline
    >>> from tmtrain.trace import example_trace
    >>> machine = load_machine("v4-slc")
    >>> record_fates(example_plan(), trace=example_trace(), timeline=example_timeline(), machine=machine).unit
    'J'
    """
    problem = build_problem(timeline)
    fates = find_fates(plan, timeline, problem, machine=machine)
    proof, gaps, page = plan.certificate, problem.gaps, timeline.page_bytes
    price = np.zeros(len(timeline.slices)) if proof is None else proof.bound.capacity_price / page

    def over_time(pages: NDArray[np.int64]) -> NDArray[np.int64]:
        return cover(gaps.start, gaps.end, pages, num_slices=problem.num_slices) * page

    return FateRecord(
        unit=make_objective(plan.objective, timeline=timeline, machine=machine).unit,
        series=FateSeries(
            end_s=np.cumsum(timeline.slices.duration_s),
            phase=timeline.slices.phase,
            price_per_byte=price,
            kept_bytes=over_time(fates.kept),
            moved_bytes=over_time(fates.moved),
            recomputed_bytes=over_time(fates.recomputed),
        ),
        groups=_groups(problem, fates, trace=trace, timeline=timeline),
    )


def save_fates(record: FateRecord, path: Path) -> None:
    """Write `record` as the bundle `path`, whole or not at all.

    Raises:
        InputError: `path` is taken by something else, or the disk refuses.
    """
    series = pa.table({name: getattr(record.series, name) for name in _SERIES})
    groups = pa.table({name: [getattr(group, name) for group in record.groups] for name in _GROUPS})
    write_bundle(
        path,
        Bundle(
            kind=KIND,
            version=VERSION,
            meta={"unit": record.unit},
            tables={"series": series, "groups": groups},
        ),
    )


def load_fates(path: Path) -> FateRecord:
    """Read what `save_fates` wrote.

    Raises:
        InputError: there is nothing at `path`.
        FileFormatError: not of this kind, of a newer version, truncated or edited.
    """
    bundle = read_bundle(path, kind=KIND, version=VERSION, renamed=_RENAMED)
    try:
        series: dict[str, Any] = {name: bundle.tables["series"].column(name).to_numpy() for name in _SERIES}
        groups = msgspec.convert(bundle.tables["groups"].to_pylist(), list[FateGroup])
        unit = msgspec.convert(bundle.meta["unit"], str)
    except (KeyError, msgspec.ValidationError) as error:
        raise FileFormatError(
            f"{path} lacks a part of the fates ({error}): evaluate again", path=path
        ) from error
    for name, values in series.items():
        check_range(f"{path}", f"series.{name}", values, low=0)
    for name in _GROUPS[2:]:
        check_range(f"{path}", f"groups.{name}", np.array([getattr(group, name) for group in groups]), low=0)
    return FateRecord(unit=unit, series=FateSeries(**series), groups=tuple(groups))


def _groups(problem: Problem, fates: Fates, *, trace: Trace, timeline: Timeline) -> tuple[FateGroup, ...]:
    gaps, page = problem.gaps, timeline.page_bytes
    # Slices in which fast memory is scarce, counted from the start: a difference of two says how many a gap spans. One that
    # wraps round the end of the step spans all of them, less those from its end to its start.
    scarce = np.concatenate([[0], np.cumsum(problem.over_pages > 0)])
    inside = scarce[gaps.end] - scarce[np.minimum(gaps.start + 1, problem.num_slices)]
    matters = inside + np.where(gaps.end <= gaps.start, scarce[-1], 0) > 0
    sums: dict[tuple[str, str], NDArray[np.int64]] = {}
    for gap in np.flatnonzero(matters).tolist():
        storage = int(timeline.extents.storage[gaps.extent[gap]])
        role = Role(int(trace.storages.role[storage])).name.lower().replace("_", " ")
        key = role, re.sub(r"(?<![^.])\d+(?![^.])", "*", trace.storages.module[storage])
        amounts = np.array([fates.kept[gap], fates.moved[gap], fates.recomputed[gap]], np.int64) * page
        sums[key] = sums.get(key, np.zeros(3, np.int64)) + amounts
    groups = [
        FateGroup(role=role, module=module, kept_bytes=int(k), moved_bytes=int(m), recomputed_bytes=int(r))
        for (role, module), (k, m, r) in sums.items()
    ]
    return tuple(sorted(groups, key=lambda group: -group.bytes))
