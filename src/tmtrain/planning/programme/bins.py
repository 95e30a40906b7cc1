"""Bins: the step cut into stretches of slices, over which the link is accounted for."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline

NUM_BINS = 400
"""With 200, bounds of steps whose layers are as long as a bin were up to 5 % lower; 800 change them by less than 0.3 %."""


def bin_edges(
    timeline: Timeline, over_pages: NDArray[np.int64], *, count: int = NUM_BINS
) -> NDArray[np.int64]:
    """Return the first slice of each bin and the number of slices, shape (bins + 1,).

    Bins are alike in compute time plus bytes touched, each relative to the step's. So neither a long forward nor an
    optimizer phase that computes little and moves much falls into a single one. Then each edge moves to where the bin
    before it needs most memory, because what is in flight counts against the capacity at the ends of bins only.

    Args:
        timeline: The step.
        over_pages: What each slice lacks, see `tmtrain.planning.problem.problem.Problem`.
        count: At most so many bins.
    """
    duration = timeline.slices.duration_s
    touched = np.add.reduceat(
        np.append(timeline.extents.pages[timeline.accesses.extent], 0), timeline.accesses.ptr[:-1]
    ).astype(np.float64)
    # `reduceat` gives an empty range the element at its start.
    touched[np.diff(timeline.accesses.ptr) == 0] = 0.0
    weight = duration / max(duration.sum(), 1e-300) + touched / max(touched.sum(), 1e-300)
    progress = np.cumsum(weight) / weight.sum()
    even = np.searchsorted(progress, np.arange(1, count) / count) + 1
    even = np.unique(np.concatenate([[0], even, [len(duration)]])).clip(max=len(duration))
    peaks = [a + int(over_pages[a:b].argmax()) + 1 for a, b in pairwise(even.tolist()[:-1])]
    return np.unique(np.concatenate([[0], np.array(peaks, np.int64), [len(duration)]]))
