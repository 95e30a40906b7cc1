"""What a step tells the timing monitor, simulated or real."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.plans.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One step that has run."""

    plan: Plan
    """That it followed."""
    duration_s: NDArray[np.float64]
    """Of each slice, without its stall, shape (slices,)."""
    stall_s: NDArray[np.float64]
    """Waiting before each slice, shape (slices,)."""
    arrived_early_s: NDArray[np.float64]
    """For each transfer of the plan, the seconds between its arrival and when its return slice wanted to begin:
    positive where it was early, negative where the slice had to wait; NaN where nothing came."""
    left_early_s: NDArray[np.float64]
    """For each transfer, the seconds between the end of its writing and when its pages were to leave; negative where the
    room was not free yet; NaN where nothing was written."""
    read_bytes_per_s: float
    """Rate of reads while nothing was written; NaN where that never was."""
    write_bytes_per_s: float
    """Rate of writes while nothing was read."""
    shared_bytes_per_s: float
    """Rate of both together, while both were under way."""
