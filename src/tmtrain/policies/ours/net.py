"""The net behind the programme: what every rival did in this step, as plans of ours.

The programme knows bins, latencies as leads, and pages as shares. In a small step that can be too coarse, and a rule of
thumb may happen to do better. Then what the rule did is our plan, and the plan says so (`Plan.origin`). So no plan is worse
than what a policy of this package reaches, if the engine runs what it did as well without it.
"""

from collections.abc import Iterator

from tmtrain.errors import InfeasibleError, PlanRefutedError, PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.plans import Plan
from tmtrain.policies.ours.imitation import imitate
from tmtrain.policies.rivals import RIVALS
from tmtrain.simulation import try_policy

OUTSIDE = ("all-fast", "paging")
"""Those that run another step: with more memory, or with other extents."""


def imitations(timeline: Timeline, *, machine: Machine, objective: Objective) -> Iterator[Plan]:
    """Yield what each rival did, at its best, as a plan without a certificate; those that recompute are left out.

    Args:
        timeline: The step.
        machine: To run it on.
        objective: What is minimised.
    """
    for rival in RIVALS:
        if rival.name in OUTSIDE:
            continue
        try:
            tried = try_policy(rival(), timeline, machine=machine)
            if not tried.decision.recompute_s:
                yield imitate(tried.result, tried.decision, machine=machine, objective=objective.name)
        except (InfeasibleError, PlanRefutedError, PolicyError):
            continue  # it cannot run this step
