"""The mode under which a step on fake tensors runs an accelerator's operators.

Note [Before they decompose]: attention, dropout, RMS norm and cross-entropy are composed of other operators, and which
ones a CPU takes is decided above the dispatcher's modes. So they are taken as function calls.

Note [Python functions inside]: torch leaves a function mode while it handles a call. A function of torch written in
Python (``F.multi_head_attention_forward``, ``Tensor.backward`` with its recomputations) calls others, which have to be
taken too. So the mode is entered again for its body, and its own question whether somebody wants to take it, which
the mode has just answered, is not asked again.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from tmtrain.capturing.internals import CROSS_ENTROPY_LOSS
from tmtrain.capturing.operators.attention import attend
from tmtrain.capturing.operators.cross_entropy import cross_entropy
from tmtrain.capturing.operators.dropout import drop
from tmtrain.capturing.operators.norms import rms_norm

_TAKEN: dict[Callable[..., Any], Callable[..., Any]] = {
    torch.nn.functional.scaled_dot_product_attention: attend,
    torch.dropout: drop,
    torch.rms_norm: rms_norm,
    CROSS_ENTROPY_LOSS: cross_entropy,
}
"""Functions of torch and what is called instead; that returns NotImplemented where an accelerator does not differ."""


class AcceleratorOperators(TorchFunctionMode):
    """Sends calls to the operators that PyTorch runs on an accelerator; for fake tensors only."""

    def __init__(self) -> None:
        super().__init__()
        self._inside: set[FunctionType] = set()
        """Python functions whose body runs."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Take the call, or pass it on."""
        kwargs = kwargs or {}
        taken = _TAKEN.get(func)
        if taken is not None:
            out = taken(*args, **kwargs)
            if out is not NotImplemented:
                return out
        # Some ask in another way, or under another's name: then they come again, and are let pass.
        if not isinstance(func, FunctionType) or func in self._inside:
            return func(*args, **kwargs)
        self._inside.add(func)
        try:
            with self:
                return _without_question(func)(*args, **((func.__kwdefaults__ or {}) | kwargs))
        finally:
            self._inside.discard(func)


def _never(*_tensors: Any) -> bool:
    return False


_QUESTIONS = dict.fromkeys(
    ("has_torch_function", "has_torch_function_unary", "has_torch_function_variadic"), _never
)


def _without_question(function: FunctionType) -> FunctionType:
    """Return the function for Note [Python functions inside]; its keyword-only defaults are left behind."""
    return FunctionType(
        function.__code__,
        function.__globals__ | _QUESTIONS,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
