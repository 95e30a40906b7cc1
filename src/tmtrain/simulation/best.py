"""A policy at its best: its variants are decided and simulated, and the one that needs least of an objective is kept.

Rivals have parameters of their own (a prefetch window, a threshold). The systems tune them by running some steps; so does
this, for what the comparison ranks. Without an objective that is time; of equal variants the first one stays.
"""

import time
from dataclasses import dataclass, replace

from tmtrain.deciding import Decision, Policy
from tmtrain.errors import PlanRefutedError, PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective, make_objective
from tmtrain.simulation.result import Result
from tmtrain.simulation.run import simulate


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """A decision and what came of it."""

    decision: Decision
    result: Result
    decide_s: float
    """Wall-clock seconds of all variants' decisions."""
    simulate_s: float
    """Wall-clock seconds of this simulation."""


def try_policy(policy: Policy, timeline: Timeline, *, machine: Machine, objective: str = "time") -> Tried:
    """Run `timeline` under every variant of `policy` and return the one whose step needs least of `objective`.

    Args:
        policy: Its `Policy.variants` are tried.
        timeline: The step.
        machine: To run it on.
        objective: "energy", "time", "bytes", "writes", or a mix.

    Raises:
        InputError: no such objective.
        PolicyError: none of the variants has an answer for this step, or can run it.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> from tmtrain.policies import make_policy
    >>> tried = try_policy(make_policy("belady"), example_timeline(), machine=load_machine("v4-slc"))
    >>> tried.result.policy
    'belady'
    """
    goal = make_objective(objective, timeline=timeline, machine=machine)
    tried: list[Tried] = []
    refusals: list[PolicyError] = []
    for variant in policy.variants():
        try:
            tried.append(_try(variant, timeline, machine=machine, name=policy.name))
        except PolicyError as error:
            refusals.append(error)
    if not tried:
        raise refusals[0]
    best = min(tried, key=lambda t: objective_of(t.result, goal))
    return replace(best, decide_s=sum(t.decide_s for t in tried))


def objective_of(result: Result, objective: Objective) -> float:
    """Return what `result` needed of `objective`, in its unit.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> from tmtrain.policies import make_policy
    >>> timeline, machine = example_timeline(), load_machine("v4-slc")
    >>> result = try_policy(make_policy("belady"), timeline, machine=machine).result
    >>> objective_of(result, make_objective("writes", timeline=timeline, machine=machine)) == result.bytes_out
    True
    """
    return objective.measured(
        energy_j=result.energy_j,
        step_time_s=result.step_time_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
    )


def _try(variant: Policy, timeline: Timeline, *, machine: Machine, name: str) -> Tried:
    begin = time.perf_counter()
    decision = variant.decide(timeline, machine=machine)
    decided = time.perf_counter()
    result = _simulate(decision, machine=machine, name=name)
    return Tried(
        decision=decision,
        result=result,
        decide_s=decided - begin,
        simulate_s=time.perf_counter() - decided,
    )


def _simulate(decision: Decision, *, machine: Machine, name: str) -> Result:
    """Run a decision; one that gets stuck has no answer, but a plan without a pager must not get stuck."""
    try:
        return simulate(decision, machine=machine, policy=name)
    except PlanRefutedError as error:
        if decision.pager is None:
            raise
        raise PolicyError(f"{name} cannot run this step: {error}", policy=name) from error
