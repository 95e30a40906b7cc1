"""The Result: what happened in one steady step, the same shape for every policy."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Per slice, shape (slices,) unless said otherwise."""

    start_s: NDArray[np.float64]
    """When the slice began to compute; the step begins at 0."""
    end_s: NDArray[np.float64]
    stall_s: NDArray[np.float64]
    """Waiting before the slice could begin."""
    phase: NDArray[np.int8]
    """A `tmtrain.trace.Phase`."""
    resident_bytes: NDArray[np.int64]
    """By role while the slice runs, shape (slices, roles); columns are `tmtrain.trace.Role`."""
    in_flight_bytes: NDArray[np.int64]
    """Reserved for pages on their way in while the slice runs."""
    work_j: NDArray[np.float64]
    """Joules of computing it, shape (slices, components); columns are `tmtrain.lowering.energy.WORK_COMPONENTS`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """One row per stretch of a transfer on the link, in order of completion."""

    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    is_write: NDArray[np.bool_]
    bytes: NDArray[np.int64]
    extent: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conservation:
    """Where the bytes went in the measured step; `simulate` checks that the books balance.

    resident_start + in + born = resident_end + left + dead
    """

    resident_start_bytes: int
    in_bytes: int
    born_bytes: int
    """Came into being by being written for the first time."""
    left_bytes: int
    """Given up with a valid copy on flash."""
    dead_bytes: int
    """Given up because nobody needs the content."""
    resident_end_bytes: int

    @property
    def missing_bytes(self) -> int:
        """What the left side has more than the right one: always 0."""
        gained = self.resident_start_bytes + self.in_bytes + self.born_bytes
        return gained - self.resident_end_bytes - self.left_bytes - self.dead_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One steady step of one policy on one machine.

    Where steps alternate, or never repeat, times, bytes and joules are the mean of `measured_steps`; `conservation`,
    `series` and `traffic` show the last of them.
    """

    policy: str
    machine: str
    fast_bytes: int
    step_time_s: float
    ideal_step_time_s: float
    """Compute alone, everything resident, nothing recomputed."""
    recompute_s: float
    """Recomputation, part of `step_time_s`."""
    stall_s: float
    bytes_in: int
    bytes_out: int
    energy_by_component_j: dict[str, float]
    warm_up_steps: int
    """Steps before the first measured one."""
    measured_steps: int = 1
    """Steps that are averaged: Note [Steady step] in `tmtrain.simulation.steady`."""
    conservation: Conservation
    series: Series
    traffic: Traffic

    @property
    def traffic_bytes(self) -> int:
        """Bytes between the tiers, both directions."""
        return self.bytes_in + self.bytes_out

    @property
    def shown_s(self) -> float:
        """Seconds of the step that `series` and `traffic` show; `step_time_s`, unless that is a mean."""
        return self.step_time_s if self.measured_steps == 1 else float(self.series.end_s[-1])

    @property
    def energy_j(self) -> float:
        """Joules of one step."""
        return sum(self.energy_by_component_j.values())
