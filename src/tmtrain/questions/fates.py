"""What a plan does with each access gap of the step: which of its pages it keeps, moves, and recomputes.

A plan speaks of the step with its recomputations in it. The gaps are those of the step without them. A content that is
needed again is the same content, whether it stayed, was away, or was recomputed.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.recomputation import insert_recomputations, positions_of_slices
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import Problem
from tmtrain.plans.plan import Plan

Runs = dict[int, list[tuple[int, int]]]
"""Gap -> runs of pages of its storage."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fates:
    """Pages of each gap of the problem, shape (gaps,); the three sum to its pages."""

    kept: NDArray[np.int64]
    moved: NDArray[np.int64]
    """Away and fetched back before the gap ends, be it only for a part of it."""
    recomputed: NDArray[np.int64]


def find_fates(plan: Plan, timeline: Timeline, problem: Problem, *, machine: Machine) -> Fates:
    """Read off a plan what becomes of each gap.

    Args:
        plan: Made for `timeline`.
        timeline: The step without recomputations.
        problem: Its gaps.
        machine: As planned for.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_plan, example_timeline
    >>> from tmtrain.planning.problem.problem import build_problem
    >>> problem = build_problem(example_timeline())
    >>> fates = find_fates(example_plan(), example_timeline(), problem, machine=load_machine("v4-slc"))
    >>> bool((fates.kept + fates.moved + fates.recomputed == problem.gaps.pages).all())
    True
    """
    finder = _FateFinder(plan, timeline, problem, machine)
    recomputed_runs, moved_runs = finder.recomputed(), finder.moved()
    recomputed = _count(recomputed_runs, len(problem.gaps))
    # A page may be recomputed, and then move on its way to its next use. It counts as recomputed: of what is moved or
    # recomputed, whatever is recomputed comes off. The union first, because runs of the two may overlap in part.
    for gap in moved_runs.keys() & recomputed_runs.keys():
        moved_runs[gap] += recomputed_runs[gap]
    moved = _count(moved_runs, len(problem.gaps))
    both = np.array(sorted(moved_runs.keys() & recomputed_runs.keys()), np.int64)
    moved[both] -= recomputed[both]
    return Fates(kept=problem.gaps.pages - moved - recomputed, moved=moved, recomputed=recomputed)


class _FateFinder:
    """Finds the gap that a transfer or a recomputation of the plan belongs to."""

    def __init__(self, plan: Plan, timeline: Timeline, problem: Problem, machine: Machine) -> None:
        self._plan, self._timeline = plan, timeline
        self._longer_step = insert_recomputations(timeline, plan.recomputations, machine=machine)
        self._gaps = problem.gaps
        self._position = positions_of_slices(self._longer_step, of=timeline)
        self._order = np.lexsort((self._gaps.start, self._gaps.extent))
        # One number for (extent, start), in ascending order, so that a gap is found by bisection.
        self._stride = len(timeline.slices) + 1
        self._keys = (
            self._gaps.extent[self._order].astype(np.int64) * self._stride + self._gaps.start[self._order]
        )

    def _gap_of(self, extent: int, t: int) -> int | None:
        """Return the gap of `extent` that lasts before slice `t` runs, if one does."""
        gap = self._last_gap_before(extent * self._stride + t, extent)
        if gap is None:
            # None has begun yet in this step. The last one of the extent may come round from the step before.
            gap = self._last_gap_before((extent + 1) * self._stride, extent)
        if gap is None:
            return None
        start, end = int(self._gaps.start[gap]), int(self._gaps.end[gap])
        lasts = start < t <= end if end > start else t > start or t <= end
        return gap if lasts else None

    def _last_gap_before(self, key: int, extent: int) -> int | None:
        """Return the last gap whose (extent, start) is below `key`, if it is one of `extent`."""
        row = int(np.searchsorted(self._keys, key)) - 1
        if row < 0:
            return None
        gap = int(self._order[row])
        return gap if self._gaps.extent[gap] == extent else None

    def moved(self) -> Runs:
        """Return the pages that transfers take away and bring back, by gap."""
        moves, longer_step, extents = self._plan.transfers, self._longer_step, self._timeline.extents
        parent = _parents(longer_step, self._timeline)
        first = longer_step.extents.first_page[moves.extent] + moves.first_page
        # The first slice of the step without recomputations that runs while the pages are away.
        leave = np.searchsorted(self._position, moves.leave_slice % len(longer_step.slices))
        away_at = leave % len(self._position)
        runs: Runs = defaultdict(list)
        for extent, page, pages, t in zip(
            parent[moves.extent].tolist(), first.tolist(), moves.pages.tolist(), away_at.tolist(), strict=True
        ):
            gap = self._gap_of(extent, t)
            if gap is not None:
                begin = page - int(extents.first_page[extent])
                runs[gap].append((begin, begin + pages))
        return runs

    def recomputed(self) -> Runs:
        """Return the pages that recomputations make, by gap."""
        table, extents = self._plan.recomputations, self._timeline.extents
        first_of = np.searchsorted(extents.storage, np.arange(int(extents.storage.max(initial=-1)) + 2))
        runs: Runs = defaultdict(list)
        for row in range(len(table)):
            t, rows = int(table.before_slice[row]), int(table.rows[row])
            for storage in self._results(int(table.producer[row])):
                members = range(int(first_of[storage]), int(first_of[storage + 1]))
                pages = sum(int(extents.pages[e]) for e in members)
                # Pages are cut in the ratio of the rows, as in `tmtrain.lowering.recomputation`.
                begin, end = (pages * int(edge[row]) // rows for edge in (table.first_row, table.end_row))
                for extent in members:
                    a, b = (
                        int(extents.first_page[extent]),
                        int(extents.first_page[extent] + extents.pages[extent]),
                    )
                    gap = self._gap_of(extent, t) if max(a, begin) < min(b, end) else None
                    if gap is not None:
                        runs[gap].append((max(a, begin) - a, min(b, end) - a))
        return runs

    def _results(self, producer: int) -> set[int]:
        """Return the storages that a producer makes."""
        producers = self._timeline.producers
        low, high = producers.touch_ptr[producers.op_ptr[[producer, producer + 1]]].tolist()
        return set(producers.touch_storage[low:high][producers.touch_writes[low:high]].tolist())


def _parents(longer_step: Timeline, timeline: Timeline) -> NDArray[np.int64]:
    """Return the extent of the step that each extent of the longer step is a part of."""
    parts, extents = longer_step.extents, timeline.extents
    stride = int((parts.first_page + parts.pages).max(initial=0)) + 1
    axis = extents.storage.astype(np.int64) * stride + extents.first_page
    return np.searchsorted(axis, parts.storage.astype(np.int64) * stride + parts.first_page, "right") - 1


def _count(runs: Runs, gaps: int) -> NDArray[np.int64]:
    """Count the pages of each gap that lie in some run."""
    pages = np.zeros(gaps, np.int64)
    for gap, of_gap in runs.items():
        reached = 0
        for begin, end in sorted(of_gap):
            pages[gap] += max(0, end - max(begin, reached))
            reached = max(reached, end)
    return pages
