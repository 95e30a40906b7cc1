"""Traces of a single operator, from shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from tmtrain.trace import Operands, Operators, Phase, Role, Storages, Trace
from tmtrain.trace.rows import OperandRow, operands_from_rows, span_elements


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One argument (persistent, read) or result (new, written) of an operator; each has a storage of its own."""

    shape: tuple[int, ...]
    stride: tuple[int, ...] | None = None
    """In elements; row-major by default."""
    result: bool = False
    position: int | None = None
    """In the schema; by default in the order given."""
    item: int = 0
    in_place: bool = False
    """An argument that is read and written."""
    offset_bytes: int = 0
    storage_bytes: int | None = None
    """By default the storage ends with the tensor."""
    reads: bool | None = None
    persistent: bool | None = None


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Return the strides of a contiguous tensor.

    >>> row_major((2, 3, 4))
    (12, 4, 1)
    """
    return tuple(prod(shape[i + 1 :]) for i in range(len(shape)))


def one_operator(
    name: str,
    tensors: Sequence[Tensor],
    *,
    mnk: tuple[int, int, int] | None = None,
    batch: int = 1,
    pointwise: bool = False,
    itemsize: int = 4,
) -> Trace:
    """Build the trace of one call of ``aten.NAME.default`` on `tensors`; `mnk` makes it a matrix product.

    >>> one_operator("relu", [Tensor(shape=(4, 4)), Tensor(shape=(4, 4), result=True)]).storages.bytes.tolist()
    [64, 64]
    """
    rows: list[OperandRow] = []
    arguments = results = 0
    for number, tensor in enumerate(tensors):
        stride = tensor.stride if tensor.stride is not None else row_major(tensor.shape)
        position = tensor.position
        if position is None:
            position = Operands.RESULT + results if tensor.result else arguments
        arguments, results = arguments + (not tensor.result), results + tensor.result
        reads = not tensor.result if tensor.reads is None else tensor.reads
        span = itemsize * span_elements(tensor.shape, stride)
        rows.append(
            OperandRow(
                0,
                position,
                tensor.item,
                number,
                reads,
                tensor.result or tensor.in_place,
                tensor.result,
                tensor.offset_bytes,
                span,
                itemsize,
                tensor.shape,
                stride,
            )
        )
    m, n, k = mnk or (0, 0, 0)
    return Trace(
        model=name,
        samples=1,
        options={},
        storages=_storages(tensors, rows),
        operators=Operators(
            name=(f"aten.{name}.default",),
            module=("the.module",),
            phase=np.array([Phase.FORWARD], np.int8),
            flops=np.array([2 * batch * m * n * k], np.int64),
            batch=np.array([batch if mnk else 0], np.int64),
            m=np.array([m], np.int64),
            n=np.array([n], np.int64),
            k=np.array([k], np.int64),
            is_view=np.array([False]),
            is_pointwise=np.array([pointwise]),
            is_random=np.array([False]),
        ),
        operands=operands_from_rows(rows),
    )


def _storages(tensors: Sequence[Tensor], rows: Sequence[OperandRow]) -> Storages:
    count = len(tensors)
    sizes = [
        row.offset_bytes + row.span_bytes if tensor.storage_bytes is None else tensor.storage_bytes
        for tensor, row in zip(tensors, rows, strict=True)
    ]
    survives = [not t.result if t.persistent is None else t.persistent for t in tensors]
    return Storages(
        name=tuple(f"t{i}" for i in range(count)),
        bytes=np.array(sizes, np.int64),
        dtype=("float32",) * count,
        role=np.full(count, Role.ACTIVATION, np.int8),
        persistent=np.array(survives),
        birth_op=np.zeros(count, np.int32),
        death_op=np.ones(count, np.int32),
        module=("",) * count,
    )
