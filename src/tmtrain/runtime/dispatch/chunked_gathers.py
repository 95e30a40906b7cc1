"""Chunked operators: those that gather a batch out of data that is large for the budget, a row at a time.

``torch.stack`` over rows of a data set, or ``data[indices]``, touches a little of many blocks. Together these may be more
than the budget, one by one they are not. Rows are copied in the order in which they lie in
memory, so that no block comes twice.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from tmtrain.capturing.internals import storage_key
from tmtrain.runtime.dispatch.chunked_rows import LARGE
from tmtrain.runtime.dispatch.operands import ranges_in, storages_in
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES
from tmtrain.runtime.tier.pages import Range

MOST_ROWS = 4096
"""Of a batch: a copy each."""

_aten: Any = torch.ops.aten
_LISTS = frozenset((_aten.stack.default, _aten.cat.default))
_ROWS = frozenset((_aten.index.Tensor, _aten.index_select.default))


class ChunkedGathers:
    """Runs gathers row by row where they touch too many blocks at once."""

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes

    @staticmethod
    def knows(func: Any) -> bool:
        """Whether it is one of those."""
        return func in _LISTS or func in _ROWS

    def run(self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run one in parts, under the modes that there are; NotImplemented where it can run as it is, or not otherwise."""
        if kwargs or not self.is_large(args):
            return NotImplemented
        first, *rest = args
        if func in _LISTS:
            return _joined(first, dim=rest[0] if rest else 0, is_stack=func is _aten.stack.default)
        rows = _rows_of(args) if first.dim() and first.is_contiguous() else None
        return NotImplemented if rows is None else _selected(first, rows)

    def is_large(self, args: tuple[Any, ...]) -> bool:
        """Whether it touches more blocks than should be in memory at once."""
        storages, most = storages_in(args), LARGE * self._budget_bytes
        if sum(storage.nbytes() for storage in storages.values()) <= most:
            return False
        ranges = ranges_in(args)
        touched = (_blocks_of(ranges.get(key, [(0, storage.nbytes())])) for key, storage in storages.items())
        return sum(touched) * BLOCK_BYTES > most


def _blocks_of(ranges: Sequence[Range]) -> int:
    """Return how many blocks there are in these parts of one storage."""
    return len(
        {block for first, end in ranges for block in range(first // BLOCK_BYTES, -(-end // BLOCK_BYTES))}
    )


def _joined(tensors: Sequence[torch.Tensor], *, dim: int, is_stack: bool) -> Any:
    first = tensors[0]
    if len({tensor.dtype for tensor in tensors}) > 1 or not all(map(_is_plain, tensors)):
        return NotImplemented
    rank = first.dim() + is_stack
    dim = dim % max(1, rank)
    sizes = [1] * len(tensors) if is_stack else [tensor.shape[dim] for tensor in tensors]
    shape = [*first.shape]
    if is_stack:
        shape.insert(dim, len(tensors))
    else:
        shape[dim] = sum(sizes)
    out = torch.empty(shape, dtype=first.dtype)
    places = [*_places(sizes)]
    for item in sorted(range(len(tensors)), key=lambda item: _address(tensors[item])):
        at, size = places[item]
        part = out.select(dim, at) if is_stack else out.narrow(dim, at, size)
        part.copy_(tensors[item])
    return out


def _rows_of(args: tuple[Any, ...]) -> list[int] | None:
    """Return the rows that are asked for, by one tensor of not too many numbers; else None."""
    if len(args) == 3 and (args[1] % args[0].dim()) != 0:
        return None  # index_select over another dimension
    indices = args[2] if len(args) == 3 else args[1]
    if isinstance(indices, (list, tuple)):
        indices = indices[0] if len(indices) == 1 else None
    if indices is None or indices.dtype not in (torch.int64, torch.int32):
        return None
    if indices.dim() != 1 or indices.numel() > MOST_ROWS:
        return None
    return indices.clone().tolist()  # a clone, as its memory is read past torch's operators


def _selected(data: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    out = torch.empty((len(rows), *data.shape[1:]), dtype=data.dtype)
    for item in sorted(range(len(rows)), key=lambda item: rows[item] % data.shape[0]):
        out.select(0, item).copy_(data.select(0, rows[item]))
    return out


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() and tensor.dim() > 0


def _places(sizes: Sequence[int]) -> Iterator[tuple[int, int]]:
    at = 0
    for size in sizes:
        yield at, size
        at += size


def _address(tensor: torch.Tensor) -> tuple[int, int]:
    return storage_key(tensor.untyped_storage()), int(tensor.storage_offset())
