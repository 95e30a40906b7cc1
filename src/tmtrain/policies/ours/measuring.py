"""What a plan needs by the engine: the number that its optimality gap is about."""

from dataclasses import replace

from tmtrain.errors import InternalError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.plans import Plan, Prediction
from tmtrain.policies.ours.following import follow
from tmtrain.simulation import Result, objective_of, simulate

ROUNDING = 1e-9
"""Relative: a bound and a measurement add up the same numbers in different orders."""
PLEASE_REPORT = "This is a bug of tmtrain: please report it, with the command, the trace and the machine"


def measure(plan: Plan, timeline: Timeline, *, machine: Machine, objective: Objective) -> Plan:
    """Run `plan` on the engine and note in its certificate what a steady step needs of `objective`.

    Args:
        plan: With a certificate.
        timeline: The step, without the plan's recomputations.
        machine: That the plan is for.
        objective: That of the plan.

    Raises:
        PlanRefutedError: the engine refuses the plan.
        InternalError: it measures less than the bound says is possible.
    """
    assert plan.certificate is not None, "what has no bound has no gap"
    result = simulate(follow(plan, timeline, machine=machine), machine=machine, policy=plan.origin)
    return replace(
        plan,
        certificate=replace(plan.certificate, measured=_checked(plan, result, objective)),
        measurement=Prediction(
            bytes_in=result.bytes_in,
            bytes_out=result.bytes_out,
            step_time_s=result.step_time_s,
            energy_j=float(result.energy_j),
            recompute_s=float(result.recompute_s),
        ),
    )


def _checked(plan: Plan, result: Result, objective: Objective) -> float:
    assert plan.certificate is not None
    needed, bound = objective_of(result, objective), plan.certificate.bound.value
    if needed < bound * (1 - ROUNDING):
        raise InternalError(
            f"the plan was measured to need {needed:.12g} of {objective.name}, its lower bound is {bound:.12g}. "
            f"{PLEASE_REPORT}"
        )
    return float(needed)
