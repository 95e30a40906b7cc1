"""Where the steps of an execution trace begin."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tmtrain.importing.execution_traces.tree import CallTree

PROFILER, OPTIMIZER, ZERO_GRAD = "ProfilerStep", "Optimizer.step", "Optimizer.zero_grad"
"""How the calls begin that torch's profiler and optimizers leave in a trace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMarks:
    """Numbers of the calls with which steps begin; what comes before the first belongs to none."""

    starts: tuple[int, ...]
    optimizers: tuple[int, ...] = ()
    """Numbers of the calls that step an optimizer."""
    end: int | None = None
    """First call after the last step, where that is known."""

    def step_of(self, number: int) -> int | None:
        """Return the step of a call, from 0; None if it is in none.

        >>> marks = StepMarks(starts=(3, 9), end=20)
        >>> marks.step_of(2), marks.step_of(8), marks.step_of(9), marks.step_of(20)
        (None, 0, 1, None)
        """
        if self.end is not None and number >= self.end:
            return None
        step = bisect_right(self.starts, number) - 1
        return step if step >= 0 else None

    def is_after_optimizer(self, number: int) -> bool:
        """Whether an optimizer has stepped before call `number` in its step."""
        step = self.step_of(number)
        return any(at < number and self.step_of(at) == step for at in self.optimizers)

    def has_optimizer(self, step: int) -> bool:
        """Whether an optimizer steps in `step`."""
        return any(self.step_of(at) == step for at in self.optimizers)


def find_marks(tree: CallTree) -> StepMarks:
    """Find the steps of a trace.

    The profiler's marks say where each turn of the user's loop begins. Without them a step ends with the optimizer: the
    next one begins before an optimizer writes again what one has written in this step. So two optimizers that update
    different parameters are one step.
    """
    optimizers = tuple(number for number, call in tree.calls.items() if call.name.startswith(OPTIMIZER))
    profiled = tuple(number for number, call in tree.calls.items() if call.name.startswith(PROFILER))
    if profiled:
        return StepMarks(starts=profiled, optimizers=optimizers)
    ends = list(_ends(tree, optimizers))
    if len(ends) < 2:
        return StepMarks(starts=(0,), optimizers=optimizers)
    return StepMarks(starts=(0, *ends[:-1]), optimizers=optimizers, end=ends[-1])


def _ends(tree: CallTree, optimizers: Sequence[int]) -> Iterator[int]:
    """Yield the first call after each step."""
    zero_grads = [number for number, call in tree.calls.items() if call.name.startswith(ZERO_GRAD)]
    is_last = bool(zero_grads and optimizers) and zero_grads[0] > optimizers[0]
    written: set[int] = set()
    last: int | None = None
    for number in optimizers:
        own = _updated(tree, number)
        if last is not None and own & written:
            yield _first_after(tree, last, zero_grads if is_last else [], before=number)
            written = set()
        written |= own
        last = number
    if last is not None:
        yield _first_after(tree, last, zero_grads if is_last else [], before=None)


def _first_after(tree: CallTree, number: int, zero_grads: Sequence[int], *, before: int | None) -> int:
    """Return the number after all that is in call `number`, and in the first of `zero_grads` that follows it."""
    following = (at for at in zero_grads if at > number and (before is None or at < before))
    last = next(following, number)
    return max(call.id for call in tree.descend(last)) + 1


def _updated(tree: CallTree, number: int) -> set[int]:
    """Return the storages that an optimizer found and wrote."""
    updated: set[int] = set()
    for call in tree.descend(number):
        if call.schema is None:
            continue
        arguments = {use.storage for use in call.arguments}
        updated |= {
            use.storage
            for use in call.arguments
            if use.position < len(call.schema.written) and call.schema.written[use.position]
        }
        updated -= {use.storage for use in call.results if use.storage not in arguments}
    return updated
