"""From nested calls to operators: the outermost ones that do not merely call others, step by step."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tmtrain.errors import FileFormatError
from tmtrain.importing.execution_traces.aten import OpSchema, is_kind
from tmtrain.importing.execution_traces.communication import (
    RECORD,
    Communication,
    group_of,
    is_collective,
    kind_of,
    reads_results,
)
from tmtrain.importing.execution_traces.marks import OPTIMIZER, ZERO_GRAD, StepMarks, find_marks
from tmtrain.importing.execution_traces.node import EtNode, TensorUse, bytes_of
from tmtrain.importing.execution_traces.steps import ChosenStep, choose_step
from tmtrain.importing.execution_traces.tree import CallTree, NestedCall, make_tree
from tmtrain.trace import Phase

_UPDATES = ("_foreach_", "_fused_", "_amp_foreach_")
"""How the names of operators begin that update lists of tensors."""


def operators_of(calls: Sequence[NestedCall], *, source: str, step: int | None = None) -> ChosenStep:
    """Return the operators of one step among `calls`, in order.

    Backward is what autograd's engine calls, the optimizer is what ``Optimizer.step`` calls; all else is forward, or before
    it. Where a converter has pruned those calls, backward is what runs in another thread than the first operator, and the
    optimizer is the in-place operators on lists of tensors.

    Args:
        calls: Of the whole file.
        source: The file, for messages.
        step: Which of the steps in the file, from 1; None chooses.

    Raises:
        InputError: there is no such step.
        FileFormatError: two calls have the same number, or there is no operator with tensors.
    """
    tree = make_tree(calls, source=source)
    marks = find_marks(tree)
    operators = _Operators(tree=tree, phases=_phases(tree, marks))
    nodes = sorted(operators.all(), key=lambda node: node.id)
    if not nodes:
        raise FileFormatError(
            f"{source}: no call of an operator with tensors: start the observer before the step", path=source
        )
    # Backward may run in a thread of its own, whose calls are a tree of their own: order is by number, not by tree.
    return choose_step(nodes, marks, wanted=step, source=source)


def _phases(tree: CallTree, marks: StepMarks) -> dict[int, Phase]:
    """Return the phase of each call; those above a call come before it."""
    phases: dict[int, Phase] = {}
    guess = _Guess.of(tree, marks)
    for number, call in tree.calls.items():
        above = tree.parents.get(number, tree.orphans.get(number))
        # Nothing reaches from one step into the next: what seems to has thrown (Note [Calls that threw]).
        inherited = above is not None and marks.step_of(above) == marks.step_of(number)
        phase = phases[above] if above is not None and inherited else Phase.FORWARD
        if number in tree.orphans and phase != Phase.BACKWARD:
            phase = Phase.FORWARD
        phases[number] = guess.phase(call, _phase(call, phase, marks))
    return phases


@dataclass(frozen=True, slots=True, kw_only=True)
class _Guess:
    """Phases where the calls that say them are not in the file."""

    main_thread: int | None
    """That of forward, where backward runs in another and autograd's calls are not there."""
    has_optimizer: bool

    @classmethod
    def of(cls, tree: CallTree, marks: StepMarks) -> "_Guess":
        """Return what may be guessed in `tree`."""
        threads = [call.thread for call in tree.calls.values() if call.schema is not None]
        is_told = not threads or any(call.is_backward for call in tree.calls.values())
        return cls(main_thread=None if is_told else threads[0], has_optimizer=bool(marks.optimizers))

    def phase(self, call: NestedCall, otherwise: Phase) -> Phase:
        """Return the phase of a call."""
        if otherwise != Phase.FORWARD or call.schema is None:
            return otherwise
        if self.main_thread is not None and call.thread != self.main_thread:
            return Phase.BACKWARD
        is_update = call.schema.base.startswith(_UPDATES) and any(call.schema.written)
        return Phase.OPTIMIZER if is_update and not self.has_optimizer else Phase.FORWARD


def _phase(call: NestedCall, above: Phase, marks: StepMarks) -> Phase:
    if call.is_backward:
        return Phase.BACKWARD
    if call.name.startswith(OPTIMIZER):
        return Phase.OPTIMIZER
    if call.name.startswith(ZERO_GRAD):
        # Before the optimizer steps it prepares this step, afterwards it ends it.
        return Phase.OPTIMIZER if marks.is_after_optimizer(call.id) else Phase.DATA
    return above


@dataclass(slots=True)
class _Operators:
    """The operators of a tree of calls."""

    tree: CallTree
    phases: dict[int, Phase]
    _stack: list[int] = field(default_factory=list[int])

    def all(self) -> Iterator[EtNode]:
        """Yield them, a call before those that begin after it in its thread."""
        # A stack instead of recursion: calls of a long step nest deeper than Python does.
        self._stack = list(reversed(self.tree.roots()))
        while self._stack:
            call = self.tree.calls[self._stack.pop()]
            node = self._operator(call)
            if node is None:
                self._stack += reversed(self.tree.children.get(call.id, []))
            elif node.arguments or node.results or (node.communication and node.communication.bytes):
                yield node

    def _operator(self, call: NestedCall) -> EtNode | None:
        """Return the operator that a call is; None where it only calls others."""
        if call.is_kernel and call.id in self.tree.parents:
            return None
        if call.communication is not None or (call.schema is not None and is_collective(call.schema.name)):
            return self._communication(call)
        if call.is_compiled:
            return self._node(call, name=f"compiled.{call.name}", schema=None)
        # An operator that only calls others moves no bytes of its own, and what it calls is in the trace too.
        if call.schema is None or is_kind(call.schema.name, "composite"):
            return None
        return self._node(call, name=call.schema.name, schema=call.schema)

    def _communication(self, call: NestedCall) -> EtNode:
        """Return the operator that a collective is, with what torch noted about it further in."""
        notes = (inner.communication for inner in self.tree.descend(call.id) if inner.name == RECORD)
        note = call.communication or next((note for note in notes if note is not None), None)
        kind = (
            note.kind if note is not None else kind_of(call.schema.name.split(".")[1] if call.schema else "")
        )
        filled = set[int]() if reads_results(kind) else {use.storage for use in call.results}
        arguments = tuple(use for use in call.arguments if use.storage not in filled)
        said = Communication(
            kind=kind,
            group="unknown" if note is None else note.group,
            bytes=bytes_of(arguments or call.results) or (0 if note is None else note.bytes),
        )
        node = self._node(call, name=said.name, schema=None)
        return replace(node, arguments=arguments, communication=said)

    def _node(self, call: NestedCall, *, name: str, schema: OpSchema | None) -> EtNode:
        return EtNode(
            id=call.id,
            name=name,
            phase=self.phases[call.id],
            schema=schema,
            arguments=call.arguments,
            results=call.results,
            duration_s=self._seconds(call),
            values=call.values,
            is_compiled=call.is_compiled,
        )

    def _seconds(self, call: NestedCall) -> float | None:
        """Seconds of the kernels below a call; of the call itself where there are none."""
        below = self.tree.descend(call.id)
        kernels = [one.duration_s for one in below if one.is_kernel and one.duration_s is not None]
        return sum(kernels) if kernels else call.duration_s


def note_of(
    name: str, attributes: Mapping[str, object], values: Sequence[Any], uses: Sequence[TensorUse]
) -> Communication | None:
    """Return what torch's own note about a collective says; None where the call is none, or it only waits."""
    if name != RECORD or not uses:
        return None
    words = (value for value in values if isinstance(value, str))
    return Communication(
        kind=kind_of(attributes.get("collective_name") or next(words, "")),
        group=group_of(attributes, values),
        bytes=bytes_of(uses),
    )


def thread_of(attributes: Mapping[str, object]) -> int:
    """Return the thread that a node's attributes name; 0 where they name none.

    >>> thread_of({"tid": 2}), thread_of({})
    (2, 0)
    """
    thread = attributes.get("tid", 0)
    return thread if isinstance(thread, int) else 0
