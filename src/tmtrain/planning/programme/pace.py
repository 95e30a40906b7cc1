"""The pace of a solved programme: how fast its channels move what it moves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How the programme uses the channels."""

    edges: NDArray[np.int64]
    """First slice of each bin, and the number of slices."""
    pages_in: NDArray[np.float64]
    """Pages read in each bin, shape (bins,)."""
    pages_ahead: NDArray[np.float64]
    """Pages read before they are due, at the end of each bin."""
    pages_out: NDArray[np.float64]
    """Pages written in each bin."""
    stall_s: NDArray[np.float64]
    """Seconds waited in each bin."""


def lasting_s(timeline: Timeline, pace: Pace | None) -> NDArray[np.float64]:
    """Return how long each slice lasts, shape (slices,): the waiting of a bin is spread over the slices in it.

    Args:
        timeline: The step.
        pace: What is waited in it; None: nothing.

    >>> from tmtrain.planning.example import example_timeline
    >>> step = example_timeline()
    >>> none, edges = np.zeros(1), np.array([0, len(step.slices)])
    >>> waits = Pace(edges=edges, pages_in=none, pages_ahead=none, pages_out=none, stall_s=np.array([step.compute_s]))
    >>> bool(np.allclose(lasting_s(step, waits), 2 * lasting_s(step, None)))
    True
    """
    computing_s = timeline.slices.duration_s
    if pace is None:
        return computing_s
    of_bin = np.maximum(np.add.reduceat(computing_s, pace.edges[:-1]), 1e-300)
    return computing_s * np.repeat(1 + pace.stall_s / of_bin, np.diff(pace.edges))
