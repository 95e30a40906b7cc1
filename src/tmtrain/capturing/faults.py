"""Operators that cannot be captured, in words: which operator, in which module, at which line, and what to do."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.internals import is_composite
from tmtrain.capturing.jobs.lines import running_line
from tmtrain.capturing.jobs.parallel import ALONE, COLLECTIVES, is_distributed
from tmtrain.errors import CaptureError, TmtrainError
from tmtrain.trace import Phase

_REASONS: dict[type[Exception], tuple[str, str]] = {
    DataDependentOutputException: (
        "needs the values of a tensor",
        "keep the value on the tensor (no .item(), no `if tensor:`, no logging of numbers in the step)",
    ),
    DynamicOutputShapeException: (
        "makes a result whose shape depends on the values of a tensor",
        "use an operator with a fixed shape (torch.where or a mask for nonzero and boolean indexing)",
    ),
    UnsupportedOperatorException: (
        "has no implementation for fake tensors",
        "register one with torch.library.register_fake",
    ),
}
_FAULTS = tuple(_REASONS)


class Place(Protocol):
    """Knows where in the user's code an operator runs; a `Scope` does, in a step."""

    def describe(self) -> str:
        """Return it in words."""
        ...

    def where(self) -> tuple[Phase | None, str]:
        """Return phase and module path."""
        ...


class Building:
    """The place before the first step."""

    def describe(self) -> str:
        """Return it in words."""
        return "the code that builds the model"

    def where(self) -> tuple[Phase | None, str]:
        """Return neither phase nor module."""
        return None, ""


def run_operator(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], *, scope: Place) -> Any:
    """Run one operator; `scope` says where it is if fake tensors cannot run it.

    Raises:
        CaptureError: the operator needs real values; names operator, module, line and remedy.
    """
    try:
        return func(*args, **kwargs)
    except _FAULTS as error:
        reason, remedy = _REASONS[type(error)]
        raise _error(
            func,
            f"{reason}, which a fake step cannot give: {remedy},"
            " or capture a step on real tensors with `with tmtrain.capture(model, optimizer):`",
            scope=scope,
        ) from error
    except TmtrainError:
        raise
    except Exception as error:
        # Theirs (shapes that do not fit): it stays what it is, and says where it was.
        if not hasattr(error, "__notes__"):
            error.add_note(f"in operator {func} in {scope.describe()}")
        raise


class FaultWatch(TorchDispatchMode):
    """Explains what fails, refuses what ranks of a parallel training say to each other, and records nothing.

    Note [Inference mode]: operators that are made of others are taken apart above autograd, before a mode sees them.
    In ``torch.inference_mode()`` there is no autograd, so it is done here: a step has the same operators under it as
    under ``torch.no_grad()``.
    """

    def __init__(self, scope: Place) -> None:
        super().__init__()
        self._scope = scope

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass the operator on."""
        if not isinstance(func, OpOverload):
            return func(*args, **(kwargs or {}))
        if func.namespace in COLLECTIVES:
            raise _error(func, f"is one of parallel training; {ALONE}", scope=self._scope)
        if any(map(is_distributed, types)):
            raise _error(func, f"works on a DTensor; {ALONE}", scope=self._scope)
        if is_composite(func):
            with self:
                return func.decompose(*args, **(kwargs or {}))
        return run_operator(func, args, kwargs or {}, scope=self._scope)


def refuse_distributed(tensors: Iterable[tuple[str, torch.Tensor]]) -> None:
    """Refuse what is spread over ranks.

    Raises:
        CaptureError: a tensor is a DTensor.
    """
    for name, tensor in tensors:
        if is_distributed(type(tensor)):
            raise CaptureError(f"{name!r} is a DTensor; {ALONE}", tensor=name)


def _error(func: OpOverload, what: str, *, scope: Place) -> CaptureError:
    line = running_line()
    return CaptureError(
        f"operator {func} in {scope.describe()}{f', at {line},' if line else ''} {what}",
        operator=f"{func}",
        module=scope.where()[1] or None,
    )
