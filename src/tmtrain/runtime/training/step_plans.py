"""The plans of a session's steps: when a step is recorded, what is planned for it, and when that is planned again."""

import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import torch

from tmtrain.capturing.session import CaptureSession
from tmtrain.errors import CaptureError, InfeasibleError, InputError, SolverError
from tmtrain.machine import Machine
from tmtrain.runtime.dispatch.observer import StepObserver
from tmtrain.runtime.dispatch.residency_mode import ResidencyMode
from tmtrain.runtime.dispatch.scopes import PLAN, RECORD, scope
from tmtrain.runtime.following.executor import PlanExecutor
from tmtrain.runtime.following.planned_step import PlannedStep, make_planned_step, retimed
from tmtrain.runtime.following.recorded_step import RecordedStep, recorded_step_of
from tmtrain.runtime.following.step_log import StepLog
from tmtrain.runtime.following.watched_step import RealStep
from tmtrain.runtime.host.host import slowed
from tmtrain.runtime.result import StepMeasure
from tmtrain.runtime.tier.tier import Tier
from tmtrain.runtime.training.notes import RunNotes
from tmtrain.runtime.training.step_monitors import UNANSWERED, StepMonitors

MOST_PLANNED_STEPS = 8
"""Steps that differ in their operators, each with a plan of its own; further ones run on demand."""
MOST_TRIES = 4
"""Steps in a row that may turn out not to be steady before no more are recorded."""
DRIFT = 0.1
"""A step is planned again where it computes for so much longer or shorter than was planned for."""
DRIVE_DRIFT = 0.25
"""Likewise where the drive takes so much longer or shorter at full load; drives vary more than computation."""
MOST_PLANNING = 0.2
"""Of the time of all steps so far: where planning again has taken more, it has to wait."""


class StepPlans:
    """Lets steps run: recorded, by a plan, or on demand."""

    def __init__(
        self,
        model: torch.nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        machine: Machine,
        objective: str,
        monitor: bool,
        tier: Tier,
        residency: ResidencyMode,
    ) -> None:
        self.executor = PlanExecutor(tier, residency.recomputer)
        self.monitors = StepMonitors(self.executor) if monitor else None
        self.notes = RunNotes()
        self.planning_s = 0.0
        """All plans together, but those of the monitor, which steps do not wait for."""
        self._model, self._optimizer = model, optimizer
        self._machine, self._objective = machine, objective
        self._tier, self._residency = tier, residency
        self._planning_again_s = 0.0
        self._tries = 0
        self._in_vain = 0
        """Steps in a row that were recorded and turned out to be known."""
        self._diverged = deque[int](maxlen=2)
        """The numbers of the last two steps that did."""
        self._told_of_divergence = False
        self._settled: set[RecordedStep] = set()
        """Those that take the time that was planned for; the monitor has them from then on."""

    def records(self, number: int) -> bool:
        """Whether the step of this number, from 0, is to be recorded: none is known yet, or it may be one that diverged.

        Not the first one: it makes the optimizer's state, and shows whether there are sparse tensors, which cannot be.
        A shape that stays comes right after. Where shapes take turns, it is the step that comes as much later
        as the last two that diverged were apart.
        """
        sparse = self._residency.results.book.sparse
        if sparse is not None:
            self.notes.tell(
                f"steps run on demand, no plan could be made: operator {sparse} works with a sparse tensor, and only "
                "dense ones can be planned (e.g. torch.nn.Embedding with sparse=False)"
            )
        if sparse is not None or not number:
            return False
        returns = {last + 1 for last in list(self._diverged)[-1:]}
        if len(self._diverged) > 1:
            before, last = self._diverged
            returns.add(2 * last - before)
        return self._may_record and (number in returns or not self.executor.planned_steps)

    @contextmanager
    def recording(self) -> Generator[None]:
        """Record the step that runs inside, and plan it."""
        name = type(self._model).__name__
        session = CaptureSession(self._model, self._optimizer, name=name, samples=1, options={})
        log = StepLog(session.ledger.number_of)
        self._residency.begin_step(log)
        is_over = False
        try:
            with scope(RECORD), session, self._residency.chunks.above():
                yield
                is_over = True
                log.close()
        except CaptureError as error:
            if not is_over:
                raise  # by the user's step, which may capture something itself
            self._tries += 1
            if not self._may_record:
                self.notes.tell(f"steps run on demand, no plan could be made: {error}")
        else:
            with scope(PLAN):
                self._learn(session, log)

    @contextmanager
    def executing(self, number: int) -> Generator[None]:
        """Run the step inside by the plan that was followed last, or one that begins alike; without plans, on demand."""
        executor = self.executor
        if not executor.planned_steps:
            self._residency.begin_step(StepObserver())
            yield
            return
        self._residency.begin_step(executor)
        executor.begin_step(first_operator=self._residency.operators)
        yield
        executor.conclude()
        if executor.how == "diverged":
            self._diverged.append(number)
            self._tell_of_divergence()

    def followed(
        self, planned_step: PlannedStep, *, slowness: float | None, steps: Sequence[StepMeasure]
    ) -> None:
        """Take in a step that followed its plan to the end: settle its times first, then let the monitor see it.

        Args:
            planned_step: The step.
            slowness: How many times as long as its machine says the drive took; None if that was too rare to tell.
            steps: All so far, this one the last.
        """
        if planned_step.recorded in self._settled:
            self._monitor(planned_step, slowness=slowness, stall_s=steps[-1].stall_s)
        elif not self._retimed(planned_step, drive=slowness or 1.0, steps=steps):
            self._settled.add(planned_step.recorded)
            if self.monitors is not None:
                self.monitors.watch(planned_step)

    def _retimed(self, planned_step: PlannedStep, *, drive: float, steps: Sequence[StepMeasure]) -> bool:
        """Plan again, recomputations included, where the step takes another time than planned for; return whether so."""
        took, planned = sum(self.executor.seconds.values()), planned_step.timeline.compute_s
        drive_drifts = abs(drive - 1) > DRIVE_DRIFT
        if abs(took - planned) <= DRIFT * planned and not drive_drifts:
            return False
        if self._planning_again_s > MOST_PLANNING * sum(step.step_time_s for step in steps):
            return False
        began = time.perf_counter()
        machine = slowed(planned_step.machine, drive) if drive_drifts else planned_step.machine
        with scope(PLAN):
            replacement = retimed(planned_step, seconds=self.executor.seconds, machine=machine)
        self.executor.replace(planned_step, replacement)
        took_s = time.perf_counter() - began
        self.planning_s += took_s
        self._planning_again_s += took_s
        return True

    def _monitor(self, planned_step: PlannedStep, *, slowness: float | None, stall_s: float) -> None:
        if self.monitors is None:
            return
        seen = RealStep(
            seconds=self.executor.seconds, stall_s=stall_s, machine=planned_step.machine, slowness=slowness
        )
        try:
            self.monitors.see(planned_step, seen)
        except UNANSWERED as error:
            self.notes.tell(
                f"the timing monitor found no plan for what has drifted, the one that there is stays: {error}"
            )

    def _tell_of_divergence(self) -> None:
        """Say once why steps run on demand, where that is not going to change by itself."""
        known = len(self.executor.planned_steps)
        if self._told_of_divergence or (self._may_record and self._in_vain < MOST_TRIES):
            return
        self._told_of_divergence = True
        why = f" ({self.executor.divergence})" if self.executor.divergence else ""
        self.notes.tell(
            f"this step is none of the {known} that are known{why}: it ran on demand; steps of fewer different shapes "
            "would all be planned"
        )

    def forget(self) -> None:
        """Plan everything again: the budget has changed."""
        self.executor.forget_planned_steps()
        self._settled.clear()
        if self.monitors is not None:
            self.monitors.forget()
        self._tries = 0

    @property
    def _may_record(self) -> bool:
        return self._tries < MOST_TRIES and len(self.executor.planned_steps) < MOST_PLANNED_STEPS

    def _learn(self, session: CaptureSession, log: StepLog) -> None:
        recorded, living = recorded_step_of(session, log)
        known = self.executor.known(recorded)
        if known is not None:  # the step that had diverged was another one
            self.executor.learn(known, living=living)
            self._in_vain += 1
            return
        self._in_vain = 0
        began = time.perf_counter()
        try:
            planned_step = make_planned_step(
                recorded, machine=self._machine, budget_bytes=self._tier.free_bytes, objective=self._objective
            )
        except (
            InfeasibleError,
            InputError,
            SolverError,
        ) as error:  # such as a step that touches small storages only
            self._tries += 1
            self.notes.tell(f"steps run on demand, no plan could be made: {error}")
        else:
            self._tries = 0
            self.executor.learn(planned_step, living=living)
        self.planning_s += time.perf_counter() - began
