"""The pace of a solved programme: how fast its channels move what it moves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
