"""What a plan needs by the engine: the number that its optimality gap is about."""

from dataclasses import replace

from tmtrain.errors import InternalError, PlanRefutedError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.plans import Plan
from tmtrain.policies.ours.following import follow
from tmtrain.simulation import Result, objective_of, simulate

ROUNDING = 1e-9
"""Relative: a bound and a measurement add up the same numbers in different orders."""
_REPORT = "This is a bug of tmtrain: please report it, with the command, the trace and the machine"


def measure(plan: Plan, timeline: Timeline, *, machine: Machine, objective: Objective) -> Plan:
    """Run `plan` on the engine and note in its certificate what a steady step needs of `objective`.

    Args:
        plan: With a certificate.
        timeline: The step, without the plan's recomputations.
        machine: That the plan is for.
        objective: That of the plan.

    Raises:
        InternalError: the engine refuses the plan, or measures less than the bound says is possible.
    """
    assert plan.certificate is not None, "what has no bound has no gap"
    decision = follow(plan, timeline, machine=machine)
    try:
        result = simulate(decision, machine=machine, policy=plan.origin)
    except PlanRefutedError as error:
        raise InternalError(
            f"the engine cannot run a plan that the planner made: {error}. {_REPORT}"
        ) from error
    return replace(plan, certificate=replace(plan.certificate, measured=_checked(plan, result, objective)))


def _checked(plan: Plan, result: Result, objective: Objective) -> float:
    assert plan.certificate is not None
    needed, bound = objective_of(result, objective), plan.certificate.bound.value
    if needed < bound * (1 - ROUNDING):
        raise InternalError(
            f"the plan was measured to need {needed:.12g} of {objective.name}, its lower bound is {bound:.12g}. {_REPORT}"
        )
    return needed
