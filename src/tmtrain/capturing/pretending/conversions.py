"""Modules converted to another dtype or device: ``.to()``, ``.half()``, ``.cuda()``, ``.to_empty()``.

`torch.nn.Module` gives a real parameter its new content, so optimizers made before keep theirs. A fake one it
exchanges with a new tensor, which fails where anything refers to it weakly, as the fake tensors' own memory does. Here
fake parameters take the new content too.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch._subclasses.fake_tensor import FakeTensor

from tmtrain.capturing.internals import take_content


@contextmanager
def converted_in_place() -> Generator[None]:
    """Let modules of fake tensors be converted, with the same parameters before and after."""
    exchange = torch.utils.swap_tensors

    def take(mine: torch.Tensor, other: torch.Tensor) -> None:
        if not isinstance(mine, FakeTensor) or not isinstance(other, FakeTensor):
            exchange(mine, other)
            return
        take_content(mine, other)
        mine.fake_device = other.fake_device
        mine.constant = None  # a value that torch knew was of the old content

    torch.utils.swap_tensors = take
    try:
        yield
    finally:
        torch.utils.swap_tensors = exchange
