"""From the solver's real numbers to whole pages: up, so that every slice still fits, then down where nothing needs it."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InfeasibleError
from tmtrain.planning.problem.problem import Problem

TOLERANCE = 1e-4
"""Pages by which HiGHS may miss a whole number."""


def to_whole_pages(problem: Problem, exact: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return a feasible placement in whole pages, near `exact`, shape (gaps,): a page more per gap if that is feasible.

    Raises:
        InfeasibleError: all gaps together make too little room at some slice.
    """
    moved = _repair(problem, _round_up(exact, problem.gaps.pages))
    return _shave(problem, moved, exact)


def _round_up(x: NDArray[np.float64], pages: NDArray[np.int64]) -> NDArray[np.int64]:
    # More absent pages keep every capacity row. The tolerance keeps a solver's 1e-9 from costing a page.
    return np.minimum(np.ceil(x - TOLERANCE).astype(np.int64), pages).clip(min=0)


def _repair(problem: Problem, moved: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add the pages by which a slice is over its capacity: few for the solver's tolerance, more for what leads left out."""
    gaps = problem.gaps
    short = problem.over_pages - problem.absent_pages(moved)
    while short[t := int(short.argmax())] > 0:
        covers = np.where(
            gaps.end > gaps.start, (gaps.start < t) & (t < gaps.end), (gaps.start < t) | (t < gaps.end)
        )
        room = np.where(covers, gaps.pages - moved, 0)
        if not room.any():
            raise InfeasibleError(
                f"[Capacity] slice {t} lacks {short[t]} pages that no gap can give",
                limit="memory",
                slice_index=t,
            )
        # A gap that moves already has its transfers: one page more in them costs least.
        g = int(np.where(moved > 0, room, 0).argmax())
        g = g if moved[g] > 0 and room[g] > 0 else int(room.argmax())
        more = min(int(short[t]), int(room[g]))
        moved[g] += more
        for part in _inside(problem, g):
            short[part] -= more
    return moved


def _shave(problem: Problem, moved: NDArray[np.int64], exact: NDArray[np.float64]) -> NDArray[np.int64]:
    """Keep after all, gap by gap, the page that rounding up moved for nothing.

    No more than that page: what the programme moves beyond the capacity's need makes room for pages in flight.
    """
    slack = problem.absent_pages(moved) - problem.over_pages
    least = np.floor(exact + TOLERANCE).astype(np.int64)
    for g in np.flatnonzero(moved > exact + TOLERANCE).tolist():
        parts = _inside(problem, g)
        most = int(moved[g] - least[g])
        spare = min(int(slack[part].min(initial=most)) for part in parts)
        for part in parts:
            slack[part] -= spare
        moved[g] -= spare
    return moved


def _inside(problem: Problem, g: int) -> list[slice]:
    """Return the slices during which the pages of a gap can be absent."""
    start, end = int(problem.gaps.start[g]) + 1, int(problem.gaps.end[g])
    return [slice(start, end)] if start < end else [slice(start, problem.num_slices), slice(0, end)]
