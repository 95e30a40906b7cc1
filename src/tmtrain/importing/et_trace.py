"""Operators of an execution trace as a Trace.

What such a trace does not say is put in place thus:

* *Frees.* A storage that is made in the step dies after its last use. One that is read before it is made was there before
  the step, and stays.
* *Whose storage it is.* The observer gives the number of freed memory to new memory: a result in a storage that is no
  argument's is a new one.
* *Roles.* What was there before: written in the optimizer, a parameter if forward reads it, else optimizer state; elsewhere
  written, a buffer; never written, an input. What is made: an activation if forward makes and backward reads it, a gradient
  if backward makes and the optimizer reads it, else temporary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.importing.aten import FRESH, OVERWRITES, is_kind
from tmtrain.importing.et_node import EtNode, TensorUse
from tmtrain.importing.products import NO_PRODUCT, Product, product_of
from tmtrain.trace import Operands, Operators, Phase, Role, Storages, Trace
from tmtrain.trace.rows import OperandRow, operands_from_rows


@dataclass(slots=True)
class _Memory:
    """One storage, as far as it is known."""

    name: str
    dtype: str
    birth_op: int
    is_old: bool
    """There before the step."""
    bytes: int = 0
    last_op: int = 0
    read_in: set[int] = field(default_factory=set[int])
    written_in: set[int] = field(default_factory=set[int])
    """Phases."""


def trace_of_nodes(nodes: Sequence[EtNode], *, model: str, samples: int, options: dict[str, object]) -> Trace:
    """Return the step whose operators are `nodes`.

    Raises:
        InputError: some operators bring times along and some do not.
    """
    memories, rows, products, views = _walk(nodes)
    return Trace(
        model=model,
        samples=samples,
        options=options,
        storages=_storages(memories, end=len(nodes)),
        operators=_operators(nodes, products, views),
        operands=operands_from_rows(rows),
    )


@dataclass(slots=True)
class _Walk:
    """Storages and operands, growing operator by operator."""

    memories: list[_Memory] = field(default_factory=list[_Memory])
    rows: list[OperandRow] = field(default_factory=list[OperandRow])
    current: dict[int, int] = field(default_factory=dict[int, int])
    """From the observer's number to ours."""

    def touch(
        self, op: int, node: EtNode, use: TensorUse, position: int, *, reads: bool, writes: bool
    ) -> None:
        """Add one operand of a storage that is known or was there before the step."""
        if use.storage not in self.current:
            self._meet(use, name=f"storage#{use.storage}", op=0, is_old=True)
        self._add(op, node, use, position, reads=reads, writes=writes, allocates=False)

    def make(self, op: int, node: EtNode, use: TensorUse, position: int, *, writes: bool) -> None:
        """Add one result in new memory."""
        base = node.schema.base if node.schema is not None else node.name
        self._meet(use, name=f"{base}#{op}.{len(self.rows)}", op=op, is_old=False)
        self._add(op, node, use, position, reads=False, writes=writes, allocates=True)

    def _meet(self, use: TensorUse, *, name: str, op: int, is_old: bool) -> None:
        self.current[use.storage] = len(self.memories)
        self.memories.append(_Memory(name=name, dtype=use.dtype, birth_op=op, is_old=is_old))

    def _add(
        self, op: int, node: EtNode, use: TensorUse, position: int, *, reads: bool, writes: bool, allocates: bool
    ) -> None:  # fmt: skip
        number = self.current[use.storage]
        memory = self.memories[number]
        memory.bytes = max(memory.bytes, use.offset_bytes + use.span_bytes)
        memory.last_op = op
        if reads:
            memory.read_in.add(node.phase)
        if writes:
            memory.written_in.add(node.phase)
        self.rows.append(
            OperandRow(
                op, position, use.item, number, reads, writes, allocates, use.offset_bytes, use.span_bytes,
                use.itemsize, use.shape, use.stride,
            )
        )  # fmt: skip


def _walk(
    nodes: Sequence[EtNode],
) -> tuple[list[_Memory], list[OperandRow], list[Product], list[bool]]:
    walk = _Walk()
    products: list[Product] = []
    views: list[bool] = []
    for op, node in enumerate(nodes):
        views.append(_is_view(node))
        products.append(_product(node))
        _touch_all(walk, op, node, is_view=views[-1])
    return walk.memories, walk.rows, products, views


def _touch_all(walk: _Walk, op: int, node: EtNode, *, is_view: bool) -> None:
    known = {use.storage for use in node.arguments}
    base = node.schema.base if node.schema is not None else ""
    if node.schema is None:
        _touch_plainly(walk, op, node)
        return
    for use in node.arguments:
        writes = use.position < len(node.schema.written) and node.schema.written[use.position]
        reads = not is_view and not (writes and (base in OVERWRITES or base.endswith("out")))
        walk.touch(op, node, use, use.position, reads=reads, writes=writes)
    for use in node.results:
        position = Operands.RESULT + use.position
        if use.storage in known:
            walk.touch(op, node, use, position, reads=False, writes=False)
        else:
            walk.make(op, node, use, position, writes=base not in FRESH)


def _touch_plainly(walk: _Walk, op: int, node: EtNode) -> None:
    """Without a schema: arguments are read, results are written; what is both is updated in place."""
    written = {use.storage for use in node.results}
    known = {use.storage for use in node.arguments}
    for use in node.arguments:
        walk.touch(op, node, use, use.position, reads=True, writes=use.storage in written)
    for use in node.results:
        if use.storage in known:
            continue
        if use.storage in walk.current:
            walk.touch(op, node, use, Operands.RESULT + use.position, reads=False, writes=True)
        else:
            walk.make(op, node, use, Operands.RESULT + use.position, writes=True)


def _is_view(node: EtNode) -> bool:
    if node.schema is None or any(node.schema.written) or not node.results:
        return False
    known = {use.storage for use in node.arguments}
    return all(use.storage in known for use in node.results)


def _product(node: EtNode) -> Product:
    if node.schema is None:
        return NO_PRODUCT
    shapes = [(use.position, use.shape) for use in node.arguments if use.item == 0]
    result = node.results[0].shape if node.results else ()
    try:
        return product_of(node.schema.base, shapes, result)
    except (KeyError, IndexError):  # an operator of that name with other arguments
        return NO_PRODUCT


def _storages(memories: Sequence[_Memory], *, end: int) -> Storages:
    return Storages(
        name=tuple(memory.name for memory in memories),
        bytes=np.array([memory.bytes for memory in memories], np.int64),
        dtype=tuple(memory.dtype for memory in memories),
        role=np.array([_role(memory) for memory in memories], np.int8),
        persistent=np.array([memory.is_old for memory in memories], np.bool_),
        birth_op=np.array([memory.birth_op for memory in memories], np.int32),
        death_op=np.array([end if m.is_old else m.last_op + 1 for m in memories], np.int32),
        module=("",) * len(memories),
    )


def _role(memory: _Memory) -> Role:
    forward = Phase.FORWARD in memory.read_in or Phase.LOSS in memory.read_in
    if memory.is_old:
        if Phase.OPTIMIZER in memory.written_in:
            return Role.PARAMETER if forward else Role.OPTIMIZER_STATE
        return Role.BUFFER if memory.written_in else Role.INPUT
    if memory.written_in & {Phase.FORWARD, Phase.LOSS} and Phase.BACKWARD in memory.read_in:
        return Role.ACTIVATION
    if Phase.BACKWARD in memory.written_in and Phase.OPTIMIZER in memory.read_in:
        return Role.GRADIENT
    return Role.TEMPORARY


def _operators(nodes: Sequence[EtNode], products: Sequence[Product], views: Sequence[bool]) -> Operators:
    columns = np.array(products, np.int64).reshape(-1, len(Product._fields))
    given = np.array([node.flops for node in nodes], np.int64)
    return Operators(
        name=tuple(node.name for node in nodes),
        module=("",) * len(nodes),
        phase=np.array([node.phase for node in nodes], np.int8),
        flops=np.where(columns[:, 0] > 0, columns[:, 0], given),
        batch=columns[:, 1],
        m=columns[:, 2],
        n=columns[:, 3],
        k=columns[:, 4],
        is_view=np.array(views, np.bool_),
        is_pointwise=np.array([is_kind(node.name, "pointwise") for node in nodes], np.bool_),
        is_random=np.array([is_kind(node.name, "random") for node in nodes], np.bool_),
        duration_s=_durations(nodes),
    )


def _durations(nodes: Sequence[EtNode]) -> NDArray[np.float64] | None:
    without = [node for node in nodes if node.duration_s is None]
    if len(without) == len(nodes):
        return None
    if without:
        raise InputError(
            f"operator {without[0].id} ({without[0].name}) has no duration, others have: give all of them or none"
        )
    return np.array([node.duration_s for node in nodes], np.float64)
