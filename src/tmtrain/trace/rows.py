"""Operands one row at a time: how they are recorded and written down, before they become columns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tmtrain.trace.trace import Operands


class OperandRow(NamedTuple):
    """One tensor argument or result of one operator; the fields are the columns of `Operands`."""

    op: int
    position: int
    item: int
    storage: int
    reads: bool
    writes: bool
    allocates: bool
    offset_bytes: int
    span_bytes: int
    itemsize: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


def operands_from_rows(rows: Sequence[OperandRow]) -> Operands:
    """Turn rows, in operator order, into columns.

    >>> row = OperandRow(0, 1, 0, 7, True, False, False, 0, 64, 4, (4, 4), (4, 1))
    >>> operands_from_rows([row]).storage
    array([7], dtype=int32)
    """
    column = list(zip(*rows, strict=True)) if rows else [()] * len(OperandRow._fields)
    return Operands(
        op=np.array(column[0], np.int32),
        position=np.array(column[1], np.int16),
        item=np.array(column[2], np.int16),
        storage=np.array(column[3], np.int32),
        reads=np.array(column[4], np.bool_),
        writes=np.array(column[5], np.bool_),
        allocates=np.array(column[6], np.bool_),
        offset_bytes=np.array(column[7], np.int64),
        span_bytes=np.array(column[8], np.int64),
        itemsize=np.array(column[9], np.int8),
        shape=tuple(column[10]),
        stride=tuple(column[11]),
    )


def span_elements(shape: Sequence[int], stride: Sequence[int]) -> int:
    """Return the number of elements from the first to the last one touched; 0 for an empty tensor.

    >>> span_elements((4, 2), (8, 1))
    26
    """
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
