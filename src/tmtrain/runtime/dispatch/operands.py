"""What an operator touches of storages: which ones, and the range of each."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch

from tmtrain.capturing.internals import storage_key
from tmtrain.capturing.signature import Signature
from tmtrain.runtime.tier.pages import Range
from tmtrain.trace.rows import span_elements


def storages_in(values: Iterable[Any]) -> dict[int, torch.UntypedStorage]:
    """Return the storages of the tensors among arguments or results, and in lists among them: each once, in order."""
    storages: dict[int, torch.UntypedStorage] = {}
    for tensor in _tensors_in(values):
        storage = tensor.untyped_storage()
        storages[storage_key(storage)] = storage
    return storages


def ranges_in(values: Iterable[Any]) -> dict[int, Range]:
    """Return what the tensors touch of those storages that they do not touch from end to end.

    >>> whole = torch.zeros(4, 6)
    >>> list(ranges_in([whole[1:3, 2]]).values())  # 4 bytes an element
    [(32, 60)]
    >>> ranges_in([whole[1:3], whole])
    {}
    """
    ranges: dict[int, Range] = {}
    sizes: dict[int, int] = {}
    for tensor in _tensors_in(values):
        storage = tensor.untyped_storage()
        size = storage.nbytes()
        first, end = (0, size) if tensor.nbytes == size else _range_of(tensor)
        key = storage_key(storage)
        before = ranges.get(key, (first, end))
        ranges[key], sizes[key] = (min(first, before[0]), max(end, before[1])), size
    return {key: touched for key, touched in ranges.items() if touched != (0, sizes[key])}


def results_in(out: Any) -> list[torch.UntypedStorage]:
    """Return the storages of the tensors that an operator returned, in order; one that comes twice stands there twice."""
    return [
        tensor.untyped_storage() for tensor in _tensors_in(out if isinstance(out, (list, tuple)) else (out,))
    ]


def written_arguments(signature: Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    """Yield the arguments that the operator writes to."""
    if signature.writes_argument:
        for argument in signature.arguments:
            if argument.writes:
                yield (
                    args[argument.position] if argument.position < len(args) else kwargs.get(argument.name)
                )


def _tensors_in(values: Iterable[Any]) -> Iterator[torch.Tensor]:
    for value in values:
        for tensor in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(tensor, torch.Tensor):
                yield tensor


def _range_of(tensor: torch.Tensor) -> Range:
    first = int(tensor.storage_offset())
    end = first + span_elements(tensor.shape, tensor.stride())
    return first * tensor.itemsize, end * tensor.itemsize
