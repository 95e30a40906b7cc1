"""A placement without a solver: the largest tensors are absent in all their gaps until the rest fits."""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import Problem


def largest_first(problem: Problem, timeline: Timeline) -> NDArray[np.int64]:
    """Return the pages that each gap moves: whole storages, the fewest largest ones that make every slice fit.

    >>> from tmtrain.planning.example import example_timeline
    >>> from tmtrain.planning.problem.problem import build_problem
    >>> problem = build_problem(example_timeline())
    >>> bool((problem.absent_pages(largest_first(problem, example_timeline())) >= problem.over_pages).all())
    True
    """
    gaps = problem.gaps
    storage = timeline.extents.storage[gaps.extent]
    size = np.bincount(timeline.extents.storage, weights=timeline.extents.pages)
    by_size = np.argsort(-size, kind="stable")
    rank = np.empty(len(size), np.int64)
    rank[by_size] = np.arange(len(size))

    def moved(count: int) -> NDArray[np.int64]:
        return np.where(rank[storage] < count, gaps.pages, 0)

    # Feasibility is monotone in how many of them leave, so bisect.
    fewest = bisect_left(range(len(size)), True, key=lambda count: problem.fits(moved(count)))
    return moved(fewest)
