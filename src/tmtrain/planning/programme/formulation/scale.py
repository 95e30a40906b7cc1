"""In what the programme counts: parts of the fast tier, seconds, bins; and what a page costs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.programme.bins import bin_edges
from tmtrain.planning.recomputation.candidates import RecomputeCandidates

FAST_PARTS = 256
"""Pages are counted in so many parts of the fast tier, which keeps HiGHS well scaled."""
TIE_BREAK = 1e-5
"""Weight of Note [Longest gaps] in `tmtrain.planning.programme.solve`, relative to the dearest price of a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PricedStep:
    """A step, what runs it, and what is minimised."""

    timeline: Timeline
    machine: Machine
    objective: Objective


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelScale:
    """Units, bins and prices of a programme."""

    num_slices: int
    edges: NDArray[np.int64]
    """First slice of each bin, and the number of slices."""
    clock: NDArray[np.float64]
    """Seconds of compute before each slice, and those of the step, shape (slices + 1,)."""
    page_unit: float
    """Pages per unit of the columns that count pages."""
    unit_bytes: float
    """Bytes of these pages."""
    second: float
    """Seconds per unit of the stall columns."""
    total: float
    """As much as is ever absent: a bound for columns that have no other."""
    price_in: float
    """Objective units for a unit of pages read."""
    price_out: float
    tie_break: float
    """Objective units that a unit of pages may cost extra, see `longest_first`."""

    @property
    def num_bins(self) -> int:
        """Bins of the step."""
        return len(self.edges) - 1

    def bin_of(self, t: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bin of each slice, which may lie in the next step."""
        return np.searchsorted(self.edges, t % self.num_slices, side="right") - 1

    def longest_first(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the extra cost of a page that is away from `start` to `end`, the less the longer: Note [Longest gaps]."""
        step = max(float(self.clock[-1]), 1e-300)
        after_start = self.clock[np.minimum(start + 1, self.num_slices)]
        passed = self.clock[end % self.num_slices] - after_start + np.where(end <= start, step, 0.0)
        return self.tie_break * (2 - passed / step)


def find_scale(
    problem: Problem,
    step: PricedStep,
    candidates: RecomputeCandidates,
    *,
    tie_break: float,
    edges: NDArray[np.int64] | None,
) -> ModelScale:
    """Return the units, bins and prices for a step; `edges` are the bins where these are given."""
    timeline, objective = step.timeline, step.objective
    page_unit = max(timeline.fast_pages / FAST_PARTS, 1.0)
    unit_bytes = page_unit * timeline.page_bytes
    edges = bin_edges(timeline, problem.over_pages) if edges is None else edges
    price_in, price_out = objective.per_byte_in * unit_bytes, objective.per_byte_out * unit_bytes
    # Where bytes are free, a page still costs the seconds that it takes.
    dearest = max(price_in, price_out, objective.per_second * unit_bytes / step.machine.shared_bytes_per_s)
    pages = int(problem.gaps.pages.sum()) + sum(unit.pages for unit in candidates.units)
    return ModelScale(
        num_slices=problem.num_slices,
        edges=edges,
        clock=np.concatenate([[0.0], np.cumsum(timeline.slices.duration_s)]),
        page_unit=page_unit,
        unit_bytes=unit_bytes,
        second=max(timeline.compute_s / (len(edges) - 1), 1e-12),
        total=float(pages) / page_unit,
        price_in=price_in,
        price_out=price_out,
        tie_break=tie_break * dearest,
    )
