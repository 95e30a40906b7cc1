"""What an operator touches of storages: which ones, and the range of each."""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from tmtrain.capturing.internals import dense_parts, storage_key
from tmtrain.capturing.signature import Signature
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES
from tmtrain.runtime.tier.pages import SMALLEST_BYTES, Range, Span
from tmtrain.trace.rows import span_elements

STRIDED = torch.strided


def storages_in(values: Iterable[Any]) -> dict[int, torch.UntypedStorage]:
    """Return the storages of the tensors among arguments or results, and in lists among them: each once, in order."""
    storages: dict[int, torch.UntypedStorage] = {}
    for value in values:  # in line: this runs for every operator
        if isinstance(value, Tensor):
            if value.layout is STRIDED:
                storage = value.untyped_storage()
                storages[storage_key(storage)] = storage
            else:
                storages |= storages_in(dense_parts(value))
        elif isinstance(value, (list, tuple)):
            storages |= storages_in(value)
    return storages


def ranges_in(values: Collection[Any]) -> dict[int, list[Range]]:
    """Return what the tensors touch of those storages that they do not touch from end to end, in order and apart.

    >>> whole = torch.zeros(4, 6)
    >>> list(ranges_in([whole[1:3, 2]]).values())  # 4 bytes an element
    [[(32, 60)]]
    >>> list(ranges_in([whole[0], [whole[3], whole[2]]]).values())
    [[(0, 24), (48, 96)]]
    >>> ranges_in([whole[1:3], whole])
    {}
    """
    if all(
        isinstance(value, Tensor)
        and value.layout is STRIDED
        and value.nbytes == value.untyped_storage().nbytes()
        for value in values
    ):
        return {}  # most operators
    ranges: dict[int, list[Range]] = {}
    sizes: dict[int, int] = {}
    for tensor in _tensors_in(values):
        storage = tensor.untyped_storage()
        key, size = storage_key(storage), storage.nbytes()
        touched = [(0, size)] if tensor.nbytes == size else _ranges_of(tensor)
        ranges[key], sizes[key] = [*ranges[key], *touched] if key in ranges else touched, size
    united = {key: touched if len(touched) == 1 else _united(touched) for key, touched in ranges.items()}
    return {key: touched for key, touched in united.items() if touched != [(0, sizes[key])]}


def has_sparse(values: Iterable[Any]) -> bool:
    """Return whether there is a sparse tensor among arguments, or in lists among them."""
    return any(
        isinstance(tensor, torch.Tensor) and tensor.layout is not torch.strided
        for value in values
        for tensor in (value if isinstance(value, (list, tuple)) else (value,))
    )


def results_in(out: Any) -> list[torch.UntypedStorage]:
    """Return the storages of the tensors that an operator returned, in order; one that comes twice stands there twice."""
    return [
        tensor.untyped_storage() for tensor in _tensors_in(out if isinstance(out, (list, tuple)) else (out,))
    ]


def is_movable(storage: torch.UntypedStorage) -> bool:
    """Return whether it is large enough and torch's alone: what is shared may be touched past torch's operators."""
    return storage.nbytes() >= SMALLEST_BYTES and storage.device.type == "cpu" and storage.resizable()


def memory_of(storage: torch.UntypedStorage) -> Span:
    """Return where a storage is."""
    return Span(storage.data_ptr(), storage.nbytes())


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
                if tensor.layout is torch.strided:
                    yield tensor
                else:
                    yield from dense_parts(tensor)


def _ranges_of(tensor: torch.Tensor) -> list[Range]:
    """Return what lies between its first byte and its last, without holes that hold a block."""
    shape, stride, itemsize = tensor.shape, tensor.stride(), tensor.itemsize
    first, length = int(tensor.storage_offset()) * itemsize, span_elements(shape, stride) * itemsize
    if length > BLOCK_BYTES:
        outermost = max(range(len(shape)), key=lambda dim: (stride[dim], shape[dim]))
        step, inner = stride[outermost] * itemsize, (1, *shape[:outermost], *shape[outermost + 1 :])
        inner_stride = (1, *stride[:outermost], *stride[outermost + 1 :])
        inner_length = span_elements(inner, inner_stride) * itemsize
        if step - inner_length >= BLOCK_BYTES:
            return [(at, at + inner_length) for at in range(first, first + length, step)]
    return [(first, first + length)]


def _united(ranges: list[Range]) -> list[Range]:
    """Return the same bytes in order and apart."""
    united: list[Range] = []
    for first, end in sorted(ranges):
        if united and first <= united[-1][1]:
            united[-1] = (united[-1][0], max(end, united[-1][1]))
        else:
            united.append((first, end))
    return united
