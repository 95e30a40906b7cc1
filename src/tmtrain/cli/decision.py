"""A plan to follow, or a policy to ask: what commands that simulate a step have in common."""

from pathlib import Path

from tmtrain.cli.options import DEFAULT_FAST
from tmtrain.cli.scene import Scene
from tmtrain.errors import InputError
from tmtrain.plans import Plan
from tmtrain.plans.file import load_plan
from tmtrain.policies import Decision, follow, make_policy
from tmtrain.simulation import Result, simulate, try_policy
from tmtrain.units import FastCapacity, parse_fast


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
    scene: Scene, *, policy: str, objective: str, plan: Plan | None
) -> tuple[Decision, Result]:
    """Run a policy at its best in a scene, or follow a plan that is there."""
    if plan is None:
        tried = try_policy(make_policy(policy, objective=objective), scene.timeline, machine=scene.machine)
        return tried.decision, tried.result
    decision = follow(plan, scene.timeline, machine=scene.machine)
    return decision, simulate(decision, machine=scene.machine, policy=policy)
