"""A planned step: a recorded step, and the plan by which the steps like it run."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tmtrain.lowering import Timeline, lower
from tmtrain.machine import Machine
from tmtrain.planning import propose
from tmtrain.plans import Plan
from tmtrain.runtime.following.movable import with_seconds
from tmtrain.runtime.following.recorded_step import RecordedStep
from tmtrain.runtime.following.schedule import OperatorSchedule, schedule_of
from tmtrain.trace import Trace

OBJECTIVE = "time:1,bytes:0.05"
"""Time first; of two plans that take the same time, the one that moves less."""
LITTLE_WAITING = 0.05
"""Of the computation: where moving alone waits no longer than this, time is no reason to recompute."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlannedStep:
    """A recorded step on a machine, under a budget."""

    recorded: RecordedStep
    machine: Machine
    timeline: Timeline
    plan: Plan
    schedule: OperatorSchedule


def make_planned_step(
    recorded: RecordedStep, *, machine: Machine, budget_bytes: int, objective: str = OBJECTIVE
) -> PlannedStep:
    """Plan how steps like `recorded` run.

    Raises:
        InfeasibleError: an operator needs more than the budget.
        SolverError: the programme was not solved.
    """
    timeline, run_plan = plan_run(
        recorded.trace, machine=machine, budget_bytes=budget_bytes, objective=objective
    )
    schedule = schedule_of(
        run_plan,
        timeline,
        machine=machine,
        names=recorded.trace.storages.name,
        num_operators=recorded.num_operators,
    )
    return PlannedStep(
        recorded=recorded, machine=machine, timeline=timeline, plan=run_plan, schedule=schedule
    )


def plan_run(
    trace: Trace, *, machine: Machine, budget_bytes: int, objective: str = OBJECTIVE
) -> tuple[Timeline, Plan]:
    """Plan for operators as they are, none cut: keep, move, and recompute where that is worth its time.

    Raises: as `make_planned_step`.
    """
    timeline = lower(trace, machine=machine, fast_bytes=budget_bytes, whole_operators=True)
    if objective == OBJECTIVE:
        moves = next(propose(timeline, machine=machine, objective=objective, recompute=False))
        if moves.prediction.step_time_s <= (1 + LITTLE_WAITING) * timeline.compute_s:
            return timeline, moves
    return timeline, next(propose(timeline, machine=machine, objective=objective))


def retimed(planned_step: PlannedStep, *, seconds: Mapping[int, float], machine: Machine) -> PlannedStep:
    """Plan the same step again, with other times of its operators or on another drive; errors as `make_planned_step`."""
    recorded = replace(planned_step.recorded, trace=with_seconds(planned_step.recorded.trace, seconds))
    return make_planned_step(
        recorded,
        machine=machine,
        budget_bytes=planned_step.timeline.fast_bytes,
        objective=planned_step.plan.objective,
    )
