"""Values that a model needs while it is built: a fake tensor has none, but what torch counts out is known.

Note [Small values]: drop rates of `torch.linspace`, positions of `torch.arange`, a list in `torch.tensor`: code that
builds models asks them for numbers. Torch keeps the value of a fake tensor that it knows, of one number at most; while
a model is built it keeps those of `MOST_NUMBERS`. In the step it is one number again: the branches that a step takes are
those that it takes without known values.

Note [Initialisers]: `torch.nn.init` leaves tensors without memory as they are, and knows them by their device, meta. A
fake tensor has no memory either, so to that module it is meta. Some initialisers need values: they draw again until all
are in range.
"""

import inspect
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast
from unittest.mock import patch

import torch
from torch._subclasses import fake_tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode

from tmtrain.capturing.internals import without_modes

MOST_NUMBERS = 4096
_COUNTED = frozenset((torch.linspace, torch.logspace, torch.arange))
_READ = frozenset((torch.Tensor.tolist, torch.Tensor.numpy))
_IS_META: Any = cast(Any, torch.Tensor.is_meta).__get__


class SmallValues(TorchFunctionMode):
    """Keeps the values of what is counted out, and lets initialisers pass."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, or answer in its place."""
        kwargs = kwargs or {}
        if func in _COUNTED:
            return _counted(func, args, kwargs)
        if func == _IS_META and isinstance(args[0], FakeTensor) and _asked_by("torch.nn.init"):
            return True
        if func in _READ and isinstance(args[0], FakeTensor) and args[0].constant is not None:
            with without_modes():
                return func(args[0].constant.clone(), *args[1:], **kwargs)
        return func(*args, **kwargs)


@contextmanager
def small_values() -> Generator[None]:
    """Keep small values while a model is built; see Notes [Small values] and [Initialisers]."""
    with patch.object(fake_tensor, "CONSTANT_NUMEL_LIMIT", MOST_NUMBERS), SmallValues():
        yield


def _counted(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    result: torch.Tensor = func(*args, **kwargs)
    if (
        not isinstance(result, FakeTensor)
        or result.device.type == "meta"
        or result.requires_grad
        or result.numel() > MOST_NUMBERS
        or any(isinstance(value, torch.Tensor) for value in (*args, *kwargs.values()))
    ):
        return result
    with without_modes():
        numbers = func(*args, **kwargs).tolist()
    return torch.tensor(numbers, dtype=result.dtype)


def _asked_by(module: str) -> bool:
    """Return whether the call that a function mode is asked about stands in that module."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_globals.get("__package__") == __package__:  # modes below this one
        frame = frame.f_back
    return frame is not None and frame.f_globals.get("__name__") == module
