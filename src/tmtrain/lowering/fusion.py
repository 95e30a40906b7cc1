"""Fusion: elementwise operators that take up a result where it is made, so that it never crosses to fast memory.

What compilers do with chains of elementwise operators, and matrix units with what follows a product. A pointwise operator
joins the operator directly before it where

* it reads exactly what that one wrote (same bytes, dense), and
* nobody else does: it is the last to touch the storage, or overwrites what it read.

The bytes of that write and of that read are saved; a chain joins link by link. Everything else stays as it is: storages
live as before (a plan sees no difference), operators are counted and timed one by one, so what a fused kernel gains by
overlapping its parts is left out, and a result that backward reads again is written, and read by its consumer, as before.
Recomputations are priced like first runs: what is never seen outside a chain is recomputed by the whole chain.

Known limitation: where little fast memory makes us cut the operators of a chain into slices, they run one operator after
the other here, and slice by slice in a fused kernel; residency is that of the former, bytes are those of the latter.
"""

from math import prod

import numpy as np
from numpy.typing import NDArray

from tmtrain.trace import Operands, Trace

_IN_LISTS = ("aten._foreach", "aten._fused")
"""Operators over lists of tensors: their loops are not those of a single one."""


def fused_bytes(trace: Trace) -> NDArray[np.float64]:
    """Return the bytes that each operator need not move because it is fused, shape (operators,).

    >>> from tmtrain.trace import example_trace
    >>> fused_bytes(example_trace()).astype(int).tolist()
    [4096, 4096, 0, 4096, 4096, 0, 0, 4096, 4096, 0]
    """
    rows = _rows_that_touch(trace)
    last_use = _last_use(trace, rows)
    saved = np.zeros(len(trace.operators))
    # Only neighbours: with an operator between them, the result has to wait somewhere, and that is fast memory.
    for maker, user in zip(list(rows)[:-1], list(rows)[1:], strict=True):
        if not trace.operators.is_pointwise[user] or trace.operators.name[user].startswith(_IN_LISTS):
            continue
        for row in rows[maker]:
            read = _taken_up(trace, row, rows[user], last_use=last_use)
            saved[maker] += _bytes(trace.operands, row) if read else 0
            saved[user] += sum(_bytes(trace.operands, taken) for taken in read)
    return saved


def _rows_that_touch(trace: Trace) -> dict[int, list[int]]:
    """Return the rows of operands that move bytes, by operator, in order."""
    rows: dict[int, list[int]] = {}
    for row in np.flatnonzero(trace.operands.reads | trace.operands.writes).tolist():
        rows.setdefault(int(trace.operands.op[row]), []).append(row)
    return rows


def _last_use(trace: Trace, rows: dict[int, list[int]]) -> dict[int, int]:
    """Return the last operator that touches each storage which this step makes and ends."""
    s = trace.storages
    last: dict[int, int] = {}
    for op, touched in rows.items():
        for row in touched:
            last[int(trace.operands.storage[row])] = op
    outlives = s.persistent | (s.death_op <= s.birth_op)
    return {storage: op for storage, op in last.items() if not outlives[storage]}


def _taken_up(trace: Trace, written: int, users: list[int], *, last_use: dict[int, int]) -> list[int]:
    """Return the rows of the user that read what row `written` wrote, if nobody else ever does."""
    operands = trace.operands
    storage = int(operands.storage[written])
    touching = [row for row in users if operands.storage[row] == storage]
    reading = [row for row in touching if operands.reads[row]]
    if (
        not operands.writes[written]
        or not reading
        or not all(_same(operands, written, row) for row in touching)
    ):
        return []
    # A result narrower than the operand is a reduction, a wider one a broadcast: their loops are not those of the maker.
    widest = max((prod(operands.shape[row]) for row in users if operands.writes[row]), default=0)
    user = int(operands.op[reading[0]])
    is_over = any(operands.writes[row] for row in touching) or last_use.get(storage) == user
    return reading if is_over and widest == prod(operands.shape[written]) else []


def _same(operands: Operands, one: int, other: int) -> bool:
    """Whether two operands are the same bytes without gaps."""
    ends = [(int(operands.offset_bytes[row]), int(operands.span_bytes[row])) for row in (one, other)]
    return ends[0] == ends[1] and all(
        _bytes(operands, row) == operands.span_bytes[row] for row in (one, other)
    )


def _bytes(operands: Operands, row: int) -> int:
    return prod(operands.shape[row]) * int(operands.itemsize[row])
