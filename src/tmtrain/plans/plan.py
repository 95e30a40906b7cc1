"""The Plan: what is absent from fast memory when, as transfers, with its prediction and its certificate."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.recomputation import Recomputations

PROGRAMME = "programme"
"""Origin of a plan that is what the linear programme says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfers:
    """One row per absence of a piece of an extent, between one access and the next.

    Pages ``first_page .. first_page + pages - 1`` leave. What leaves an extent in one access gap is its front, so the
    pieces of a gap follow one another from page 0 on, and the last one comes back first.

    If flash has no valid copy, they are written: from before slice `write_slice` on, at best before slice `written_slice`.
    They may leave before slice `leave_slice`, and go as soon as they are written. They are fetched from before slice
    `fetch_slice` on, and must be back before slice `return_slice` runs.

    Slices are cyclic: numbers run on into the next step by adding the number of slices, so that
    ``write_slice <= leave_slice <= written_slice <= return_slice`` and ``leave_slice <= fetch_slice <= return_slice``.
    """

    extent: NDArray[np.int32]
    first_page: NDArray[np.int64]
    """Within the extent."""
    pages: NDArray[np.int64]
    write_slice: NDArray[np.int32]
    written_slice: NDArray[np.int32]
    leave_slice: NDArray[np.int32]
    fetch_slice: NDArray[np.int32]
    return_slice: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.extent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What the planner expects of one steady step, recomputations included."""

    bytes_in: int
    bytes_out: int
    step_time_s: float
    energy_j: float
    recompute_s: float
    """Seconds of recomputation, part of `step_time_s`."""


CLASS = (
    "plan that runs the step's operators in their order, moves pages, and recomputes each block at most once"
)
"""What every bound is about, in words that a reader understands; exactly: Note [The class] in
`tmtrain.planning.programme.certificate`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A lower bound on the objective, and the multipliers that prove it, wherever they come from."""

    value: float
    """In the objective's unit: joules, seconds or bytes of one step."""
    multipliers: dict[str, NDArray[np.float64]]
    """Of each row of the programme, by name of its family (`tmtrain.planning.programme.model`)."""
    capacity_price: NDArray[np.float64]
    """Objective units that one more page of fast memory would save, at each slice of the step without recomputations."""
    edges: NDArray[np.int64]
    """First slice of each bin over which the link is accounted for, and the number of slices."""


def optimality_gap(measured: float | None, bound: float) -> float | None:
    """Return (measured - bound) / bound; None where it is undefined: nothing was measured, or the bound is 0.

    Args:
        measured: What the engine needed of the objective.
        bound: No plan of the class needs less.

    >>> optimality_gap(1.5, 1.0), optimality_gap(4096.0, 0.0)
    (0.5, None)
    """
    return None if measured is None or bound <= 0 else (measured - bound) / bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """How close to optimal a plan is: the bound for every plan of its class (`tmtrain.planning.programme.certificate`)."""

    objective: str
    predicted: float
    """What the planner expects of the plan, in the objective's unit."""
    bound: Bound
    cuts: NDArray[np.int64]
    """First slice of each recompute block and the end of the last; empty: the class keeps and moves only."""
    write_budget_bytes: float | None
    """The class writes no more than this per step."""
    measured: float | None = None
    """What a steady step needs by the engine (`tmtrain.simulation`); None: nobody has run the plan there."""

    @property
    def gap(self) -> float | None:
        """The optimality gap of what was measured, see `optimality_gap`."""
        return optimality_gap(self.measured, self.bound.value)

    @property
    def prediction_error(self) -> float | None:
        """(predicted - measured) / measured; None where nothing was measured, or 0."""
        return (self.predicted - self.measured) / self.measured if self.measured else None

    @property
    def recomputes(self) -> bool:
        """The class may recompute."""
        return len(self.cuts) > 0

    @property
    def covers(self) -> str:
        """The class in words: no such plan needs less than the bound. A write budget stands beside it.

        >>> from tmtrain.planning.example import example_plan
        >>> example_plan().certificate.covers
        "plan that runs the step's operators in their order, moves pages, and recomputes each block at most once"
        """
        return CLASS if self.recomputes else CLASS.replace("each block at most once", "nothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where every page is at every slice of a cyclic step, and what is recomputed."""

    trace_fingerprint: str
    machine: str
    machine_fingerprint: str
    """Of the constants (`tmtrain.machine.Machine.fingerprint`) that the step was lowered with."""
    fast_bytes: int
    objective: str
    recomputations: Recomputations
    """Operators that run again; they become slices of the step (`tmtrain.lowering.insert_recomputations`)."""
    transfers: Transfers
    """In slices and extents of the step with the recomputations in it."""
    prediction: Prediction
    certificate: Certificate | None
    measurement: Prediction | None = None
    """What the engine measured of a steady step; None: nobody has run the plan there."""
    origin: str = PROGRAMME
    """Who proposed it: the programme, or the member of the portfolio (`tmtrain.policies.ours`) that was better."""
