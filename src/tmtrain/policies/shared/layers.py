"""Layers of a step, for rivals that decide layer by layer."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.trace import Phase


def layer_of_slice(timeline: Timeline) -> NDArray[np.int64]:
    """Return the number of the layer that each slice belongs to, shape (T,).

    Users of the papers' systems mark their layers. A timeline has no marks: here a layer is a matrix product or
    convolution (or a slice of one) and all that follows it up to the next; phases begin new ones, and in the optimizer,
    which has no products, each slice is a layer.

    >>> from tmtrain.planning.example import example_timeline
    >>> layer_of_slice(example_timeline()).tolist()
    [0, 0, 1, 2, 2, 3, 4, 5, 6]
    """
    slices = timeline.slices
    begins = (slices.matrix_flops > 0) | (slices.phase == Phase.OPTIMIZER)
    begins[1:] |= slices.phase[1:] != slices.phase[:-1]
    begins[:1] = False
    return np.cumsum(begins)
