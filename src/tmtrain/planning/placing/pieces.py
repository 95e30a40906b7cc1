"""What a placement takes away, in pieces: which pages, from when to when, and what of it flash lacks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.problem.problem import Problem
from tmtrain.ragged import lay_flat


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPieces:
    """What is absent, in pieces; times are slices that run on into the next step, ``leave <= back``."""

    gap: NDArray[np.int64]
    first_page: NDArray[np.int64]
    pages: NDArray[np.int64]
    leave: NDArray[np.int64]
    back: NDArray[np.int64]


def cut_pieces(problem: Problem, moved: NDArray[np.int64], *, most: int) -> FetchPieces:
    """Cut what each gap moves into pieces of `most` pages, the last pages first, a smaller rest at the front.

    They come in order of return.
    """
    used = np.flatnonzero(moved > 0)
    which, number = lay_flat(-(-moved[used] // most))
    gap = used[which]
    end = moved[gap] - number * most
    first = np.maximum(end - most, 0)
    T = problem.num_slices
    start, back = problem.gaps.start[gap].astype(np.int64), problem.gaps.end[gap].astype(np.int64)
    order = np.lexsort((number, gap, back))
    gap, start, back = gap[order], start[order], back[order]
    return FetchPieces(
        gap=gap,
        first_page=first[order],
        pages=(end - first)[order],
        leave=start + 1,
        back=np.where(back > start, back, back + T),
    )


def final_slices(problem: Problem, pieces: FetchPieces) -> NDArray[np.int64]:
    """Return the first slice before which the content of each piece is final; negative where the previous step wrote it."""
    last_write, start = problem.gaps.last_write[pieces.gap].astype(np.int64), problem.gaps.start[pieces.gap]
    # A write that comes later in the step than the gap was one of the previous step.
    final = np.where(last_write <= start, last_write + 1, last_write + 1 - problem.num_slices)
    # Without a write in the step nothing is ever dirty.
    return np.where(last_write < 0, pieces.leave, final)


def is_fresh(problem: Problem, pieces: FetchPieces) -> NDArray[np.bool_]:
    """Mark the pieces that flash lacks when they leave: no earlier gap of their epoch has moved them."""
    epoch = problem.gaps.epoch[pieces.gap]
    order = np.lexsort((pieces.leave - final_slices(problem, pieces), epoch))
    fresh = np.zeros(len(order), bool)
    reached: dict[int, tuple[int, int, int]] = {}
    for i in order.tolist():
        e, g, end = int(epoch[i]), int(pieces.gap[i]), int(pieces.first_page[i] + pieces.pages[i])
        if e < 0:
            continue
        # Pieces of one gap come one after the other: what its own pieces have written is not "before" for them.
        before, most, gap = reached.get(e, (0, 0, g))
        before = before if gap == g else max(before, most)
        fresh[i] = end > before
        reached[e] = (before, max(most, end), g)
    return fresh


def pages_between(
    first: NDArray[np.int64], end: NDArray[np.int64], pages: NDArray[np.int64], *, num_slices: int
) -> NDArray[np.int64]:
    """Sum `pages` over the slices from `first` to before `end`, which run on into the next step, shape (num_slices,).

    >>> pages_between(np.array([0, 3]), np.array([2, 5]), np.array([5, 7]), num_slices=4)
    array([12,  5,  0,  7])
    """
    change = np.zeros(3 * num_slices + 1, np.int64)
    np.add.at(change, first, pages)
    np.subtract.at(change, end, pages)
    return np.cumsum(change)[:-1].reshape(3, num_slices).sum(axis=0)
