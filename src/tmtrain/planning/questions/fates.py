"""What a plan does with each gap of the step: which of its pages it keeps, moves, and recomputes.

A plan speaks of the step with its recomputations in it. Gaps are those of the step without them: a content that is needed again is
the same content, whether it waited, travelled or was made anew.
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
    recomputed, moved = finder.recomputed(), finder.moved()
    again = _count(recomputed, len(problem.gaps))
    # What is recomputed and then moves on its way to its next use is recomputed.
    for gap in moved.keys() & recomputed.keys():
        moved[gap] += recomputed[gap]
    away = _count(moved, len(problem.gaps))
    both = np.array(sorted(moved.keys() & recomputed.keys()), np.int64)
    away[both] -= again[both]
    return Fates(kept=problem.gaps.pages - away - again, moved=away, recomputed=again)


class _FateFinder:
    def __init__(self, plan: Plan, timeline: Timeline, problem: Problem, machine: Machine) -> None:
        self._plan, self._timeline = plan, timeline
        self._longer = insert_recomputations(timeline, plan.recomputations, machine=machine)
        self._gaps = problem.gaps
        self._place = positions_of_slices(self._longer, of=timeline)
        self._order = np.lexsort((self._gaps.start, self._gaps.extent))
        self._stride = len(timeline.slices) + 1
        self._keys = (
            self._gaps.extent[self._order].astype(np.int64) * self._stride + self._gaps.start[self._order]
        )

    def _gap_of(self, extent: int, t: int) -> int:
        """Return the gap of `extent` that lasts before slice `t` runs; -1 if none does."""
        row = int(np.searchsorted(self._keys, extent * self._stride + t)) - 1
        gap = int(self._order[row]) if row >= 0 else -1
        if (
            gap < 0 or self._gaps.extent[gap] != extent
        ):  # the last one of the extent may come round from the end of the step
            row = int(np.searchsorted(self._keys, (extent + 1) * self._stride)) - 1
            gap = int(self._order[row]) if row >= 0 else -1
        if gap < 0 or self._gaps.extent[gap] != extent:
            return -1
        start, end = int(self._gaps.start[gap]), int(self._gaps.end[gap])
        lasts = start < t <= end if end > start else t > start or t <= end
        return gap if lasts else -1

    def moved(self) -> Runs:
        moves, longer, own = self._plan.transfers, self._longer, self._timeline.extents
        parent = _parents(longer, self._timeline)
        first = longer.extents.first_page[moves.extent] + moves.first_page
        # The first slice of the step without recomputations that runs while the pages are away.
        away_at = np.searchsorted(self._place, moves.leave_slice % len(longer.slices)) % len(self._place)
        found: Runs = defaultdict(list)
        for extent, page, pages, t in zip(
            parent[moves.extent].tolist(), first.tolist(), moves.pages.tolist(), away_at.tolist(), strict=True
        ):
            gap = self._gap_of(extent, t)
            if gap >= 0:
                begin = page - int(own.first_page[extent])
                found[gap].append((begin, begin + pages))
        return found

    def recomputed(self) -> Runs:
        recomputations, producers, own = (
            self._plan.recomputations,
            self._timeline.producers,
            self._timeline.extents,
        )
        first_of = np.searchsorted(own.storage, np.arange(int(own.storage.max(initial=-1)) + 2))
        found: Runs = defaultdict(list)
        for row in range(len(recomputations)):
            producer, t = int(recomputations.producer[row]), int(recomputations.before_slice[row])
            low, high = (int(producers.touch_ptr[producers.op_ptr[producer + i]]) for i in (0, 1))
            for storage in {
                int(producers.touch_storage[i]) for i in range(low, high) if producers.touch_writes[i]
            }:
                extents = range(int(first_of[storage]), int(first_of[storage + 1]))
                pages = sum(int(own.pages[e]) for e in extents)
                begin, end = (
                    int(pages * r[row] // recomputations.rows[row])
                    for r in (recomputations.first_row, recomputations.end_row)
                )
                for extent in extents:
                    a, b = int(own.first_page[extent]), int(own.first_page[extent] + own.pages[extent])
                    gap = self._gap_of(extent, t) if max(a, begin) < min(b, end) else -1
                    if gap >= 0:
                        found[gap].append((max(a, begin) - a, min(b, end) - a))
        return found


def _parents(longer: Timeline, timeline: Timeline) -> NDArray[np.int64]:
    """Return the extent of the step that each extent of the longer step is a part of."""
    stride = int((longer.extents.first_page + longer.extents.pages).max(initial=0)) + 1
    axis = timeline.extents.storage.astype(np.int64) * stride + timeline.extents.first_page
    return (
        np.searchsorted(
            axis, longer.extents.storage.astype(np.int64) * stride + longer.extents.first_page, "right"
        )
        - 1
    )


def _count(runs: Runs, gaps: int) -> NDArray[np.int64]:
    """Count the pages of each gap that lie in some run."""
    pages = np.zeros(gaps, np.int64)
    for gap, found in runs.items():
        reached = 0
        for begin, end in sorted(found):
            pages[gap] += max(0, end - max(begin, reached))
            reached = max(reached, end)
    return pages
