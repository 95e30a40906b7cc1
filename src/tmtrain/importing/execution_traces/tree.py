"""The calls of an execution trace as a tree.

Note [Calls that threw]: The observer writes a call down when it returns. One that throws is never written, and stays on top
of the observer's stack, so what comes later seems to be inside of it. Non-reentrant checkpointing ends each recomputation
by throwing. Two traces of it are repaired:

* A call whose parent is not there (it threw, or a converter pruned it) is in backward if the call before its parent is.
* Autograd evaluates functions one after the other. One that lies directly inside another began after that had ended, and so
  did all later calls that seem to be directly inside it.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tmtrain.errors import FileFormatError
from tmtrain.importing.execution_traces.aten import OpSchema
from tmtrain.importing.execution_traces.communication import Communication
from tmtrain.importing.execution_traces.node import TensorUse

EVALUATES = "autograd::engine::evaluate_function"
"""How the calls of autograd's engine begin."""


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
    is_compiled: bool = False
    """A kernel that a compiler made: it has no schema, and writes its results into arguments."""
    thread: int = 0
    """Of the host."""
    communication: Communication | None = None
    """What a note about communication says."""

    @property
    def is_backward(self) -> bool:
        """Whether it is a call of autograd's engine."""
        return self.name.startswith(EVALUATES)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallTree:
    """Calls by number, in order, and who is in whom."""

    calls: dict[int, NestedCall]
    parents: dict[int, int]
    """Of those that are in a call."""
    children: dict[int, list[int]] = field(default_factory=dict[int, list[int]])
    orphans: dict[int, int] = field(default_factory=dict[int, int])
    """Calls whose parent is not there: the number of the call before that parent."""

    def descend(self, number: int) -> Iterator[NestedCall]:
        """Yield a call and all that are in it, in order."""
        stack = [number]
        while stack:
            at = stack.pop()
            yield self.calls[at]
            stack += reversed(self.children.get(at, ()))

    def roots(self) -> list[int]:
        """Return the calls that are in none."""
        return [number for number in self.calls if number not in self.parents]


def make_tree(calls: Sequence[NestedCall], *, source: str) -> CallTree:
    """Return `calls` as a tree; Note [Calls that threw].

    Raises:
        FileFormatError: two calls have the same number.
    """
    by_id = {call.id: call for call in sorted(calls, key=lambda call: call.id)}
    if len(by_id) != len(calls):
        twin = next(call for call in calls if call is not by_id[call.id])
        raise FileFormatError(
            f"{source}, node {twin.id} ({twin.name}), field 'id': two nodes have the same one",
            path=source,
            field="id",
        )
    tree = CallTree(calls=by_id, parents={})
    ended: set[int] = set()
    before: list[int] = []
    for number, call in by_id.items():
        _hang(tree, call, ended, before)
        before.append(number)
    return tree


def _hang(tree: CallTree, call: NestedCall, ended: set[int], before: list[int]) -> None:
    """Hang a call below its parent; `before` are the numbers of all calls that began before it."""
    parent = call.parent
    if parent is None or parent >= call.id:
        return
    if parent not in tree.calls:
        earlier = bisect_left(before, parent)
        if earlier > 0:
            tree.orphans[call.id] = before[earlier - 1]
        return
    if call.is_backward and tree.calls[parent].is_backward:
        ended.add(parent)
    while parent is not None and parent in ended:
        parent = tree.parents.get(parent)
    if parent is not None:
        tree.parents[call.id] = parent
        tree.children.setdefault(parent, []).append(call.id)
