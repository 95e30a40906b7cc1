"""Operators that a fake tensor cannot run, in words: which operator, in which module, and what to do."""

from typing import Any

from torch._ops import OpOverload
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.scope import Scope
from tmtrain.errors import CaptureError

_REASONS: dict[type[Exception], tuple[str, str]] = {
    DataDependentOutputException: (
        "needs the values of a tensor",
        "keep the value on the tensor (no .item(), no `if tensor:`)",
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


def run_operator(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], *, scope: Scope) -> Any:
    """Run one operator; `scope` says where it is if fake tensors cannot run it.

    Raises:
        CaptureError: the operator needs real values; names operator, module and remedy.
    """
    try:
        return func(*args, **kwargs)
    except _FAULTS as error:
        reason, remedy = _REASONS[type(error)]
        raise CaptureError(
            f"operator {func} in {scope.describe()} {reason}, which a fake step cannot give: {remedy},"
            " or capture a step on real tensors with `with tmtrain.capture(model, optimizer):`",
            operator=f"{func}",
            module=scope.where()[1] or None,
        ) from error


class FaultWatch(TorchDispatchMode):
    """Explains what fails and records nothing: for the step before the captured one."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self._scope = scope

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass the operator on."""
        return run_operator(func, args, kwargs or {}, scope=self._scope)
