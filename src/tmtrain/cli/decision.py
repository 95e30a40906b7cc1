"""A plan to follow, or a policy to ask: what commands that simulate a step have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, TypeAlias

from cyclopts import Parameter

from tmtrain.cli.options import DEFAULT_FAST, SEVERAL
from tmtrain.cli.scene import Scene
from tmtrain.deciding import Decision
from tmtrain.errors import InputError
from tmtrain.lowering import Timeline
from tmtrain.machine import Machine
from tmtrain.plans import Plan
from tmtrain.plans.file import load_plan
from tmtrain.policies import POLICIES, follow, make_policy
from tmtrain.simulation import Result, simulate, try_policy
from tmtrain.units import FastCapacity, parse_fast

PolicyName: TypeAlias = Annotated[str, Parameter(choices=POLICIES)]
SeveralPolicies: TypeAlias = Annotated[tuple[str, ...], SEVERAL, Parameter(choices=POLICIES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedDecision:
    """What was decided for a step, and what came of it."""

    decision: Decision
    result: Result


def plan_to_follow(plan: Path | None, *, policy: str, objective: str | None) -> Plan | None:
    """Read the plan to follow, if any, and refuse what would be ignored beside it."""
    if plan is None:
        return None
    if policy != "tmtrain":
        raise InputError(f"--policy {policy} cannot follow a plan: leave --plan or --policy out")
    if objective is not None:
        raise InputError(
            f"--objective is for making a plan, {plan} is already made: leave one of the two out"
        )
    return load_plan(plan)


def capacity_of(fast: str | None, plan: Plan | None) -> FastCapacity:
    """Return what was asked for, by default that of the plan."""
    if fast is None and plan is not None:
        return FastCapacity(bytes=plan.fast_bytes)
    return parse_fast(fast or DEFAULT_FAST)


def decide_and_run(
    scene: Scene, *, policy: str, objective: str | None, plan: Plan | None
) -> SimulatedDecision:
    """Run a policy at its best in a scene, or follow a plan that is there."""
    if plan is None:
        aim = objective or "energy"
        chosen = make_policy(policy, objective=aim)
        tried = try_policy(chosen, scene.timeline, machine=scene.machine, objective=aim)
        return SimulatedDecision(decision=tried.decision, result=tried.result)
    return simulate_plan(plan, scene.timeline, machine=scene.machine)


def simulate_plan(plan: Plan, timeline: Timeline, *, machine: Machine) -> SimulatedDecision:
    """Follow a plan of ours through one steady step."""
    decision = follow(plan, timeline, machine=machine)
    return SimulatedDecision(decision=decision, result=simulate(decision, machine=machine, policy="tmtrain"))
