"""Operators of a step whose work nobody counted."""

import numpy as np

from tmtrain.counting.formulas import is_free
from tmtrain.trace import Trace


def uncounted_operators(trace: Trace) -> dict[str, list[int]]:
    """Return the operators by name that have no FLOPs and may need some.

    An operator that works element by element, or is known to (`tmtrain.counting.is_free`), needs none; neither does one
    whose seconds the trace knows.

    >>> from tmtrain.trace import example_trace
    >>> uncounted_operators(example_trace())
    {}
    """
    o = trace.operators
    if o.duration_s is not None:
        return {}
    operators: dict[str, list[int]] = {}
    for op in np.flatnonzero((o.flops == 0) & (o.batch == 0) & ~o.is_view & ~o.is_pointwise).tolist():
        if not is_free(o.name[op]):
            operators.setdefault(o.name[op], []).append(op)
    return operators
