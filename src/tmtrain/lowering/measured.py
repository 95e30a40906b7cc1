"""Measured times instead of the model's, where a machine has them: `tmtrain.machine.calibration`."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.machine import Calibration, Machine
from tmtrain.trace import Trace


def measured_seconds(trace: Trace, calibration: Calibration | None) -> NDArray[np.float64]:
    """Return the measured seconds of each operator, NaN where none are, shape (operators,).

    >>> from tmtrain.trace import example_trace
    >>> table = Calibration(seconds={"relu 32x32": 3e-6})
    >>> np.flatnonzero(~np.isnan(measured_seconds(example_trace(), table))).tolist()
    [1]
    """
    seconds = np.full(len(trace.operators), np.nan)
    if calibration is None:
        return seconds
    for op, shapes in enumerate(_shapes_read(trace)):
        measured_s = calibration.find(trace.operators.name[op], shapes)
        if measured_s is not None and not trace.operators.is_view[op]:
            seconds[op] = measured_s
    return seconds


def check_measured(trace: Trace, machine: Machine, *, file: Path) -> None:
    """Refuse measured times, read from `file`, of which the step has none: they were meant for something else.

    Raises:
        InputError: no operator of the step is among them.
    """
    if np.isnan(measured_seconds(trace, machine.calibration)).all():
        raise InputError(
            f"{file}: none of its operators is in the step of {trace.model!r} with these shapes: give operators as the "
            "trace names them, and the shapes of the tensors that they read (docs/machine-format.md)"
        )


def _shapes_read(trace: Trace) -> list[str]:
    """Return the shapes of what each operator reads, as a table of measured times has them."""
    read: list[list[str]] = [[] for _ in range(len(trace.operators))]
    for row in np.flatnonzero(trace.operands.reads).tolist():
        sizes = trace.operands.shape[row]
        read[int(trace.operands.op[row])].append("x".join(map(str, sizes)) or "scalar")
    return [";".join(shapes) for shapes in read]
