"""A plan as a Decision: the step with the plan's recomputations in it, followed to the letter."""

from tmtrain.deciding import Decision, Knowledge
from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plans import Plan, check_plan_fits, check_transfers_fit


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
