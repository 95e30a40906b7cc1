"""Operators of an execution trace as a Trace.

Such a trace leaves out three things. They are filled in by rules:

* *Frees.* A storage that is born in the step dies after its last use. One that is used before any operator brings it into
  being was there before the step, and stays.
* *Identity.* The observer gives the number of freed memory to new memory. So a result in a storage that is no argument's is
  a new one.
* *Roles.* What was there before is a parameter if the optimizer writes and forward reads it, optimizer state if the
  optimizer alone writes it, a buffer if others write it, and an input if nobody does. What is born is an activation if
  forward writes and backward reads it, a gradient if backward writes and the optimizer reads it, else temporary.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tmtrain.counting import OperatorWork
from tmtrain.errors import InputError
from tmtrain.importing.execution_traces.aten import FRESH, OVERWRITES, is_kind
from tmtrain.importing.execution_traces.communication import summarise_communication
from tmtrain.importing.execution_traces.node import EtNode, TensorUse
from tmtrain.importing.execution_traces.products import work_of_node
from tmtrain.importing.execution_traces.steps import ChosenStep
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

    def note_use(self, op: int, phase: int, use: TensorUse, *, reads: bool, writes: bool) -> None:
        """Note one use: how far the storage reaches, and how long it lives, is only known from its uses."""
        self.bytes = max(self.bytes, use.offset_bytes + use.span_bytes)
        self.last_op = op
        if reads:
            self.read_in.add(phase)
        if writes:
            self.written_in.add(phase)


def trace_of_nodes(
    step: ChosenStep, *, model: str, samples: int, options: dict[str, object], where: str
) -> Trace:
    """Return a step as a trace, whose options say too which step of several it is, and what it communicates.

    Raises:
        InputError: some operators bring times along and some do not; `where` names the file.
    """
    nodes, walk = step.nodes, _Walk()
    views = [_is_view(node) for node in nodes]
    for node, is_view in zip(nodes, views, strict=True):
        walk.add_operator(node, is_view=is_view)
    return Trace(
        model=model,
        samples=samples,
        options=options | _said(step),
        storages=_storages(walk.memories, end=len(nodes)),
        operators=_operators(nodes, views, where),
        operands=operands_from_rows(walk.rows),
    )


def _said(step: ChosenStep) -> dict[str, object]:
    said: dict[str, object] = {} if step.note is None else {"step": step.note}
    communication = [node.communication for node in step.nodes if node.communication is not None]
    return said | ({"communication": summarise_communication(communication)} if communication else {})


@dataclass(slots=True)
class _Walk:
    """Storages and operands, growing operator by operator."""

    memories: list[_Memory] = field(default_factory=list[_Memory])
    rows: list[OperandRow] = field(default_factory=list[OperandRow])
    _numbers: dict[int, int] = field(default_factory=dict[int, int])
    """From the observer's number of a storage to ours, as things are now."""
    _op: int = -1
    """The operator that is being added."""

    def add_operator(self, node: EtNode, *, is_view: bool) -> None:
        """Add all operands of the next operator."""
        self._op += 1
        if node.is_compiled:
            self._add_compiled(node)
            return
        if node.schema is None:
            self._add_without_schema(node)
            return
        arguments = {use.storage for use in node.arguments}
        base = node.schema.base
        for use in node.arguments:
            writes = use.position < len(node.schema.written) and node.schema.written[use.position]
            # The schema says what is written, not whether it is read before: only the name tells.
            reads = not is_view and not (writes and (base in OVERWRITES or base.endswith("out")))
            self._touch(node, use, use.position, reads=reads, writes=writes)
        for use in node.results:
            position = Operands.RESULT + use.position
            # A view, or an argument that was written in place, whose own row says what is touched.
            if use.storage in arguments:
                self._touch(node, use, position, reads=False, writes=False)
            else:
                self._allocate(node, use, position, writes=base not in FRESH)

    def _add_without_schema(self, node: EtNode) -> None:
        """Arguments are read, results are written; what is both is updated in place."""
        written = {use.storage for use in node.results}
        arguments = {use.storage for use in node.arguments}
        for use in node.arguments:
            self._touch(node, use, use.position, reads=True, writes=use.storage in written)
        for use in node.results:
            if use.storage in arguments:
                continue
            position = Operands.RESULT + use.position
            # Unlike torch, who writes such nodes does not use a number twice: a known one is known memory.
            if use.storage in self._numbers:
                self._touch(node, use, position, reads=False, writes=True)
            else:
                self._allocate(node, use, position, writes=True)

    def _add_compiled(self, node: EtNode) -> None:
        """Memory that nobody has written is for results; all else is read."""
        for use in node.arguments:
            number = self._numbers.get(use.storage)
            memory = None if number is None else self.memories[number]
            is_result = memory is not None and not (memory.is_old or memory.written_in)
            self._touch(node, use, use.position, reads=not is_result, writes=is_result)

    def _touch(self, node: EtNode, use: TensorUse, position: int, *, reads: bool, writes: bool) -> None:
        """Add an operand in a storage that is known, or was there before the step."""
        if use.storage not in self._numbers:
            self._meet(use, name=f"storage#{use.storage}", birth_op=0, is_old=True)
        self._add(node, use, position, reads=reads, writes=writes, allocates=False)

    def _allocate(self, node: EtNode, use: TensorUse, position: int, *, writes: bool) -> None:
        """Add a result in new memory."""
        base = node.schema.base if node.schema is not None else node.name
        name = f"{base}#{self._op}.{len(self.rows)}"
        self._meet(use, name=name, birth_op=self._op, is_old=False)
        self._add(node, use, position, reads=False, writes=writes, allocates=True)

    def _meet(self, use: TensorUse, *, name: str, birth_op: int, is_old: bool) -> None:
        self._numbers[use.storage] = len(self.memories)
        self.memories.append(_Memory(name=name, dtype=use.dtype, birth_op=birth_op, is_old=is_old))

    def _add(
        self, node: EtNode, use: TensorUse, position: int, *, reads: bool, writes: bool, allocates: bool
    ) -> None:
        number = self._numbers[use.storage]
        self.memories[number].note_use(self._op, node.phase, use, reads=reads, writes=writes)
        row = OperandRow(
            op=self._op,
            position=position,
            item=use.item,
            storage=number,
            reads=reads,
            writes=writes,
            allocates=allocates,
            offset_bytes=use.offset_bytes,
            span_bytes=use.span_bytes,
            itemsize=use.itemsize,
            shape=use.shape,
            stride=use.stride,
        )
        self.rows.append(row)


def _is_view(node: EtNode) -> bool:
    if node.schema is None or any(node.schema.written) or not node.results:
        return False
    arguments = {use.storage for use in node.arguments}
    return all(use.storage in arguments for use in node.results)


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


def _operators(nodes: Sequence[EtNode], views: Sequence[bool], where: str) -> Operators:
    columns = np.array([work_of_node(node) for node in nodes], np.int64).reshape(
        -1, len(OperatorWork._fields)
    )
    claimed = np.array([node.flops for node in nodes], np.int64)
    return Operators(
        name=tuple(node.name for node in nodes),
        module=("",) * len(nodes),
        phase=np.array([node.phase for node in nodes], np.int8),
        flops=np.where(columns[:, 0] > 0, columns[:, 0], claimed),
        batch=columns[:, 1],
        m=columns[:, 2],
        n=columns[:, 3],
        k=columns[:, 4],
        is_view=np.array(views, np.bool_),
        is_pointwise=np.array([is_kind(node.name, "pointwise") for node in nodes], np.bool_),
        is_random=np.array([is_kind(node.name, "random") for node in nodes], np.bool_),
        duration_s=_durations(nodes, where),
    )


def _durations(nodes: Sequence[EtNode], where: str) -> NDArray[np.float64] | None:
    without = [node for node in nodes if node.duration_s is None]
    if len(without) == len(nodes):
        return None
    if without:
        raise InputError(
            f"{where}, operator {without[0].id} ({without[0].name}) has no duration, others have: give all of them or none"
        )
    return np.array([node.duration_s for node in nodes], np.float64)
