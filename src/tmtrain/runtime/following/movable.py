"""The part of a captured step that a real run can steer: the storages that can move.

The tier brings in the ranges of a storage that an operator touches, each from its first byte to its last. What is
overwritten in part needs what was there before. Memory counts from when it is allocated, touched or not. Times are
measured, so dimensions of products are left out: nobody computes times from them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES
from tmtrain.trace import Operands, Storages, Trace


def movable_part(trace: Trace, *, rows: Sequence[int], seconds: Mapping[int, float]) -> Trace:
    """Return the step with these storages only, and the times that its operators took.

    Args:
        trace: The step as captured.
        rows: Storages that can move, in order.
        seconds: Of operators.
    """
    none = np.zeros(len(trace.operators), np.int64)
    unmodelled = replace(trace.operators, flops=none, batch=none, m=none, n=none, k=none)
    part = replace(
        trace,
        operators=unmodelled,
        storages=_storages(trace.storages, rows),
        operands=_operands(trace, np.array(rows, np.int64)),
    )
    return with_seconds(part, seconds)


def with_seconds(trace: Trace, seconds: Mapping[int, float]) -> Trace:
    """Return a step whose operators took so long; those that touch nothing lend their time to the next one that does."""
    took = np.zeros(len(trace.operators))
    for op, spent in seconds.items():
        took[op] = spent
    busy, gathered = np.unique(trace.operands.op), np.zeros(len(took))
    if len(busy):
        until = np.cumsum(took)[busy]
        gathered[busy] = np.diff(until, prepend=0.0)
        gathered[busy[-1]] += took.sum() - until[-1]
    return replace(trace, operators=replace(trace.operators, duration_s=gathered))


def _operands(trace: Trace, rows: NDArray[np.int64]) -> Operands:
    operands, sizes = trace.operands, trace.storages.bytes
    part_row = np.full(len(trace.storages), -1)
    part_row[rows] = np.arange(len(rows))
    touches = (operands.reads | operands.writes | operands.allocates) & (part_row[operands.storage] >= 0)
    at = np.flatnonzero(touches)
    storage = operands.storage[at]
    # Blocks move whole: what a partial write leaves alone has to be read before.
    in_part = operands.writes[at] & ~operands.allocates[at] & (operands.span_bytes[at] < sizes[storage])
    begin, until = operands.offset_bytes[at], operands.offset_bytes[at] + operands.span_bytes[at]
    # One operand for each range of a storage that an operator touches, however often.
    pairs, whose = np.unique(operands.op[at].astype(np.int64) * len(sizes) + storage, return_inverse=True)
    is_new = np.isin(whose, whose[operands.allocates[at]])
    group = _ranges(whose, np.where(is_new, 0, begin), np.where(is_new, sizes[storage], until))
    key = np.zeros(group.max(initial=-1) + 1, np.int64)
    key[group] = pairs[whose]

    def any_of(flags: NDArray[np.bool_]) -> NDArray[np.bool_]:
        merged = np.zeros(len(key), np.bool_)
        np.logical_or.at(merged, group, flags)
        return merged

    allocates = any_of(operands.allocates[at])
    op, owner = (key // len(sizes)).astype(np.int32), key % len(sizes)
    first, length = _extents(group, begin, until, whole=np.where(allocates, sizes[owner], 0))
    return Operands(
        op=op,
        position=np.where(allocates, Operands.RESULT, 0).astype(np.int16),
        item=np.zeros(len(key), np.int16),
        storage=part_row[owner].astype(np.int32),
        reads=any_of(operands.reads[at] | in_part) & ~allocates,
        writes=any_of(operands.writes[at]) | allocates,
        allocates=allocates,
        offset_bytes=first,
        span_bytes=length,
        itemsize=np.ones(len(key), np.int8),
        shape=tuple((size,) for size in length.tolist()),
        stride=((1,),) * len(key),
    )


def _extents(
    group: NDArray[np.int64], begin: NDArray[np.int64], until: NDArray[np.int64], *, whole: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each group begins and how long it is; of what is allocated all counts, touched or not."""
    first, end = np.where(whole > 0, 0, np.iinfo(np.int64).max), whole.copy()
    np.minimum.at(first, group, begin)
    np.maximum.at(end, group, until)
    return first, end - first


def _ranges(whose: NDArray[np.int64], first: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of the range that each stretch belongs to: those of one owner that touch are one range."""
    order = np.lexsort((first, whose))
    # So large that no stretch of one owner reaches into the next owner's.
    apart = int(end.max(initial=0)) + BLOCK_BYTES + 1
    begins, reached = (
        first[order] + whose[order] * apart,
        np.maximum.accumulate(end[order] + whose[order] * apart),
    )
    is_new = np.ones(len(order), np.bool_)
    # The tier moves blocks: a hole that holds none is no hole.
    is_new[1:] = begins[1:] > reached[:-1] + BLOCK_BYTES
    numbers = np.zeros(len(order), np.int64)
    numbers[order] = np.cumsum(is_new) - 1
    return numbers


def _storages(storages: Storages, rows: Sequence[int]) -> Storages:
    return Storages(
        name=tuple(storages.name[row] for row in rows),
        bytes=storages.bytes[rows],
        dtype=tuple(storages.dtype[row] for row in rows),
        role=storages.role[rows],
        persistent=storages.persistent[rows],
        birth_op=storages.birth_op[rows],
        death_op=storages.death_op[rows],
        module=tuple(storages.module[row] for row in rows),
    )
