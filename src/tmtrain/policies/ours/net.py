"""The net behind the programme: what every rival did in this step, as plans of ours.

The programme knows bins, latencies as leads, and pages as shares. In a small step that can be too coarse, and a rule of
thumb may happen to do better. Then what the rule did is our plan, and the plan says so (`Plan.origin`). So no plan is worse
than what a policy of this package reaches, if the engine runs what it did as well without it.
"""

from collections.abc import Hashable, Iterator
from dataclasses import fields, replace
from itertools import product

from tmtrain.errors import InfeasibleError, PlanRefutedError, PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.plans import Plan
from tmtrain.policies.ours.imitation import imitate
from tmtrain.policies.rivals import RIVALS
from tmtrain.simulation import Tried, try_policy

OUTSIDE = ("all-fast", "paging", "checkpoint-lru", "poet")
"""Those that run another step: with more memory, with other extents, or with recomputations."""
SOLVERS = ("autotm-sync", "autotm-async")
"""Those that solve an integer programme, which takes up to a minute."""
TINY = 64
"""Slices of a step for which that takes a moment, as the engine takes milliseconds."""


def imitations(timeline: Timeline, *, machine: Machine, objective: Objective) -> Iterator[Plan]:
    """Yield what each rival did, at its best, as plans without a certificate, each once; those that recompute are left out.

    Args:
        timeline: The step.
        machine: To run it on.
        objective: What is minimised.
    """
    is_tiny = len(timeline.slices) <= TINY
    seen: set[Hashable] = set()
    for rival in RIVALS:
        if rival.name in OUTSIDE or (rival.name in SOLVERS and not is_tiny):
            continue
        try:
            tried = try_policy(rival(), timeline, machine=machine, objective=objective.name)
        except (InfeasibleError, PlanRefutedError, PolicyError):
            continue  # it cannot run this step
        if not tried.decision.recompute_s:
            for plan in _plans_of(tried, machine=machine):
                schedule = _schedule_of(plan)
                if schedule not in seen:
                    seen.add(schedule)
                    yield replace(plan, objective=objective.name, origin=rival.name)


def _schedule_of(plan: Plan) -> Hashable:
    """Return what two plans that do the same have in common."""
    columns = (getattr(plan.transfers, column.name) for column in fields(plan.transfers))
    return tuple(column.tobytes() for column in columns)


def _plans_of(tried: Tried, *, machine: Machine) -> Iterator[Plan]:
    """Yield the plan that the rival made, if it is complete; or its run, in five ways."""
    decision = tried.decision
    if decision.plan is not None and decision.pager is None:
        yield decision.plan
        return
    yield imitate(tried.result, decision, machine=machine, as_it_was=False)
    for writes_at_once, fetches_ahead in product((True, False), repeat=2):
        yield imitate(
            tried.result,
            decision,
            machine=machine,
            writes_at_once=writes_at_once,
            fetches_ahead=fetches_ahead,
        )
