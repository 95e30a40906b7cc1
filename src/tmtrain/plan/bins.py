"""Bins: the step cut into stretches of slices, over which the link is accounted for."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.lower.timeline import Timeline

NUM_BINS = 200
"""More change the bound by less than 0.1 % (benchmarks/link_bins.md)."""


def bin_edges(timeline: Timeline, *, count: int = NUM_BINS) -> NDArray[np.int64]:
    """Return the first slice of each bin and the number of slices, shape (bins + 1,).

    Bins are alike in compute time plus bytes touched, each relative to the step's: so neither a long forward nor an
    optimizer phase that computes little and moves much falls into a single one.
    """
    duration = timeline.slices.duration_s
    touched = np.add.reduceat(
        np.append(timeline.extents.pages[timeline.accesses.extent], 0), timeline.accesses.ptr[:-1]
    ).astype(np.float64)
    touched[np.diff(timeline.accesses.ptr) == 0] = 0.0
    weight = duration / max(duration.sum(), 1e-300) + touched / max(touched.sum(), 1e-300)
    progress = np.cumsum(weight) / weight.sum()
    inner = np.searchsorted(progress, np.arange(1, count) / count) + 1
    return np.unique(np.concatenate([[0], inner, [len(duration)]])).clip(max=len(duration))
