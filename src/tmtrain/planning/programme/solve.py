"""Solves the planning problem and reads the answer: pages of gaps, shares of recomputations, the pace, the bound.

Note [Longest gaps]
    The optimum is degenerate: many placements move the same bytes. They differ in how well the transfers hide. A page that
    is absent for long can be written and fetched while the link has nothing better to do, and leaves slack around the
    peak. So every page moved costs a little extra, the less the longer its access gap lasts (in compute time). This costs
    at most TIE_BREAK of the optimum and brings the simulated step to the bound (benchmarks/tie_break.md).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InfeasibleError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.programme.formulation.scale import TIE_BREAK
from tmtrain.planning.programme.levels.climb import climb
from tmtrain.planning.programme.model import Model, build_model
from tmtrain.planning.programme.pace import Pace
from tmtrain.planning.programme.programme import Solution
from tmtrain.planning.programme.rounding import to_whole_pages
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.plans.plan import Bound
from tmtrain.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the plan has to keep to beside the capacity."""

    write_budget_bytes: float | None = None
    """Most bytes written to flash per step (drive life as a constraint)."""
    time_limit_s: float | None = None
    """Seconds that the solver may take for one programme."""

    def of(self, write_share: float) -> "Limits":
        """Return the same with a share of the write budget."""
        budget = self.write_budget_bytes
        return replace(self, write_budget_bytes=None if budget is None else budget * write_share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The solved programme."""

    moved: NDArray[np.int64]
    """Whole pages moved per gap, shape (gaps,); feasible where nothing is recomputed."""
    shares: NDArray[np.float64]
    """Of each recomputation, shape (recomputations,)."""
    optimum: float
    """Of the programme, before rounding, in objective units."""
    stall_s: float
    """Seconds of waiting that the programme foresees."""
    pace: Pace
    bound: Bound


def solve(
    problem: Problem,
    *,
    timeline: Timeline,
    machine: Machine,
    objective: Objective,
    candidates: RecomputeCandidates | None = None,
    limits: Limits | None = None,
    tie_break: float = TIE_BREAK,
    extra_cost: NDArray[np.float64] | None = None,
    edges: NDArray[np.int64] | None = None,
) -> Placement:
    """Find the pages to move in every gap and, with `candidates`, the recomputations to run.

    Args:
        problem: Gaps, epochs, and what each slice lacks.
        timeline: The step.
        machine: Rates of the link.
        objective: Prices.
        candidates: What may be recomputed; None: keep or move only.
        limits: What the plan has to keep to.
        tie_break: Weight of Note [Longest gaps]; less than 0 prefers short gaps.
        extra_cost: Of a page of each gap, in objective units, beside what the objective says.
        edges: First slice of each bin, and the number of slices; None: as `bin_edges` chooses them.

    Raises:
        TimeLimitError: HiGHS takes longer than the limits allow.
        SolverError: HiGHS gave up (numerical trouble).
        InfeasibleError: the limits cannot be kept.
    """
    limits = limits or Limits()
    model = build_model(
        problem,
        timeline=timeline,
        machine=machine,
        objective=objective,
        candidates=candidates,
        write_budget_bytes=limits.write_budget_bytes,
        tie_break=tie_break,
        extra_cost=extra_cost,
        edges=edges,
    )
    try:
        # Where seconds are free: of the plans that are as good, take one that does not waste them.
        then = None if objective.per_second else _seconds(model)
        solution = climb(model, then=then, time_limit_s=limits.time_limit_s)
    except InfeasibleError as error:
        budget = limits.write_budget_bytes
        limit = "" if budget is None else f", within a write budget of {format_bytes(int(budget))} per step"
        raise InfeasibleError(
            f"no plan fits {format_bytes(timeline.fast_bytes)}{limit}: {error}",
            capacity_bytes=timeline.fast_bytes,
        ) from error
    return _read(model, solution, problem)


def _seconds(model: Model) -> NDArray[np.float64]:
    """Return how long each column waits or computes."""
    programme = model.programme
    seconds = np.zeros(programme.num_columns)
    seconds[programme.columns["stall"]] = model.second
    seconds[programme.columns["recomputed"]] = model.recompute_s
    return seconds


def _read(model: Model, solution: Solution, problem: Problem) -> Placement:
    columns, x = model.programme.columns, solution.x
    exact = np.zeros(len(problem.gaps))
    exact[model.gaps] = x[columns["moved"]] * model.page_unit
    return Placement(
        moved=to_whole_pages(problem, exact),
        shares=x[columns["recomputed"]],
        optimum=solution.value,
        stall_s=float(x[columns["stall"]].sum()) * model.second,
        pace=Pace(
            edges=model.edges,
            pages_in=x[columns["in"]] * model.page_unit,
            pages_ahead=x[columns["ahead"]] * model.page_unit,
            pages_out=x[columns["out"]] * model.page_unit,
            stall_s=x[columns["stall"]] * model.second,
        ),
        bound=bound_of(model, solution.y),
    )


def bound_of(model: Model, y: NDArray[np.float64]) -> Bound:
    """Return what multipliers `y` prove: Note [Weak duality] in `tmtrain.planning.programme.programme`."""
    programme = model.programme
    reduced = programme.reduced_costs(y)[programme.columns["absent"]]
    price = np.maximum(reduced, 0.0)
    # One more page of fast memory eases [Capacity] of every slice, and that at the ends of bins once more.
    price[model.edges[1:] - 1] += np.maximum(y[programme.rows["room"]], 0.0)
    return Bound(
        # No objective is ever negative: less than 0 is what rounding did to the multipliers.
        value=max(programme.bound(y), 0.0),
        multipliers={name: y[rows] for name, rows in programme.rows.items()},
        capacity_price=price / model.page_unit,
        edges=model.edges,
    )
