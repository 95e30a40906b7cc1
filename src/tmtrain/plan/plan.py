"""The Plan: who is absent from fast memory when, as transfers, with its prediction and its certificate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """One row per absence of some pages of an extent, between one access and the next.

    The first `pages` pages of the extent leave. They are written first if flash has no valid copy; the writing may
    start before slice `write_slice`, the pages are given up before slice `leave_slice`, fetched from before slice
    `fetch_slice` on, and must be back before slice `return_slice` runs. Slices are cyclic: numbers run on into the next
    step by adding the number of slices, so that ``write_slice <= leave_slice <= fetch_slice <= return_slice``.
    """

    extent: NDArray[np.int32]
    pages: NDArray[np.int64]
    write_slice: NDArray[np.int32]
    leave_slice: NDArray[np.int32]
    fetch_slice: NDArray[np.int32]
    return_slice: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.extent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the planner expects of one steady step."""

    bytes_in: int
    bytes_out: int
    step_time_s: float
    """Lower estimate: compute, or the busiest channel, whichever is longer."""
    energy_j: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A lower bound on the objective for every policy under the same rules, and what proves it.

    The bound follows from the prices alone (weak duality, see `tmtrain.plan.certificate`), whoever found them.
    """

    objective: str
    bound: float
    """In the objective's unit: joules, seconds or bytes of one step."""
    value: float
    """The plan's own predicted objective."""
    capacity_price: NDArray[np.float64]
    """Objective units per page of fast memory, at each slice; shape (slices,)."""
    read_price: float
    """Objective units per second of the read channel."""
    write_price: float
    shared_price: float

    @property
    def gap(self) -> float:
        """(value - bound) / bound; 0 where both are 0."""
        return (self.value - self.bound) / self.bound if self.bound else self.value - self.bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A placement for every page at every moment of a cyclic step."""

    trace_fingerprint: str
    machine: str
    fast_bytes: int
    objective: str
    transfers: Transfers
    prediction: Prediction
    certificate: Certificate | None
