"""A planned step with the timing monitor over it: what a real step measured goes in, the plan for the next ones comes out.

A real step tells less than a simulated one: the seconds of its operators, its waiting, and the drive's rate at full load,
but not when each transfer arrived. So a drift is planned for, on trial, and split ratios are not steered. What is
recomputed stays as it is.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.recomputation import positions_of_slices
from tmtrain.machine import Machine
from tmtrain.planning.monitor.monitor import Monitor
from tmtrain.planning.monitor.observation import Observation
from tmtrain.plans import Plan
from tmtrain.runtime.following.movable import with_seconds
from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.following.schedule import schedule_of


@dataclass(frozen=True, slots=True, kw_only=True)
class RealStep:
    """What a real step measured."""

    seconds: Mapping[int, float]
    """Of its operators, without waiting."""
    stall_s: float
    """Waiting for the drive."""
    machine: Machine
    """That it was planned for."""
    slowness: float | None
    """How many times as long as the machine says the drive took at full load; None if that was too rare to tell."""


class WatchedStep:
    """Steers the plan of one recorded step."""

    def __init__(self, planned_step: PlannedStep) -> None:
        self._base = planned_step
        timeline, plan, machine = planned_step.timeline, planned_step.plan, planned_step.machine
        self._longer_step = insert_recomputations(timeline, plan.recomputations, machine=machine)
        self._own_slices = positions_of_slices(self._longer_step, of=timeline)
        self._monitor = Monitor(self._longer_step, machine=machine, objective=plan.objective, plan=plan)
        self._steps: list[tuple[Plan, PlannedStep]] = [(plan, planned_step)]
        """Each plan of the monitor that was followed, and the step that follows it."""

    def answer(self, seen: RealStep) -> PlannedStep:
        """Take in a step that followed the last answer; return what to follow from now on.

        Raises:
            InfeasibleError: a plan for what has drifted does not fit.
            SolverError: its programme was not solved.
        """
        plan, machine = self._monitor.next_plan(self._observation(seen)), self._monitor.machine
        step = next((step for known, step in self._steps if known is plan), None)
        if step is None:
            step = self._following(plan)
            self._steps.append((plan, step))
        # What the drive is taken for is the newest whatever the plan: the step beside its simulation needs it.
        return step if step.machine is machine else replace(step, machine=machine)

    def _observation(self, seen: RealStep) -> Observation:
        base, plan = self._base, self._monitor.plan
        took = with_seconds(base.recorded.trace, seen.seconds).operators.duration_s
        assert took is not None, "a recorded step has the times of its operators"
        duration_s, stall_s = (
            self._longer_step.slices.duration_s.copy(),
            np.zeros(len(self._longer_step.slices)),
        )
        duration_s[self._own_slices] = took[base.timeline.slices.op]  # operators are whole: one slice each
        stall_s[0] = seen.stall_s  # where it waited is not measured, and only the sum counts
        unknown = np.full(len(plan.transfers), np.nan)
        slowness = np.nan if seen.slowness is None else seen.slowness
        return Observation(
            plan=plan,
            duration_s=duration_s,
            stall_s=stall_s,
            arrived_early_s=unknown,
            left_early_s=unknown,
            read_bytes_per_s=seen.machine.read_bytes_per_s / slowness,
            write_bytes_per_s=seen.machine.write_bytes_per_s / slowness,
            shared_bytes_per_s=seen.machine.shared_bytes_per_s / slowness,
        )

    def _following(self, plan: Plan) -> PlannedStep:
        """Return the step by a plan of the monitor, which is one for the longer step."""
        base = self._base
        recompute_s = base.plan.prediction.recompute_s
        advice = replace(
            base.plan,
            transfers=plan.transfers,
            prediction=replace(plan.prediction, recompute_s=recompute_s),
            certificate=None,
        )
        schedule = schedule_of(
            advice,
            base.timeline,
            machine=base.machine,
            names=base.recorded.trace.storages.name,
            num_operators=base.recorded.num_operators,
        )
        return replace(base, plan=advice, schedule=schedule)
