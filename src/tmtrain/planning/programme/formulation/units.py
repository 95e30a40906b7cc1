"""A_u and P_uj: the pages of each unit that stay, and those that are there at its recompute points; [Rows] but for R."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.problem.problem import Gaps
from tmtrain.planning.programme.formulation.dues import DueColumns
from tmtrain.planning.programme.formulation.scale import ModelScale
from tmtrain.planning.programme.formulation.stretches import ColumnStretch, stretch
from tmtrain.planning.programme.programme import Programme
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.ids import GapId


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFamily:
    """The columns of the units: A_u, then P_uj for each of its recompute points, unit after unit."""

    sizes: NDArray[np.float64]
    """Of each unit, in units of pages."""
    stays: NDArray[np.int64]
    """Column A_u of each unit; its P_uj follow."""
    lasts: NDArray[np.int64]
    """Last column of each unit: what is there when its last recompute point is over."""
    absence: ColumnStretch
    """What the columns take off `absent_whole`."""
    dues: tuple[DueColumns, ...]
    due_whole: NDArray[np.float64]
    """Due before each slice if nothing of any unit were there, shape (slices,)."""
    absent_whole: NDArray[np.float64]
    """Absent at each slice if nothing of any unit were there, shape (slices,); small storages are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _UnitLayout:
    """Where the columns of the units are, and over which slices each counts."""

    unit: NDArray[np.int64]
    is_stay: NDArray[np.bool_]
    is_last: NDArray[np.bool_]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    """Where the next column of the unit takes over, or the step needs the pages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _WholeUnits:
    """Units that the step needs, as if nothing of them were there in between."""

    start: NDArray[np.int64]
    end: NDArray[np.int64]
    size: NDArray[np.float64]


def add_units(
    programme: Programme, scale: ModelScale, gaps: Gaps, candidates: RecomputeCandidates
) -> UnitFamily:
    """Add A_u and P_uj in order of units, and that none is above the next."""
    units = candidates.units
    sizes = np.array([unit.pages for unit in units], np.float64) / scale.page_unit
    start = np.array([unit.start for unit in units], np.int64)
    end = np.array([unit.start if unit.end is None else unit.end for unit in units], np.int64)
    is_needed = np.array([unit.end is not None for unit in units], bool)
    layout = _lay_out(candidates, end, is_needed)
    is_stay, is_last = layout.is_stay, layout.is_last
    # The constant fetches all that the step needs; the columns take off what is not fetched.
    programme.add_constant(float(scale.price_in * sizes[is_needed].sum()))
    columns = programme.add_columns(
        "there",
        len(layout.unit),
        upper=sizes[layout.unit],
        cost=_fetch_costs(layout, is_needed, price_in=scale.price_in),
        nudge=np.where(is_stay, -scale.longest_first(start, end)[layout.unit], 0.0),
    )
    later = columns[~is_stay]
    order = programme.add_rows("order", len(later), lower=0.0, upper=np.inf)
    programme.put(order, later, 1.0)
    programme.put(order, later - 1, -1.0)
    whole = _WholeUnits(start=start[is_needed], end=end[is_needed], size=sizes[is_needed])
    # Due at each recompute point is what is there more than before, and at the end the rest.
    at_point = layout.begins[~is_stay]
    return UnitFamily(
        sizes=sizes,
        stays=columns[is_stay],
        lasts=columns[is_last],
        absence=stretch(columns, layout.begins, layout.ends, factor=-1.0),
        dues=(
            DueColumns(slices=at_point, columns=later, sign=1.0),
            DueColumns(slices=at_point, columns=later - 1, sign=-1.0),
            DueColumns(slices=whole.end, columns=columns[is_last][is_needed], sign=-1.0),
        ),
        due_whole=_due_whole(scale, whole),
        absent_whole=_absent_whole(scale, gaps, whole, candidates.free_gaps),
    )


def _due_whole(scale: ModelScale, whole: _WholeUnits) -> NDArray[np.float64]:
    """Return what is due at each slice where all that the step needs is fetched."""
    due = np.zeros(scale.num_slices)
    np.add.at(due, whole.end, whole.size)
    return due


def _fetch_costs(
    layout: _UnitLayout, is_needed: NDArray[np.bool_], *, price_in: float
) -> NDArray[np.float64]:
    """Price the columns: a page that stays, or is recomputed, is not fetched."""
    spared = np.where(layout.is_stay, -price_in, 0.0)
    # Where only recomputations read, nothing is in the constant: what is there at the end came in.
    is_fetched = layout.is_last & ~is_needed[layout.unit]
    return spared + np.where(is_fetched, price_in, 0.0)


def _lay_out(
    candidates: RecomputeCandidates, end: NDArray[np.int64], is_needed: NDArray[np.bool_]
) -> _UnitLayout:
    first = candidates.first_columns
    is_stay, is_last = np.zeros(first[-1], bool), np.zeros(first[-1], bool)
    is_stay[first[:-1]] = True
    is_last[first[1:] - 1] = True
    at = np.array([t for unit in candidates.units for t in (unit.start, *unit.points)], np.int64)
    # The last use runs with the pages there; a recompute point comes before its slice.
    begins = np.where(is_stay, at + 1, at)
    ends = np.roll(begins, -1)
    # Nobody waits for what only recomputations read: it is gone after the last of them.
    ends[is_last] = np.where(is_needed, end, begins[is_last])
    unit = np.repeat(np.arange(len(first) - 1), np.diff(first))
    return _UnitLayout(unit=unit, is_stay=is_stay, is_last=is_last, begins=begins, ends=ends)


def _absent_whole(
    scale: ModelScale, gaps: Gaps, whole: _WholeUnits, free_gaps: Sequence[GapId]
) -> NDArray[np.float64]:
    """Return what is absent if no unit is there at all, and no small storage that is recomputed in passing."""
    change = np.zeros(scale.num_slices + 1)
    np.add.at(change, whole.start + 1, whole.size)
    np.subtract.at(change, whole.end, whole.size)
    free = np.array(free_gaps, np.int64)
    np.add.at(change, gaps.start[free] + 1, gaps.pages[free] / scale.page_unit)
    np.subtract.at(change, gaps.end[free], gaps.pages[free] / scale.page_unit)
    return np.cumsum(change)[: scale.num_slices]
