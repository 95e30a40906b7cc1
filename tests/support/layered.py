"""Steps with layers: which slices are products, and which phase each is in."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from tmtrain.lowering.timeline import Timeline
from tmtrain.trace import Phase


def with_products(timeline: Timeline, at: Collection[int], *, phases: Sequence[Phase] = ()) -> Timeline:
    """Return `timeline` with matrix products in the slices `at`, in these phases (by default all forward)."""
    slices = timeline.slices
    flops = np.array([float(t in at) for t in range(len(slices))])
    phase = np.array(phases, np.int8) if phases else slices.phase
    return replace(timeline, slices=replace(slices, matrix_flops=flops, phase=phase))
