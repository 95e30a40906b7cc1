"""Modules converted to another dtype or device (``.to()``, ``.half()``, ``.to_empty()``), and copied (``deepcopy``).

`torch.nn.Module` gives a real parameter its new content, so optimizers made before keep theirs. A fake one it
exchanges with a new tensor, which fails where anything refers to it weakly, as the fake tensors' own memory does. Here
fake parameters take the new content too.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch.overrides import TorchFunctionMode

from tmtrain.capturing.internals import take_content


class FakeCopies(TorchFunctionMode):
    """Copies fake tensors; torch would copy their memory where it knows their value, and they have none."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func`, or copy in its place."""
        if func is torch.Tensor.__deepcopy__ and isinstance(args[0], FakeTensor) and args[0].is_leaf:
            return _copied(*args)
        return func(*args, **(kwargs or {}))


@contextmanager
def convertible_modules() -> Generator[None]:
    """Let modules of fake tensors be converted, with the same parameters before and after, and copied."""
    exchange = torch.utils.swap_tensors

    def take(mine: torch.Tensor, other: torch.Tensor) -> None:
        if not isinstance(mine, FakeTensor) or not isinstance(other, FakeTensor):
            exchange(mine, other)
            return
        take_content(mine, other)
        mine.fake_device = other.fake_device
        mine.constant = None  # a value that torch knew was of the old content

    with patch.object(torch.utils, "swap_tensors", take), FakeCopies():
        yield


def _copied(tensor: torch.Tensor, memo: dict[int, Any]) -> torch.Tensor:
    if id(tensor) not in memo:
        copy = tensor.detach().clone().requires_grad_(tensor.requires_grad)
        copy.grad = None if tensor.grad is None else _copied(tensor.grad, memo)
        memo[id(tensor)] = copy
    return memo[id(tensor)]
