"""Measured times in place of the model's, where a machine has them: `tmtrain.machine.calibration`."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.machine import Calibration
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
        found = calibration.find(trace.operators.name[op], shapes)
        if found is not None and not trace.operators.is_view[op]:
            seconds[op] = found
    return seconds


def _shapes_read(trace: Trace) -> list[str]:
    """Return the shapes of what each operator reads, as a table of measured times has them."""
    read: list[list[str]] = [[] for _ in range(len(trace.operators))]
    for row in np.flatnonzero(trace.operands.reads).tolist():
        sizes = trace.operands.shape[row]
        read[int(trace.operands.op[row])].append("x".join(map(str, sizes)) or "scalar")
    return [";".join(shapes) for shapes in read]
