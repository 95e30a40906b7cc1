"""How the content of a storage can be recomputed: the operators that made it, and what they need.

A *producer* is the operators of forward and loss that make one or more storages, from birth to the last write. As a rule
that is one operator. It is several where a result is worked on in place (dropout noise: ``empty_like``, ``bernoulli_``,
``div_``). Running them again in order gives the same bits, because

* all that they write is born in them (running statistics of a batch norm apart: a recomputation leaves those alone),
* what they read is not written between them and the recomputation (`Producers.valid_until_op`),
* a random operator gets the generator state of its first run: a counter in the generators of accelerators, from
  which any part of its numbers can be drawn. Known limitation: CPU generators draw in order, so there only whole.

A producer is cut along *rows*, equal parts of the outermost loop of its operators (samples or tokens). Rows ``[a, b)`` of
the results need rows ``[a, b)`` of the inputs that follow the loop, and all of the others. Where an operator mixes rows (a
loss), the producer has one row. A batch norm mixes them in its first pass only, which makes the statistics; the second,
which applies them, is what is recomputed. Attention leaves the seed of its dropout, from which its rows are recomputed.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.cost import Loads, no_loads
from tmtrain.lowering.loops import SEEDS, LoopNest, base_name
from tmtrain.trace import Phase, Role, Trace

_PHASES = (Phase.FORWARD, Phase.LOSS)
_UNORDERED = frozenset(
    {"index_add", "index_put", "scatter_add", "scatter_reduce", "index_add_", "index_put_", "scatter_add_"}
)
"""Sum in an order that may differ from run to run on accelerators."""
_WHOLE = 0.99
"""An operand that spans so much of its storage is taken to span all of it: a view of queries, keys or values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowLoop:
    """How one operator is cut along its outermost loop."""

    trips: int
    """1 where it cannot be."""
    cut_operands: frozenset[int]
    """Rows of `tmtrain.trace.Operands` that are cut; the others are needed whole."""
    matrix_dim: str | None
    """Dimension of the matrix product that the loop runs over."""
    statistics: frozenset[int] = frozenset()
    """Rows of operands that the operator makes once and that a recomputation reads: what the first of two passes makes,
    and seeds."""


WHOLE = RowLoop(trips=1, cut_operands=frozenset(), matrix_dim=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Producers:
    """One row per producer, ordered by the last operator. Flat lists come with pointers: ``ptr[i]:ptr[i + 1]``."""

    rows: NDArray[np.int64]
    """Equal parts into which a recomputation may be cut."""
    valid_until_op: NDArray[np.int32]
    """First operator that overwrites an input; the number of operators if none does."""
    op_ptr: NDArray[np.int64]
    op: NDArray[np.int32]
    """Operators of each producer, in order of execution."""
    op_dim: tuple[str | None, ...]
    """Dimension of the operator's matrix product that the rows run over."""
    loads: Loads
    """Of each entry of `op`."""
    touch_ptr: NDArray[np.int64]
    """Per entry of `op`."""
    touch_storage: NDArray[np.int32]
    touch_reads: NDArray[np.bool_]
    touch_writes: NDArray[np.bool_]
    touch_follows: NDArray[np.bool_]
    """Is cut along the rows."""

    def __len__(self) -> int:
        return len(self.rows)


def no_producers() -> Producers:
    """Return an empty table: nothing can be recomputed.

    >>> len(no_producers())
    0
    """
    none, start, false = np.zeros(0, np.int32), np.zeros(1, np.int64), np.zeros(0, np.bool_)
    return Producers(
        rows=none.astype(np.int64),
        valid_until_op=none,
        op_ptr=start,
        op=none,
        op_dim=(),
        loads=no_loads(),
        touch_ptr=start,
        touch_storage=none,
        touch_reads=false,
        touch_writes=false,
        touch_follows=false,
    )


def row_loop(trace: Trace, nests: list[LoopNest]) -> RowLoop:
    """Read off the loop nests of an operator how it is cut along rows.

    Its results must follow the outermost loop and fill their storages; else rows mean nothing and it is taken whole.
    Of an operator in two passes (batch norm) the second is recomputed, from the statistics that the first one left.
    """
    if len(nests) != 1 or not nests[0].trips:
        return WHOLE
    nest, operands = nests[0], trace.operands
    cut_operands = frozenset(o.row for o in nest.operands if o.loop == 0 and _spans_storage(trace, o.row))
    is_buffer = trace.storages.role[operands.storage] == Role.BUFFER
    unfollowed = frozenset(
        o.row
        for o in nest.operands
        if operands.writes[o.row] and o.row not in cut_operands and not is_buffer[o.row]
    )
    statistics = frozenset(
        row for row in unfollowed if operands.allocates[row] and (nest.passes > 1 or _is_seed(trace, row))
    )
    if unfollowed - statistics or not any(operands.writes[row] for row in cut_operands):
        return WHOLE
    return RowLoop(
        trips=nest.trips[0],
        cut_operands=cut_operands,
        matrix_dim=nest.matrix_dims[0] if nest.matrix_dims else None,
        statistics=statistics,
    )


def find_producers(trace: Trace, *, loops: dict[int, RowLoop], loads: Loads) -> Producers:
    """Find every storage of forward and loss that can be recomputed.

    Args:
        trace: The step.
        loops: The row loop of each operator that touches memory.
        loads: Of every operator.
    """
    makers = _makers(trace)
    groups = sorted(_groups(makers).items(), key=lambda item: item[1][-1])
    table = _Table(trace, loops)
    for storages, ops in groups:
        if _is_repeatable(trace, storages, ops, table.rows_of_op):
            table.add(storages, ops)
    return table.producers(loads)


def _spans_storage(trace: Trace, row: int) -> bool:
    operands = trace.operands
    return bool(operands.span_bytes[row] >= _WHOLE * trace.storages.bytes[operands.storage[row]])


def _is_seed(trace: Trace, row: int) -> bool:
    name = base_name(trace.operators.name[trace.operands.op[row]])
    return int(trace.operands.position[row]) in SEEDS.get(name, ())


def _makers(trace: Trace) -> dict[int, list[int]]:
    """Return the operators that bring into being or write each storage that is born in forward or loss."""
    operands, storages = trace.operands, trace.storages
    born = np.isin(trace.operators.phase[np.minimum(storages.birth_op, len(trace.operators) - 1)], _PHASES)
    fresh = born & ~storages.persistent & np.isin(storages.role, (Role.ACTIVATION, Role.TEMPORARY))
    makers: dict[int, list[int]] = defaultdict(list)
    rows = np.flatnonzero((operands.writes | operands.allocates) & fresh[operands.storage])
    for op, storage in zip(operands.op[rows].tolist(), operands.storage[rows].tolist(), strict=True):
        if not makers[storage] or makers[storage][-1] != op:
            makers[storage].append(op)
    return makers


def _groups(makers: dict[int, list[int]]) -> dict[tuple[int, ...], list[int]]:
    """Join storages that share a maker: {storages: their operators in order}."""
    parent: dict[int, int] = {}

    def root(op: int) -> int:
        while parent.setdefault(op, op) != op:
            parent[op] = op = parent[parent[op]]
        return op

    for ops in makers.values():
        for op in ops[1:]:
            parent[root(op)] = root(ops[0])
    members: dict[int, set[int]] = defaultdict(set)
    storages: dict[int, list[int]] = defaultdict(list)
    for storage, ops in makers.items():
        members[root(ops[0])].update(ops)
        storages[root(ops[0])].append(storage)
    return {tuple(storages[r]): sorted(members[r]) for r in members}


def _is_repeatable(
    trace: Trace, storages: tuple[int, ...], ops: list[int], rows_of_op: dict[int, list[int]]
) -> bool:
    operators, operands = trace.operators, trace.operands
    for op in ops:
        if operators.phase[op] not in _PHASES or base_name(operators.name[op]) in _UNORDERED:
            return False
        for row in rows_of_op[op]:
            written = int(operands.storage[row])
            if (
                operands.writes[row]
                and written not in storages
                and trace.storages.role[written] != Role.BUFFER
            ):
                return False
    return True


class _Table:
    """Columns of `Producers` while they grow."""

    def __init__(self, trace: Trace, loops: dict[int, RowLoop]) -> None:
        self._trace, self._loops = trace, loops
        self.rows_of_op: dict[int, list[int]] = defaultdict(list)
        for row, op in enumerate(trace.operands.op.tolist()):
            self.rows_of_op[op].append(row)
        self._writes: dict[int, list[int]] = defaultdict(list)
        for row in np.flatnonzero(trace.operands.writes).tolist():
            self._writes[int(trace.operands.storage[row])].append(int(trace.operands.op[row]))
        self._rows: list[int] = []
        self._valid_until: list[int] = []
        self._op_ptr, self._touch_ptr = [0], [0]
        self._op: list[int] = []
        self._dim: list[str | None] = []
        self._touches: list[tuple[int, bool, bool, bool]] = []

    def add(self, storages: tuple[int, ...], ops: list[int]) -> None:
        """Add the producer of `storages`, made by `ops`."""
        touching = [op for op in ops if op in self._loops]
        if not touching:
            return
        # The parts of all operators have to be the same rows, or one could not run on what another has made.
        self._rows.append(gcd(*(self._loops[op].trips for op in touching)))
        self._valid_until.append(min(self._overwritten(op, storages) for op in touching))
        for op in touching:
            self._add_operator(op, storages)
        self._op_ptr.append(len(self._op))

    def _add_operator(self, op: int, storages: tuple[int, ...]) -> None:
        operands, loop = self._trace.operands, self._loops[op]
        self._op.append(op)
        self._dim.append(loop.matrix_dim)
        for row in self.rows_of_op[op]:
            storage = int(operands.storage[row])
            reads, writes = bool(operands.reads[row]), bool(operands.writes[row])
            if row in loop.statistics:  # what runs again reads what the first run left
                reads, writes = True, False
            # Statistics that the operator keeps up to date are neither needed nor changed by a recomputation.
            is_kept_aside = writes and storage not in storages
            if (reads or writes) and not is_kept_aside:
                self._touches.append((storage, reads, writes, row in loop.cut_operands))
        self._touch_ptr.append(len(self._touches))

    def _overwritten(self, op: int, storages: tuple[int, ...]) -> int:
        """Return the first operator after `op` that writes one of its inputs."""
        never = len(self._trace.operators)
        operands = self._trace.operands
        read = {
            int(operands.storage[row])
            for row in self.rows_of_op[op]
            if operands.reads[row] and not operands.writes[row]
        }
        later = [w for storage in read.difference(storages) for w in self._writes[storage] if w > op]
        return min(later, default=never)

    def producers(self, loads: Loads) -> Producers:
        """Turn the lists into columns."""
        columns = list(zip(*self._touches, strict=True)) or [()] * 4
        return Producers(
            rows=np.array(self._rows, np.int64),
            valid_until_op=np.array(self._valid_until, np.int32),
            op_ptr=np.array(self._op_ptr, np.int64),
            op=np.array(self._op, np.int32),
            op_dim=tuple(self._dim),
            loads=loads.of(np.array(self._op, np.int32)),
            touch_ptr=np.array(self._touch_ptr, np.int64),
            touch_storage=np.array(columns[0], np.int32),
            touch_reads=np.array(columns[1], np.bool_),
            touch_writes=np.array(columns[2], np.bool_),
            touch_follows=np.array(columns[3], np.bool_),
        )
