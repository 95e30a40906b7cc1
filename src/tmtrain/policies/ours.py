"""Ours: the plan of `tmtrain.planning`, followed to the letter; with recomputation, or keeping and moving only."""

from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import plan as plan_step
from tmtrain.plans import Plan, check_plan_fits, check_transfers_fit
from tmtrain.policies.policy import Decision, Knowledge, Policy


class Tmtrain(Policy):
    """Static plan: keep, move or recompute, with proactive transfers."""

    name = "tmtrain"
    recompute = True

    def __init__(self, objective: str = "energy") -> None:
        self._objective = objective

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Plan the step."""
        plan = plan_step(timeline, machine=machine, objective=self._objective, recompute=self.recompute)
        return follow(plan, timeline, machine=machine)


class TmtrainMove(Tmtrain):
    """Static optimal placement: the best plan that keeps and moves only."""

    name = "tmtrain-move"
    recompute = False


def follow(plan: Plan, timeline: Timeline, *, machine: Machine) -> Decision:
    """Return the decision to run `timeline` by a plan.

    Raises:
        InputError: the plan is for another step, machine, capacity or slicing.
    """
    check_plan_fits(plan, timeline)
    longer_step = insert_recomputations(timeline, plan.recomputations, machine=machine)
    check_transfers_fit(plan, longer_step)
    return Decision(
        timeline=longer_step,
        knowledge=Knowledge.LAST_USE,
        plan=plan,
        recompute_s=longer_step.compute_s - timeline.compute_s,
    )
