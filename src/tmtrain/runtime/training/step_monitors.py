"""The timing monitor over the planned steps of a session. It thinks in a thread of its own, while the next step runs."""

from concurrent.futures import Future, ThreadPoolExecutor

from tmtrain.errors import InfeasibleError, SolverError
from tmtrain.runtime.following.executor import PlanExecutor
from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.following.recorded_step import RecordedStep
from tmtrain.runtime.following.watched_step import RealStep, WatchedStep

UNANSWERED = (InfeasibleError, SolverError)
"""What thinking may end in: the plan that there is stays."""


class StepMonitors:
    """Watches settled steps; what it answers is adopted between steps."""

    def __init__(self, executor: PlanExecutor) -> None:
        self.plans_adopted = 0
        """Changes of plan, returns included."""
        self._executor = executor
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tmtrain-monitor")
        self._watched: dict[RecordedStep, WatchedStep] = {}
        self._answer: tuple[PlannedStep, Future[PlannedStep]] | None = None
        """To the step that was seen last, and followed this; one at a time."""

    def watch(self, planned_step: PlannedStep) -> None:
        """Begin to watch a step whose operators take the time that was planned for."""
        self._watched[planned_step.recorded] = WatchedStep(planned_step)

    def see(self, planned_step: PlannedStep, seen: RealStep) -> None:
        """Adopt what an earlier step was answered with, or else begin to think about this one, if that is over.

        Raises:
            InfeasibleError: as `WatchedStep.answer`; that step is watched no more.
            SolverError: likewise.
        """
        if self._answer is not None:
            before, answer = self._answer
            if not answer.done():
                return
            self._answer = None
            if self._adopt(before, answer):
                return  # this step still followed what was before
        watched = self._watched.get(planned_step.recorded)
        if watched is not None:
            self._answer = planned_step, self._thread.submit(watched.answer, seen)

    def forget(self) -> None:
        """Watch nothing any more: everything is planned again."""
        self._watched.clear()

    def close(self) -> None:
        """Wait for the thread, whose answer nobody needs any more."""
        self._thread.shutdown(cancel_futures=True)

    def _adopt(self, before: PlannedStep, answer: Future[PlannedStep]) -> bool:
        """Follow the answer from the next step on; return whether it is another one."""
        watched = self._watched.pop(before.recorded, None)
        if watched is None or before not in self._executor.planned_steps:
            return False  # forgotten meanwhile
        step = answer.result()
        self._watched[before.recorded] = watched
        if step is before:
            return False
        self._executor.replace(before, step)
        self.plans_adopted += step.plan is not before.plan
        return True
