"""Which of the steps in an execution trace is taken, and how the others differ."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from tmtrain.errors import InputError
from tmtrain.importing.execution_traces.marks import StepMarks
from tmtrain.importing.execution_traces.node import EtNode

_MOST_NAMED = 3
"""Steps, and operators of a step, that a note names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenStep:
    """The operators of one step."""

    nodes: tuple[EtNode, ...]
    note: str | None = None
    """Which step of several it is, and why; None where the file has one."""


@dataclass(frozen=True, kw_only=True)
class _Step:
    """One of several."""

    number: int
    """From 1."""
    nodes: tuple[EtNode, ...]
    is_whole: bool

    @cached_property  # compared with that of every other step
    def signature(self) -> list[tuple[object, ...]]:
        """What must be alike in steps that repeat each other."""
        return [
            (node.name, node.phase, *(use.shape for use in (*node.arguments, *node.results)))
            for node in self.nodes
        ]


def choose_step(nodes: Sequence[EtNode], marks: StepMarks, *, wanted: int | None, source: str) -> ChosenStep:
    """Return the step `wanted`, else the last whole one that repeats another, else the last whole one.

    Raises:
        InputError: there is no step `wanted`.
    """
    steps = _cut(nodes, marks)
    if wanted is not None and not 1 <= wanted <= len(steps):
        raise InputError(
            f"{source}: --step {wanted} is none of the steps in the file: choose one of 1..{len(steps)}"
        )
    chosen, why = (steps[wanted - 1], "as asked for") if wanted is not None else _steady(steps)
    rest = len(nodes) - sum(len(step.nodes) for step in steps)
    if len(steps) == 1 and rest == 0:
        return ChosenStep(nodes=chosen.nodes)
    differences = [_difference(step, chosen) for step in steps if step.signature != chosen.signature]
    parts = [f"{chosen.number} of {len(steps)} in the file, {why}", *differences[:_MOST_NAMED]]
    if len(differences) > _MOST_NAMED:
        parts.append(f"{len(differences) - _MOST_NAMED} more differ")
    if rest:
        parts.append(f"{rest:,} operators outside of whole steps are left out")
    return ChosenStep(nodes=chosen.nodes, note="; ".join(parts))


def _cut(nodes: Sequence[EtNode], marks: StepMarks) -> list[_Step]:
    """Cut operators into steps; those outside of all steps are in none."""
    rows: dict[int, list[EtNode]] = {}
    for node in nodes:
        step = marks.step_of(node.id)
        if step is not None:
            rows.setdefault(step, []).append(node)
    if not rows:  # the profiler's only mark comes last
        return [_Step(number=1, nodes=tuple(nodes), is_whole=True)]
    with_optimizer = {step for step in rows if marks.has_optimizer(step)}
    return [
        _Step(number=number, nodes=tuple(rows[step]), is_whole=not with_optimizer or step in with_optimizer)
        for number, step in enumerate(sorted(rows), start=1)
    ]


def _steady(steps: Sequence[_Step]) -> tuple[_Step, str]:
    whole = [step for step in steps if step.is_whole]
    for step in reversed(whole):
        if any(step.signature == other.signature for other in whole if other is not step):
            return step, "the last whole one that repeats another"
    why = "the only whole one" if len(whole) == 1 else "the last whole one: no two are alike"
    return whole[-1], why


def _difference(step: _Step, chosen: _Step) -> str:
    """Say how `step` differs from the chosen one."""
    begin = f"step {step.number}{'' if step.is_whole else ' is cut off and'} has"
    ours, theirs = (Counter(node.name for node in one.nodes) for one in (chosen, step))
    changes = {name: theirs[name] - ours[name] for name in ours | theirs if theirs[name] != ours[name]}
    if not changes:
        at = next(
            i
            for i, pair in enumerate(zip(step.signature, chosen.signature, strict=True))
            if pair[0] != pair[1]
        )
        return f"{begin} another order or other shapes, from operator {at} ({step.nodes[at].name}) on"
    largest = sorted(changes, key=lambda name: -abs(changes[name]))[:_MOST_NAMED]
    named = ", ".join(f"{changes[name]:+,} {name}" for name in largest)
    return f"{begin} {len(step.nodes):,} operators instead of {len(chosen.nodes):,} ({named})"
