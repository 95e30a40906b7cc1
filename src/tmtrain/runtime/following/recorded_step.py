"""A recorded step: the operators of a real step, and the storages among theirs that can move.

Storages go by their names in the trace, which are the same in every step. Those of parameters, gradients and optimizer
state are the user's. Any other is named after the operator that allocates it ("mm#12.0"). So a storage is recognised again
although its address is another one in each step, and two steps that begin alike name alike what they have allocated so far.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tmtrain.capturing.cycle import close_cycle
from tmtrain.capturing.recorder import Recording
from tmtrain.capturing.session import CaptureSession
from tmtrain.runtime.following.fingerprint import START, Passage, PassageReader, mixed
from tmtrain.runtime.following.movable import movable_part
from tmtrain.runtime.following.step_log import StepLog
from tmtrain.trace import Trace

OperatorItem = tuple[int, int]
"""An operator, and an index among the storages that it allocates or meets first."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedStep:
    """One steady step as it ran."""

    trace: Trace
    """Of what can move, with the seconds that operators took."""
    passages: Mapping[int, Passage]
    """What each operator is; views are none."""
    fingerprints: Mapping[int, int]
    """When each of them comes."""
    uses: Mapping[str, Sequence[int]]
    """Operators that touch a storage, in order."""
    deaths: Mapping[str, int]
    """Operator before which the program gives up a storage."""
    allocated: Mapping[OperatorItem, str]
    strangers: Mapping[OperatorItem, str]
    """From outside, such as a batch: by the operator that touches them first, and index among the strangers there."""
    remains: frozenset[str]
    """Has content that the next step uses."""
    outlived: Mapping[str, str]
    """What a storage is called from the next step on that outlives the birth of its successor."""

    @property
    def num_operators(self) -> int:
        """Views included."""
        return len(self.trace.operators)

    @property
    def last_operator(self) -> int:
        """The last one that is no view."""
        return max(self.fingerprints, default=0)

    def next_use(self, storage: str, *, after: int) -> int | None:
        """Return the next operator that touches `storage`, counted on into the next step; None if its content is dead."""
        uses = self.uses.get(storage, ())
        position = bisect_right(uses, after)
        if position < len(uses):
            return uses[position]
        return uses[0] + self.num_operators if uses and storage in self.remains else None


def recorded_step_of(session: CaptureSession, log: StepLog) -> tuple[RecordedStep, dict[int, str]]:
    """Return a step that was captured and logged, and the names of the storages alive now, by key."""
    cycle = close_cycle(session.recording)
    row_of = {number: row for row, entry in enumerate(cycle) for number in entry.numbers}
    rows = sorted({row_of[number] for number in log.movable if number in row_of})
    movable = frozenset(rows)
    names = session.trace.storages.name
    name_of = {number: names[row] for number, row in row_of.items() if row in movable}
    trace = movable_part(session.trace, rows=rows, seconds=log.seconds)
    passages, uses = _walk(log, name_of)
    storages = trace.storages
    # What dies before it is born lives on into the next step.
    remains = storages.persistent | (storages.death_op <= storages.birth_op)
    recorded = RecordedStep(
        trace=trace,
        passages=passages,
        fingerprints=_fingerprints(passages),
        uses=uses,
        deaths=dict(zip(storages.name, storages.death_op.tolist(), strict=True)),
        allocated=_named(log.allocations, name_of),
        strangers=_named(_strangers(session.recording, log), name_of),
        remains=frozenset(name for name, stays in zip(storages.name, remains, strict=True) if stays),
        outlived={names[row - 1]: names[row] for row in rows if cycle[row].suffix},
    )
    return recorded, {key: name_of[number] for key, number in session.living.items() if number in name_of}


def _walk(
    log: StepLog, name_of: Mapping[int, str]
) -> tuple[dict[int, Passage], dict[str, list[int]]]:
    """Return what each operator is, and the operators that touch each storage."""
    passages: dict[int, Passage] = {}
    uses: dict[str, list[int]] = defaultdict(list)
    reader = PassageReader()
    for use in log.uses:
        touched = tuple(name_of[number] for number in use.numbers if number in name_of)
        passages[use.op] = reader.read(use.name, touched, use.makes_bytes)
        for name in touched:
            uses[name].append(use.op)
    return passages, uses


def _fingerprints(passages: Mapping[int, Passage]) -> dict[int, int]:
    before = START
    return {op: (before := mixed(before, passage)) for op, passage in passages.items()}


def _strangers(recording: Recording, log: StepLog) -> dict[OperatorItem, int]:
    """Return what no operator of the step makes and is nobody's: the next step may bring another one.

    It was there before, as a batch is, or is made past operators, as ``copy.deepcopy`` makes the memory of tensors.
    """
    storages, owners = recording.storages, recording.owners
    seen: set[int] = set()
    numbers: dict[OperatorItem, int] = {}
    for use in log.uses:
        new = [number for number in use.numbers if number not in seen]
        seen.update(new)
        strangers = [n for n in new if (storages[n].existed or not storages[n].maker) and n not in owners]
        numbers |= {(use.op, index): number for index, number in enumerate(strangers)}
    return numbers


def _named(numbers: Mapping[OperatorItem, int], name_of: Mapping[int, str]) -> dict[OperatorItem, str]:
    return {item: name_of[number] for item, number in numbers.items() if number in name_of}
