"""The step closed to a cycle: which storages are rows of the trace, and when each is alive.

Note [Closing the cycle]: a step is steady when it leaves what was there before it. A storage that was there at
the start and died in the step (the gradient that ``zero_grad`` frees, the last loss) belongs to the step before.
This step allocated its successor and left it alive. The two are one row, which wraps round the end of the step.
They are matched by name where model or optimizer own them, else by size and dtype, in order. Where the old one
dies after the new one is born, both keep a row (the old one as ``NAME@previous``). That the bytes of the one
become those of the other is then lost.
"""

import dataclasses
from collections import defaultdict
from dataclasses import dataclass

from tmtrain.capturing.recorder import Recording
from tmtrain.errors import CaptureError
from tmtrain.trace import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleRow:
    """One row of the storage table to be."""

    numbers: tuple[int, ...]
    """Storages of the recording whose operands are this row's."""
    named_after: int
    """The storage that gives name, role and size."""
    birth_op: int
    death_op: int
    persistent: bool
    suffix: str = ""
    """Ends the name."""


def close_cycle(recording: Recording) -> list[CycleRow]:
    """Return the rows: what is owned first, then the rest in the order in which the step meets it.

    What was there, was not used and did not give way to a successor is not part of the step.

    Raises:
        CaptureError: the step leaves optimizer state or gradients that were not there before it.
    """
    predecessors = _predecessors(recording)
    _check_steady(recording, predecessors)
    replaced = set(predecessors.values())
    # Owned ones are in the step even where no operator touches them: they take up memory all the same. Of the
    # rest (other tensors of the process were entered too) only those that an operator touched.
    order = dict.fromkeys(number for number in recording.owners if recording.storages[number].existed)
    order |= dict.fromkeys(operand.storage for operand in recording.operands)
    rows: list[CycleRow] = []
    for number in order:
        if number not in replaced:
            rows += _rows_of(recording, number, predecessors.get(number))
    return rows


def _predecessors(recording: Recording) -> dict[int, int]:
    """Return, for storages that the step left alive, the one of the step before that they replace."""
    waiting: dict[tuple[object, ...], list[int]] = defaultdict(list)
    records = recording.storages
    dying = [(r.death_op, n) for n, r in enumerate(records) if r.existed and r.death_op is not None]
    # Nothing tells storages of one size and dtype apart: the first to die is taken to be the first that was born.
    for _, number in sorted(dying):
        waiting[_likeness(recording, number)].append(number)
    pairs: dict[int, int] = {}
    for number, record in enumerate(records):
        if not record.existed and record.death_op is None:
            candidates = waiting[_likeness(recording, number)]
            if candidates:
                pairs[number] = candidates.pop(0)
    return pairs


def _likeness(recording: Recording, number: int) -> tuple[object, ...]:
    owned, record = recording.owners.get(number), recording.storages[number]
    return (owned.name,) if owned is not None else (record.bytes, record.dtype)


def _check_steady(recording: Recording, predecessors: dict[int, int]) -> None:
    for number, owned in recording.owners.items():
        record = recording.storages[number]
        new = not record.existed and record.death_op is None and number not in predecessors
        if not new:
            continue
        if owned.role is Role.OPTIMIZER_STATE:
            raise CaptureError(
                f"the optimizer made {owned.name!r} in this step, so it is not the steady one: run one step"
                " before the captured one",
                tensor=owned.name,
            )
        if owned.role is Role.GRADIENT:
            raise CaptureError(
                f"the step leaves {owned.name!r}, which was not there before it, so it is not the steady one: run"
                " one step before the captured one, and call zero_grad() inside the `with` block",
                tensor=owned.name,
            )


def _rows_of(recording: Recording, number: int, predecessor: int | None) -> list[CycleRow]:
    record = recording.storages[number]
    end = len(recording.operators)
    row = CycleRow(
        numbers=(number,),
        named_after=number,
        birth_op=record.birth_op,
        death_op=end if record.death_op is None else record.death_op,
        persistent=record.existed and record.death_op is None,
    )
    if predecessor is None:
        # What dies before the first operator lives during none.
        return [row] if row.death_op > 0 else []
    old_death = recording.storages[predecessor].death_op
    assert old_death is not None, "a predecessor died in this step"
    if old_death <= record.birth_op:
        # One life that wraps: born here, dies early in the next step as its predecessor did in this one.
        return [dataclasses.replace(row, numbers=(number, predecessor), death_op=old_death)]
    # Both are alive at once, which one row cannot say.
    old = dataclasses.replace(row, numbers=(predecessor,), birth_op=0, death_op=old_death, suffix="@previous")
    return [row, old]
