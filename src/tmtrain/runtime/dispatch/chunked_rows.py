"""Chunked operators: those on tensors that are large for the budget, a part of each tensor at a time.

Some operators make each row or element of the result from the same row or element of the operands alone. Such an operator
can run chunk by chunk, so that not all of its operands have to be in memory at once. No bit may change:

* A softmax over the last dimension, and its derivative, take each row by itself.
* Arithmetic takes vectors of elements, and what is left over at the end of a thread's share one by one. That may round
  differently (a fused multiply-add). So elements are only cut where neither the whole nor a chunk leaves anything over.

Operators over lists of tensors are cut between the tensors only (`tmtrain.runtime.dispatch.chunked_optimizers`), products
not at all.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, TypeGuard

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.internals import schema_of
from tmtrain.runtime.dispatch.chunked_optimizers import SHARE

LARGE = 1 / 2
"""Of the budget: what needs more is cut. What needs less leaves enough room for what comes next."""
VECTOR = 64
"""Elements: a multiple of the two vectors that kernels take at once, whatever the processor and the type."""
GRAIN = 32768
"""Elements for which torch starts another thread (`at::internal::GRAIN_SIZE`)."""

_aten: Any = torch.ops.aten
_SOFTMAX = {
    _aten._log_softmax.default: 1,
    _aten._softmax.default: 1,
    _aten._log_softmax_backward_data.default: 2,
    _aten._softmax_backward_data.default: 2,
}
"""With the position of the dimension, behind the tensors."""
_POINTWISE = (_aten.add, _aten.sub, _aten.mul, _aten.div)
_POINTWISE_IN_PLACE = (_aten.add_, _aten.sub_, _aten.mul_, _aten.div_)
_ARITHMETIC = frozenset(
    (
        *(packet.Tensor for packet in (*_POINTWISE, *_POINTWISE_IN_PLACE)),
        *(packet.Scalar for packet in (_aten.lerp, _aten.lerp_)),
        *(packet.default for packet in (_aten.neg, _aten.sqrt, _aten.sqrt_, _aten.maximum)),
        *(packet.default for packet in (_aten.addcmul, _aten.addcmul_, _aten.addcdiv, _aten.addcdiv_)),
    )
)


class ChunkedRows(TorchDispatchMode):
    """Runs operators on large tensors in chunks; enter it above whoever counts or records operators."""

    def __init__(self, budget_bytes: int) -> None:
        super().__init__()
        self._budget_bytes = budget_bytes

    def knows(self, func: Any) -> bool:
        """Whether it is one of those."""
        return func in _SOFTMAX or func in _ARITHMETIC

    def run(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run an operator in chunks; NotImplemented where it is small, or its chunks would not make the same."""
        tensors = [arg for arg in args if _is_chunked(arg)]
        if not tensors:
            return NotImplemented
        is_in_place = schema_of(func).is_mutable
        needs = sum(tensor.nbytes for tensor in tensors) + (0 if is_in_place else tensors[0].nbytes)
        if needs <= LARGE * self._budget_bytes or not _are_alike(tensors):
            return NotImplemented
        most = -(-needs // max(1, int(SHARE * self._budget_bytes)))
        chunks = _chunks_of(func, args, tensors[0], most=most)
        if len(chunks) == 1:
            return NotImplemented
        if is_in_place:
            for chunk in chunks:
                func(*chunk, **kwargs)
            return args[0]
        return _gathered((func(*chunk, **kwargs) for chunk in chunks), shape=tensors[0].shape)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator, in chunks if it is large and they make the same."""
        out = self.run(func, args, kwargs or {}) if self.knows(func) else NotImplemented
        return func(*args, **(kwargs or {})) if out is NotImplemented else out


def _chunks_of(func: Any, args: tuple[Any, ...], tensor: torch.Tensor, *, most: int) -> list[tuple[Any, ...]]:
    """Return the arguments of each chunk, `most` at most; `tensor` stands for all tensors among them."""
    if func in _SOFTMAX:
        position = _SOFTMAX[func]
        shape, ends = (-1, tensor.shape[-1]), _ends_of_rows(tensor, most, dim=args[position])
        flat_args: tuple[Any, ...] = (*args[:position], -1, *args[position + 1 :])
    else:
        shape, ends = (-1,), _ends_of_elements(tensor.numel(), most)
        flat_args = args
    if len(ends) == 1:
        return [args]
    return [
        tuple(arg.view(shape)[first:end] if _is_chunked(arg) else arg for arg in flat_args)
        for first, end in pairwise((0, *ends))
    ]


def _gathered(chunks: Iterator[torch.Tensor], *, shape: torch.Size) -> torch.Tensor:
    """Return the chunks as one tensor; each is copied as soon as it is there."""
    whole: torch.Tensor | None = None
    at = 0
    for chunk in chunks:
        if whole is None:
            whole = torch.empty(shape, dtype=chunk.dtype, device=chunk.device)
        end = at + chunk.numel()
        whole.view(-1)[at:end].copy_(chunk.view(-1))
        at = end
        del chunk  # before the next one is computed
    assert whole is not None
    return whole


def _is_chunked(value: Any) -> TypeGuard[torch.Tensor]:
    return isinstance(value, torch.Tensor) and value.dim() > 0


def _are_alike(tensors: Sequence[torch.Tensor]) -> bool:
    first = tensors[0]
    return first.is_floating_point() and all(
        tensor.shape == first.shape and tensor.dtype == first.dtype and tensor.is_contiguous()
        for tensor in tensors
    )


def _ends_of_rows(tensor: torch.Tensor, most: int, *, dim: int) -> Sequence[int]:
    rows = tensor.numel() // tensor.shape[-1]
    return _ends(rows, min(most, rows)) if dim in (-1, tensor.dim() - 1) else (rows,)


def _ends_of_elements(elements: int, most: int) -> Sequence[int]:
    """Return ends such that torch gives each thread whole vectors of a chunk, as it does of the whole; else one end."""
    threads = torch.get_num_threads()
    units, rest = divmod(elements, VECTOR * threads)
    smallest = -(-GRAIN // VECTOR)  # a smaller chunk would be given to fewer threads
    if rest or units < 2 * smallest:
        return (elements,)
    return [end * VECTOR * threads for end in _ends(units, min(most, units // smallest))]


def _ends(length: int, chunks: int) -> Sequence[int]:
    return [length * chunk // chunks for chunk in range(1, chunks + 1)]
