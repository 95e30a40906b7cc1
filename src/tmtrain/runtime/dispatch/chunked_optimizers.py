"""Chunked operators: foreach and fused optimizers, a part of their lists at a time.

An operator over lists of tensors needs all of them at once, a chunk of the lists only that chunk. Each tensor's result is
the same, bit for bit, since none depends on another's.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.internals import schema_of, short_name_of

SHARE = 1 / 16
"""Of the budget, that a chunk should need: as `tmtrain.lowering.SLICE_SHARE`."""
_OVER_LISTS = ("_foreach_", "_fused_adam", "_fused_adagrad", "_fused_sgd", "_amp_foreach_")


class ChunkedOptimizers(TorchDispatchMode):
    """Runs operators over lists of tensors in chunks; enter it above whoever counts or records operators."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self._limit_bytes = limit_bytes

    def knows(self, func: Any) -> bool:
        """Whether it is one over lists."""
        return isinstance(func, OpOverload) and _is_chunkable(func)

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator over lists in chunks; NotImplemented where one chunk is all."""
        values = [*args, *kwargs.values()]
        lists = [value for value in values if isinstance(value, (list, tuple)) and value]
        length = max(map(len, lists), default=0)
        lists = [value for value in lists if len(value) == length and isinstance(value[0], torch.Tensor)]
        results: list[Any] = []
        for first, end in _cuts(lists, limit_bytes=self._limit_bytes):
            if end - first == length:
                return NotImplemented

            def chunk(value: Any, first: int = first, end: int = end) -> Any:
                is_long = isinstance(value, (list, tuple)) and len(value) == length
                return value[first:end] if is_long else value

            out = func(*map(chunk, args), **{name: chunk(value) for name, value in kwargs.items()})
            results += out or ()
        return results or None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator, in chunks if it is one over lists."""
        out = self.run(func, args, kwargs or {}) if self.knows(func) else NotImplemented
        return func(*args, **(kwargs or {})) if out is NotImplemented else out


def _cuts(lists: Sequence[Sequence[torch.Tensor]], *, limit_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield the ends of the longest chunks that need no more than the limit, or hold one item of each list."""
    first, needed = 0, 0
    sizes = [sum(tensor.nbytes for tensor in items) for items in zip(*lists, strict=True)]
    for item, size in enumerate(sizes):
        if item > first and needed + size > limit_bytes:
            yield first, item
            first, needed = item, 0
        needed += size
    yield first, len(sizes)


@functools.cache
def _is_chunkable(func: OpOverload) -> bool:
    """Whether it works item by item and returns one list, or nothing; not where a tensor holds a number per item."""
    schema = schema_of(func)
    per_item = any(
        argument.name == "scalars" and str(argument.type) == "Tensor" for argument in schema.arguments
    )
    returns = [str(result.type) for result in schema.returns]
    return short_name_of(func).startswith(_OVER_LISTS) and not per_item and returns in ([], ["List[Tensor]"])
