"""The smallest trace that has everything: written by hand, for docstrings and tests.

One linear layer without bias, a ReLU, a mean square error, SGD with momentum, in fp32 with batch and width
32. The user calls ``zero_grad()`` just before ``backward()``, so the gradient lives round the end of the
step::

    0 mm                 x @ weight            forward
    1 relu                                     forward
    2 mse_loss                                 loss
    3 mse_loss_backward                        backward (the gradient of the step before is gone from here on)
    4 threshold_backward                       backward
    5 t                  x, as a view          backward
    6 mm                 x.t() @ d(hidden)     backward
    7 mul_               momentum *= 0.9       optimizer
    8 add_               momentum += gradient  optimizer
    9 add_               weight -= momentum    optimizer
"""

from typing import NamedTuple

import numpy as np

from tmtrain.trace.rows import OperandRow, operands_from_rows
from tmtrain.trace.trace import Operands, Operators, Phase, Role, Storages, Trace

_SIDE = 32
_MATRIX_BYTES = 4 * _SIDE * _SIDE


class _Storage(NamedTuple):
    name: str
    bytes: int
    role: Role
    birth_op: int
    death_op: int
    module: str


class _Operator(NamedTuple):
    name: str
    module: str
    phase: Phase
    operands: str
    """``NAME:FLAGS`` words: "r" reads, "w" writes, "a" allocates, "t" transposed; the results follow after
    ">"."""
    is_matmul: bool = False
    is_view: bool = False


_END = 10
_STORAGES = (
    _Storage("0.weight", _MATRIX_BYTES, Role.PARAMETER, 0, _END, "0"),
    _Storage("state:0.weight.momentum_buffer", _MATRIX_BYTES, Role.OPTIMIZER_STATE, 0, _END, "0"),
    _Storage("input#0", _MATRIX_BYTES, Role.INPUT, 0, _END, ""),
    _Storage("input#1", _MATRIX_BYTES, Role.INPUT, 0, _END, ""),
    _Storage("mm#0.0", _MATRIX_BYTES, Role.TEMPORARY, 0, 2, "0"),
    _Storage("relu#1.0", _MATRIX_BYTES, Role.ACTIVATION, 1, 5, "1"),
    _Storage("mse_loss#2.0", 4, Role.TEMPORARY, 2, _END, ""),
    _Storage("mse_loss_backward#3.0", _MATRIX_BYTES, Role.TEMPORARY, 3, 5, ""),
    _Storage("threshold_backward#4.0", _MATRIX_BYTES, Role.TEMPORARY, 4, 7, "1"),
    _Storage("grad:0.weight", _MATRIX_BYTES, Role.GRADIENT, 6, 3, "0"),
)
_OPERATORS = (
    _Operator("aten.mm.default", "0", Phase.FORWARD, "input#0:r 0.weight:r > mm#0.0:wa", is_matmul=True),
    _Operator("aten.relu.default", "1", Phase.FORWARD, "mm#0.0:r > relu#1.0:wa"),
    _Operator("aten.mse_loss.default", "", Phase.LOSS, "relu#1.0:r input#1:r > mse_loss#2.0:wa"),
    _Operator(
        "aten.mse_loss_backward.default",
        "",
        Phase.BACKWARD,
        "relu#1.0:r input#1:r > mse_loss_backward#3.0:wa",
    ),
    _Operator(
        "aten.threshold_backward.default",
        "1",
        Phase.BACKWARD,
        "mse_loss_backward#3.0:r relu#1.0:r > threshold_backward#4.0:wa",
    ),
    _Operator("aten.t.default", "0", Phase.BACKWARD, "input#0: > input#0:t", is_view=True),
    _Operator(
        "aten.mm.default",
        "0",
        Phase.BACKWARD,
        "input#0:rt threshold_backward#4.0:r > grad:0.weight:wa",
        is_matmul=True,
    ),
    _Operator(
        "aten.mul_.Tensor",
        "",
        Phase.OPTIMIZER,
        "state:0.weight.momentum_buffer:rw > state:0.weight.momentum_buffer:",
    ),
    _Operator(
        "aten.add_.Tensor",
        "",
        Phase.OPTIMIZER,
        "state:0.weight.momentum_buffer:rw grad:0.weight:r > state:0.weight.momentum_buffer:",
    ),
    _Operator(
        "aten.add_.Tensor",
        "",
        Phase.OPTIMIZER,
        "0.weight:rw state:0.weight.momentum_buffer:r > 0.weight:",
    ),
)


def example_trace() -> Trace:
    """Return the ten-operator trace drawn at the top of this file; nothing is captured, no torch imported.

    >>> trace = example_trace()
    >>> trace.operators.name[6], trace.footprint_bytes
    ('aten.mm.default', 28676)
    """
    return Trace(
        model="example",
        samples=_SIDE,
        options={"dtype": "fp32", "optimizer": "sgd"},
        storages=_storages(),
        operators=_operators(),
        operands=_operands(),
    )


def _storages() -> Storages:
    return Storages(
        name=tuple(s.name for s in _STORAGES),
        bytes=np.array([s.bytes for s in _STORAGES], np.int64),
        dtype=("float32",) * len(_STORAGES),
        role=np.array([s.role for s in _STORAGES], np.int8),
        persistent=np.array([(s.birth_op, s.death_op) == (0, _END) for s in _STORAGES], np.bool_),
        birth_op=np.array([s.birth_op for s in _STORAGES], np.int32),
        death_op=np.array([s.death_op for s in _STORAGES], np.int32),
        module=tuple(s.module for s in _STORAGES),
    )


def _operators() -> Operators:
    side = np.array([_SIDE if op.is_matmul else 0 for op in _OPERATORS], np.int64)
    return Operators(
        name=tuple(op.name for op in _OPERATORS),
        module=tuple(op.module for op in _OPERATORS),
        phase=np.array([op.phase for op in _OPERATORS], np.int8),
        flops=2 * side**3,
        batch=np.minimum(side, 1),
        m=side,
        n=side.copy(),
        k=side.copy(),
        is_view=np.array([op.is_view for op in _OPERATORS], np.bool_),
        is_pointwise=np.array([_is_pointwise(op.name) for op in _OPERATORS], np.bool_),
        is_random=np.zeros(len(_OPERATORS), np.bool_),
    )


def _is_pointwise(name: str) -> bool:
    return name.split(".")[1] in {"relu", "threshold_backward", "mul_", "add_"}


def _operands() -> Operands:
    index = {storage.name: row for row, storage in enumerate(_STORAGES)}
    rows: list[OperandRow] = []
    for t, operator in enumerate(_OPERATORS):
        position = 0
        for word in operator.operands.split():
            if word == ">":
                position = Operands.RESULT
                continue
            name, _, flags = word.rpartition(":")
            rows.append(_row(t, position, index[name], flags))
            position += 1
    return operands_from_rows(rows)


def _row(t: int, position: int, storage: int, flags: str) -> OperandRow:
    size = _STORAGES[storage].bytes
    shape, stride = ((), ()) if size == 4 else ((_SIDE, _SIDE), (1, _SIDE) if "t" in flags else (_SIDE, 1))
    return OperandRow(
        t, position, 0, storage, "r" in flags, "w" in flags, "a" in flags, 0, size, 4, shape, stride
    )
