"""A policy at its best: its variants are decided and simulated, and the fastest is kept.

Rivals have parameters of their own (a prefetch window, a threshold). The systems tune them by running some steps; so does
this. Time is what all of them were made for, so time decides; of equally fast variants the first one stays.
"""

import time
from dataclasses import dataclass, replace

from tmtrain.deciding import Decision, Policy
from tmtrain.errors import PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
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


def try_policy(policy: Policy, timeline: Timeline, *, machine: Machine) -> Tried:
    """Run `timeline` under every variant of `policy` and return the one whose step takes least time.

    Raises:
        PolicyError: none of the variants has an answer for this step, or settles down.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> from tmtrain.policies import make_policy
    >>> tried = try_policy(make_policy("belady"), example_timeline(), machine=load_machine("v4-slc"))
    >>> tried.result.policy
    'belady'
    """
    tried: list[Tried] = []
    refusals: list[PolicyError] = []
    for variant in policy.variants():
        try:
            tried.append(_try(variant, timeline, machine=machine, name=policy.name))
        except PolicyError as error:
            refusals.append(error)
    if not tried:
        raise refusals[0]
    best = min(tried, key=lambda t: t.result.step_time_s)
    return replace(best, decide_s=sum(t.decide_s for t in tried))


def _try(variant: Policy, timeline: Timeline, *, machine: Machine, name: str) -> Tried:
    begin = time.perf_counter()
    decision = variant.decide(timeline, machine=machine)
    decided = time.perf_counter()
    result = simulate(decision, machine=machine, policy=name)
    return Tried(
        decision=decision,
        result=result,
        decide_s=decided - begin,
        simulate_s=time.perf_counter() - decided,
    )
