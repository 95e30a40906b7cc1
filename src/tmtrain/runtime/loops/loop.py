"""A training whose steps begin and end in calls of their own, as the callbacks of other people's loops have it."""

from contextlib import ExitStack

import torch

from tmtrain.errors import InputError
from tmtrain.runtime.training.training import Training
from tmtrain.runtime.verbs import Folders, train
from tmtrain.units import parse_budget


class Loop:
    """Begins and ends a training and its steps; what is ended twice is ended once."""

    def __init__(self, *, budget_bytes: int | str, flash: Folders) -> None:
        self._budget_bytes, self._flash = parse_budget(budget_bytes), flash
        self._training: Training[[], None] | None = None
        self._whole, self._step = ExitStack(), ExitStack()
        self._is_running = False

    @property
    def training(self) -> Training[[], None]:
        """The training, to save, load and look at.

        Raises:
            InputError: it has not begun.
        """
        if self._training is None:
            raise InputError("the training has not begun: this callback begins it when the loop does")
        return self._training

    @property
    def is_running(self) -> bool:
        """Whether it has begun and is not over."""
        return self._is_running

    def begin(self, model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put both under the budget; errors as `tmtrain.train` and entering it."""
        self._training = train(model, optimizer, budget_bytes=self._budget_bytes, flash=self._flash)
        self._whole.enter_context(self._training)
        self._is_running = True

    def begin_step(self) -> None:
        """Take what runs from now on as one step."""
        self._step.enter_context(self.training.one_step())

    def end_step(self) -> None:
        """End it; errors as `Training.step`."""
        self._step.close()

    def end(self, error: BaseException | None = None) -> None:
        """Bring everything back into memory, also after an `error` of the loop, which is the caller's to raise."""
        kind = type(error) if error else None
        trace = error.__traceback__ if error else None
        self._is_running = False
        with self._whole:  # is left last
            self._step.__exit__(kind, error, trace)
