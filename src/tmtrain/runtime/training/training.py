"""Training in a memory budget: the object that `tmtrain.train` returns."""

from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, ParamSpec, Self, TypeVar

from tmtrain.errors import FlashError, InfeasibleError, InputError
from tmtrain.runtime.checkpoints.checkpoint import Checkpoint, write_checkpoint
from tmtrain.runtime.checkpoints.resume import resume, training_state
from tmtrain.runtime.dispatch.scopes import LOAD, SAVE, scope
from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.result import RunResult
from tmtrain.runtime.training.session import TrainingSession
from tmtrain.runtime.training.settings import TrainingSettings, check_budget, check_settings
from tmtrain.units import parse_budget

P = ParamSpec("P")
R = TypeVar("R")


class Training(Generic[P, R]):
    """Runs the user's step inside the budget; made by `tmtrain.train`."""

    def __init__(self, settings: TrainingSettings[P, R]) -> None:
        check_settings(settings)
        self._settings = settings
        self._session: TrainingSession | None = None
        """From entering on. Afterwards it still has the results."""

    def __enter__(self) -> Self:
        """Measure the drives, take room on them, and put what there is already under the budget.

        Raises:
            InputError: a folder cannot serve as flash, or nobody knows how to fill what is on the meta device.
            InfeasibleError: the budget is below one tensor.
            FlashError: a drive fails.
        """
        if self._session is not None:
            raise InputError("this training has begun already: call tmtrain.train(...) again for another one")
        self._session = TrainingSession(self._settings)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Bring everything back into memory, budget or not, and give the room on the drive back.

        Raises:
            InfeasibleError: there is not enough memory for that. What is on flash is lost, and closed for good.
            FlashError: the drive failed.
        """
        try:
            self._entered.close()
        except (FlashError, InfeasibleError) as lost:
            if error is None:
                raise
            error.add_note(f"and what was on flash could not be brought back: {lost}")

    def step(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the user's step with these arguments, and return what it returns.

        Raises:
            InfeasibleError: an operator needs more than the budget; it is named, with its need.
            FlashError: the drive failed, or returned what was not written. Nothing wrong has been computed with; go on
                from the last checkpoint.
        """
        if self._settings.step is None:
            raise InputError(
                "no step was given to tmtrain.train: write `with training.one_step():` around what it does"
            )
        with self.one_step():
            return self._settings.step(*args, **kwargs)

    def one_step(self) -> AbstractContextManager[None]:
        """Take what runs inside as one whole step: for loops that are no function. Errors as `step`."""
        return self._entered.one_step()

    def save(self, path: str | Path, *, extra: Any = None) -> None:
        """Write a checkpoint of model, optimizer and torch's generator: one safetensors file, written within the budget.

        Args:
            path: Of the file. It appears whole or not at all.
            extra: What else belongs to it, such as the state of a scheduler or the number of the step.

        Raises:
            InputError: `extra`, or the state of model or optimizer, holds something else than tensors, arrays, numbers,
                strings, bytes and None, in dicts, lists, tuples and sets; or the disk refuses.
            FlashError: the drive failed in a step, which is not finished.
        """
        with scope(SAVE):
            self._entered.check_finished()
            self.write(path, training_state(self._settings.model, self._settings.optimizer, extra))

    def write(self, path: str | Path, tree: Any) -> None:
        """Write anything that `save` takes as extra, and nothing else, within the budget; errors as `save`.

        For loops that have checkpoints of their own.
        """
        session = self._entered
        session.check_finished()
        write_checkpoint(Path(path), tree, fetch=session.to_read)

    def load(self, path: str | Path) -> Any:
        """Go on from a checkpoint, bit for bit as if nothing had come between; return its `extra`.

        Raises:
            InputError: it was saved from another model or optimizer; nothing is changed then, unless only code of their own
                noticed.
            FileFormatError: no checkpoint, or a damaged one; what came before the damage is restored already.
        """
        session = self._entered
        with scope(LOAD), Checkpoint(Path(path)) as checkpoint:
            return resume(checkpoint, self._settings.model, self._settings.optimizer, hold=session.to_fill)

    @property
    def budget_bytes(self) -> int:
        """Fast memory for what can move. A lower one holds from the next operator on; steps are planned again for it."""
        return self._settings.budget_bytes

    @budget_bytes.setter
    def budget_bytes(self, budget: int | str) -> None:
        budget_bytes = parse_budget(budget)
        check_budget(budget_bytes)
        self._settings = replace(self._settings, budget_bytes=budget_bytes)
        if self._session is not None:
            self._session.change_budget(budget_bytes)

    @property
    def result(self) -> RunResult:
        """What was measured so far."""
        budget_bytes = self._settings.budget_bytes
        if self._session is None:
            return RunResult.before_any_step(budget_bytes=budget_bytes)
        return self._session.result(budget_bytes=budget_bytes)

    @property
    def planned_step(self) -> PlannedStep | None:
        """The recorded step with the plan that was followed last, and what it was made for; None before there is one."""
        return self._session.planned_step if self._session is not None else None

    @property
    def _entered(self) -> TrainingSession:
        if self._session is None:
            raise InputError("the training has not begun: write `with tmtrain.train(...) as training:`")
        return self._session
