"""From a recording to a Trace: roles, names and columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmtrain.capturing.cycle import CycleRow, close_cycle
from tmtrain.capturing.recorder import Recording
from tmtrain.trace import Operands, Operators, Phase, Role, Storages, Trace
from tmtrain.trace.rows import operands_from_rows

_FORWARD = (Phase.FORWARD, Phase.LOSS)


def assemble_trace(recording: Recording, *, model: str, samples: int, options: dict[str, Any]) -> Trace:
    """Turn a recording into the trace of one steady step.

    Raises:
        CaptureError: the step leaves optimizer state or gradients that were not there before it.
    """
    rows = close_cycle(recording)
    index = {number: position for position, row in enumerate(rows) for number in row.numbers}
    operands = operands_from_rows([row._replace(storage=index[row.storage]) for row in recording.operands])
    return Trace(
        model=model,
        samples=samples,
        options=options,
        storages=_storages(recording, rows, operands),
        operators=_operators(recording),
        operands=operands,
    )


def _operators(recording: Recording) -> Operators:
    operators = recording.operators
    return Operators(
        name=tuple(op.name for op in operators),
        module=tuple(recording.modules),
        phase=np.array(recording.phases, np.int8),
        flops=np.array([op.work.flops for op in operators], np.int64),
        batch=np.array([op.work.batch for op in operators], np.int64),
        m=np.array([op.work.m for op in operators], np.int64),
        n=np.array([op.work.n for op in operators], np.int64),
        k=np.array([op.work.k for op in operators], np.int64),
        is_view=np.array([op.is_view for op in operators], np.bool_),
        is_pointwise=np.array([op.is_pointwise for op in operators], np.bool_),
        is_random=np.array([op.is_random for op in operators], np.bool_),
    )


def _storages(recording: Recording, rows: Sequence[CycleRow], operands: Operands) -> Storages:
    records = [recording.storages[row.named_after] for row in rows]
    return Storages(
        name=_names(recording, rows),
        bytes=np.array([record.bytes for record in records], np.int64),
        dtype=tuple(record.dtype for record in records),
        role=_roles(recording, rows, operands),
        persistent=np.array([row.persistent for row in rows], np.bool_),
        birth_op=np.array([row.birth_op for row in rows], np.int32),
        death_op=np.array([row.death_op for row in rows], np.int32),
        module=tuple(_module(recording, row.named_after) for row in rows),
    )


def _names(recording: Recording, rows: Sequence[CycleRow]) -> tuple[str, ...]:
    names: list[str] = []
    inputs = 0
    for row in rows:
        name = _own_name(recording, row.named_after)
        if not name:
            name = f"input#{inputs}"
            inputs += 1
        names.append(name + row.suffix)
    return tuple(names)


def _own_name(recording: Recording, number: int) -> str:
    owned = recording.owners.get(number)
    return owned.name if owned is not None else recording.storages[number].maker


def _module(recording: Recording, number: int) -> str:
    owned, record = recording.owners.get(number), recording.storages[number]
    if owned is not None:
        return owned.module
    return recording.modules[record.birth_op] if record.maker else ""


def _roles(recording: Recording, rows: Sequence[CycleRow], operands: Operands) -> NDArray[np.int8]:
    # Rows, not records: a storage and its successor are one row, whose role the reads of both decide.
    phase_of_read = np.array(recording.phases, np.int8)[operands.op[operands.reads]]
    read_storage = operands.storage[operands.reads]
    in_forward = np.zeros(len(rows), np.bool_)
    in_forward[read_storage[np.isin(phase_of_read, _FORWARD)]] = True
    in_backward = np.zeros(len(rows), np.bool_)
    in_backward[read_storage[phase_of_read == Phase.BACKWARD]] = True
    return np.array(
        [
            _role(recording, row.named_after, read_forward=bool(forward), read_backward=bool(backward))
            for row, forward, backward in zip(rows, in_forward, in_backward, strict=True)
        ],
        np.int8,
    )


def _role(recording: Recording, number: int, *, read_forward: bool, read_backward: bool) -> Role:
    owned, record = recording.owners.get(number), recording.storages[number]
    if owned is not None:
        return owned.role
    if not record.maker:
        return Role.INPUT
    born = recording.phases[record.birth_op]
    # A batch that the step itself puts together: the model reads it. The rest of that phase is temporary.
    if born is Phase.DATA and (read_forward or read_backward):
        return Role.INPUT
    return Role.ACTIVATION if born in _FORWARD and read_backward else Role.TEMPORARY
