"""How long fast memory takes for what an operator moves."""

from math import log

import numpy as np
from numpy.typing import NDArray

from tmtrain.machine.machine import FastTier


def fast_seconds(fast: FastTier, moved_bytes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the seconds of moving so many bytes by one operator; none for no bytes.

    Without ``loss_per_decade`` latency + bytes / (bandwidth x efficiency), which is a curve of efficiency by size already.
    With it, the curve is a straight line over the logarithm of the size, as measured tables show it, and takes the place of
    that sum, so that the same effect does not count twice::

        efficiency - loss_per_decade x log10(full / bytes)        below `full` bytes
        at least the latency

    The efficiency ends at loss_per_decade / ln 10: below, fewer bytes would take longer than more.

    >>> from tmtrain.machine import load_machine
    >>> float(fast_seconds(load_machine("a100-tlc5").fast, np.array(1e9)) * 2.039e12 / 1e9) > 1 / 0.87
    True
    """
    if fast.loss_per_decade == 0:
        seconds = fast.latency_s + moved_bytes / (fast.bandwidth_bytes_per_s * fast.efficiency)
        return np.where(moved_bytes > 0, seconds, 0.0)
    decades = np.log10(np.maximum(fast.full_bytes / np.maximum(moved_bytes, 1.0), 1.0))
    least = fast.loss_per_decade / log(10)
    reached = np.maximum(fast.efficiency - fast.loss_per_decade * decades, least)
    seconds = np.maximum(moved_bytes / (fast.bandwidth_bytes_per_s * reached), fast.latency_s)
    return np.where(moved_bytes > 0, seconds, 0.0)
