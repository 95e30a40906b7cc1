"""`plan`: Timeline -> Plan, measured."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import propose
from tmtrain.planning.problem.objective import make_objective
from tmtrain.plans import Plan
from tmtrain.policies.ours.measuring import measure

ROUNDS_WELL = 0.005
"""A plan whose optimality gap is no wider is kept without looking at others."""
PATIENCE = 3
"""So many proposals in a row that better nothing end the search."""


def plan(
    timeline: Timeline,
    *,
    machine: Machine,
    objective: str = "energy",
    recompute: bool = True,
    cuts: NDArray[np.int64] | None = None,
    write_budget_bytes: float | None = None,
    time_limit_s: float | None = None,
) -> Plan:
    """Compute what is kept, moved and recomputed all along the step, for the least `objective`, and measure it.

    Args:
        timeline: The step on `machine` with its fast capacity.
        machine: Rates and energies.
        objective: "energy" (joules), "time" (seconds), "bytes" or "writes" (bytes) of one step, or a mix of them such as
            "energy:1,time:0.5" (`tmtrain.planning.problem.objective`).
        recompute: Whether operators may run again; otherwise pages are kept or moved.
        cuts: The partition into recompute blocks, where that is decided already (`Certificate.cuts` of a plan for the same
            step); otherwise two are tried.
        write_budget_bytes: Most bytes written to flash per step.
        time_limit_s: Seconds that the solver may take for each programme. Where that is too short, the plan recomputes
            nothing, or is found without a solver; its certificate says what is proved then, and the optimality gap is
            wide but true.

    Raises:
        InputError: unknown objective.
        InfeasibleError: a slice touches more than the fast tier holds, or the write budget is too small.
        SolverError: the linear programme was not solved.
        InternalError: the engine refuses the plan, or measures less than its bound: a bug of tmtrain.
    """
    goal = make_objective(objective, timeline=timeline, machine=machine)
    proposals = propose(
        timeline,
        machine=machine,
        objective=objective,
        recompute=recompute,
        cuts=cuts,
        write_budget_bytes=write_budget_bytes,
        time_limit_s=time_limit_s,
    )
    best, tries_in_vain = None, 0
    for proposal in proposals:
        plan = measure(proposal, timeline, machine=machine, objective=goal)
        if best is None or _needed(plan) < _needed(best):
            best, tries_in_vain = plan, 0
        else:
            tries_in_vain += 1
        if _rounds_well(best) or tries_in_vain == PATIENCE:
            break
    assert best is not None, "the planner proposes a plan or says why not"
    return best


def _rounds_well(plan: Plan) -> bool:
    assert plan.certificate is not None
    return _needed(plan) <= (1 + ROUNDS_WELL) * plan.certificate.bound.value


def _needed(plan: Plan) -> float:
    assert plan.certificate is not None
    assert plan.certificate.measured is not None
    return plan.certificate.measured
