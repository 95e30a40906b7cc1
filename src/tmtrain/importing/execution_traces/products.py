"""FLOPs and matrix dimensions of a call that somebody wrote down; the formulas are those of `tmtrain.counting`."""

from collections.abc import Sequence
from typing import Any

from tmtrain.counting import NO_WORK, OperatorCall, OperatorWork, count_work, has_formula
from tmtrain.importing.execution_traces.node import EtNode, TensorUse

_MOST = 1 << 62
"""What a column of a trace holds."""


def work_of_node(node: EtNode) -> OperatorWork:
    """Return the work of one operator; `NO_WORK` where it has no schema, no formula, or sizes that nothing has.

    >>> use = dict(item=0, storage=1, offset_bytes=0, itemsize=4, dtype="float32", stride=())
    >>> a, b = TensorUse(position=0, shape=(3, 5), **use), TensorUse(position=1, shape=(5, 7), **use)
    >>> result = TensorUse(position=0, shape=(3, 7), **use)
    >>> from tmtrain.importing.execution_traces.aten import parse_schema
    >>> schema = parse_schema("aten::mm(Tensor self, Tensor mat2) -> Tensor")
    >>> call = dict(id=1, name=schema.name, phase=1, schema=schema, duration_s=None)
    >>> work_of_node(EtNode(arguments=(a, b), results=(result,), **call)).flops
    210
    """
    if node.schema is None or not has_formula(node.schema.base):
        return NO_WORK
    results = {use.position: use.shape for use in node.results if use.item == 0}
    work = count_work(
        OperatorCall(
            name=node.schema.base,
            arguments=_arguments(node.values, node.arguments, count=len(node.schema.written)),
            results=[results.get(position) for position in range(1 + max(results, default=-1))],
        )
    )
    return work if max(work) < _MOST else NO_WORK


def _arguments(values: Sequence[Any], uses: Sequence[TensorUse], *, count: int) -> list[Any]:
    """By position: shapes for tensors, lists of shapes for lists of tensors, None for tensors left out, else the value."""
    # A copy of each list: the node keeps its own.
    arguments: list[Any] = [list(value) if isinstance(value, list) else value for value in values]
    arguments += [None] * (count - len(arguments))
    for use in uses:
        if arguments[use.position] is None:
            arguments[use.position] = use.shape
        else:
            arguments[use.position].append(use.shape)
    return arguments
