"""A training job: what is needed to run one step after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from tmtrain.errors import CaptureError

Optimizers = torch.optim.Optimizer | Sequence[torch.optim.Optimizer] | None
"""As users give them: one, several, or None for a step that trains nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingJob:
    """Model, optimizer and the step that trains the one with the other."""

    model: torch.nn.Module
    optimizer: Optimizers
    step: Callable[[], object]
    samples: int
    """In the batch of one step."""

    @property
    def only_optimizer(self) -> torch.optim.Optimizer:
        """The one that a real run steps.

        Raises:
            CaptureError: there is none, or there are several.
        """
        optimizers = optimizers_of(self.optimizer)
        if len(optimizers) != 1:
            raise CaptureError(
                f"the step has {len(optimizers) or 'no'} optimizers, a real run needs one: put all parameters into"
                " groups of one optimizer"
            )
        return optimizers[0]


def optimizers_of(optimizer: Any) -> tuple[torch.optim.Optimizer, ...]:
    """Return the optimizers in what the user gave as such.

    Raises:
        CaptureError: it is, or holds, something else.

    >>> optimizers_of(None)
    ()
    """
    if optimizer is None:
        return ()
    several: Sequence[Any] = optimizer if isinstance(optimizer, (list, tuple)) else (optimizer,)
    for one in several:
        if not isinstance(one, torch.optim.Optimizer):
            raise CaptureError(
                f"the optimizer is a {type(one).__name__}, a torch.optim.Optimizer is needed, a list of them,"
                " or None for a step without one"
            )
    return tuple(map(_innermost, several))


def _innermost(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """Return what a wrapper (Accelerate's) steps: it calls itself an optimizer, but has no hooks of its own."""
    inner = getattr(optimizer, "optimizer", None)
    return _innermost(inner) if isinstance(inner, torch.optim.Optimizer) else optimizer
