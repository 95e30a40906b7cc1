"""From nested calls to the operators of the step: the outermost ones that do not merely call others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tmtrain.errors import FileFormatError
from tmtrain.importing.execution_traces.aten import OpSchema, is_kind
from tmtrain.importing.execution_traces.node import EtNode, TensorUse
from tmtrain.trace import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedCall:
    """One call of an execution trace."""

    id: int
    """Calls are numbered as they begin, so a call has a larger number than the one it is in."""
    name: str
    parent: int | None
    """Number of the call that it is in; None, no call's, or not a smaller one: it is in none."""
    schema: OpSchema | None
    arguments: tuple[TensorUse, ...]
    results: tuple[TensorUse, ...]
    duration_s: float | None = None
    values: tuple[Any, ...] = ()
    """As `EtNode.values`."""
    is_kernel: bool = False
    """Runs on the accelerator, for the call that it is in: only its time counts."""


def operators_of(calls: Sequence[NestedCall], *, source: str) -> list[EtNode]:
    """Return the operators among `calls`, in order.

    Backward is what autograd's engine calls, the optimizer is what ``Optimizer.step`` calls; all else is forward, or before
    it.

    Raises:
        FileFormatError: two calls have the same number, or there is no operator with tensors.
    """
    by_id = {call.id: call for call in calls}
    if len(by_id) != len(calls):
        raise FileFormatError(f"{source}, field 'id': two nodes have the same one", path=source, field="id")
    children: dict[int, list[int]] = {number: [] for number in by_id}
    roots: list[int] = []
    for number in sorted(by_id):
        parent = by_id[number].parent
        if parent is not None and parent in by_id and parent < number:
            children[parent].append(number)
        else:
            roots.append(number)
    operators: list[EtNode] = []
    stack = [(number, Phase.FORWARD) for number in reversed(roots)]
    first_step = min((call.id for call in calls if call.name.startswith("Optimizer.step")), default=None)
    # A stack instead of recursion: calls of a long step nest deeper than Python does. Children are pushed in reverse,
    # so that they are met in order.
    while stack:
        number, above = stack.pop()
        call = by_id[number]
        phase = _phase(call, above, first_step)
        # An operator that only calls others moves no bytes of its own, and what it calls is in the trace too.
        if call.schema is None or is_kind(call.schema.name, "composite"):
            stack += [(child, phase) for child in reversed(children[number])]
        elif call.arguments or call.results:
            operators.append(_operator(call, phase, _seconds(number, by_id, children)))
    if not operators:
        raise FileFormatError(
            f"{source}: no call of an operator with tensors: start the observer before the step", path=source
        )
    # Backward may run in a thread of its own, whose calls are a tree of their own: order is by number, not by tree.
    return sorted(operators, key=lambda node: node.id)


def _phase(call: NestedCall, above: Phase, first_step: int | None) -> Phase:
    if call.name.startswith("autograd::engine::evaluate_function"):
        return Phase.BACKWARD
    if call.name.startswith("Optimizer.step"):
        return Phase.OPTIMIZER
    if call.name.startswith("Optimizer.zero_grad"):
        # Before the optimizer steps it prepares this step, afterwards it ends it.
        return Phase.OPTIMIZER if first_step is not None and call.id > first_step else Phase.DATA
    return above


def _operator(call: NestedCall, phase: Phase, seconds: float | None) -> EtNode:
    assert call.schema is not None
    return EtNode(
        id=call.id,
        name=call.schema.name,
        phase=phase,
        schema=call.schema,
        arguments=call.arguments,
        results=call.results,
        duration_s=seconds,
        values=call.values,
    )


def _seconds(number: int, calls: dict[int, NestedCall], children: dict[int, list[int]]) -> float | None:
    """Seconds of the kernels below a call; of the call itself where there are none."""
    below, seconds, has_kernel = [number], 0.0, False
    while below:
        call = calls[below.pop()]
        below += children[call.id]
        if call.is_kernel:
            has_kernel, seconds = True, seconds + (call.duration_s or 0.0)
    return seconds if has_kernel else calls[number].duration_s
