"""A Stream: the operators of a real step, in the storages that can move.

Storages go by their names in the trace, which are the same in every step: those of parameters, gradients and optimizer
state are the user's, any other is named after the operator that makes it ("mm#12.0"). So a storage is recognised again
although its address is another one in each step, and two streams that begin alike name alike what they have made so far.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tmtrain.capturing.cycle import close_cycle
from tmtrain.capturing.recorder import Recording
from tmtrain.capturing.session import CaptureSession
from tmtrain.runtime.following.fingerprint import START, mixed
from tmtrain.runtime.following.movable import movable_part
from tmtrain.runtime.following.step_log import StepLog
from tmtrain.trace import Trace

Place = tuple[int, int]
"""An operator, and an index among the storages that it makes or meets."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordedStep:
    """One steady step as it ran."""

    trace: Trace
    """Of what can move, with the seconds that operators took."""
    fingerprints: Mapping[int, int]
    """When each operator comes; views have none."""
    uses: Mapping[str, Sequence[int]]
    """Operators that touch a storage, in order."""
    deaths: Mapping[str, int]
    """Operator before which the program gives up a storage."""
    made: Mapping[Place, str]
    met: Mapping[Place, str]
    """From outside, such as a batch: by the operator that touches it first, and index among the strangers there."""
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
        place = bisect_right(uses, after)
        if place < len(uses):
            return uses[place]
        return uses[0] + self.num_operators if uses and storage in self.remains else None


def stream_of(session: CaptureSession, log: StepLog) -> tuple[RecordedStep, dict[int, str]]:
    """Return the stream of a step that was captured and logged, and the names of the storages alive now, by key."""
    cycle = close_cycle(session.recording)
    row_of = {number: row for row, entry in enumerate(cycle) for number in entry.numbers}
    rows = sorted({row_of[number] for number in log.movable if number in row_of})
    names = session.trace.storages.name
    name_of = {number: names[row] for number, row in row_of.items() if row in set(rows)}
    trace = movable_part(session.trace, rows=rows, seconds=log.seconds)
    uses: dict[str, list[int]] = defaultdict(list)
    fingerprints: dict[int, int] = {}
    before = START
    for use in log.uses:
        touched = frozenset(name_of[number] for number in use.numbers if number in name_of)
        before = mixed(before, name=use.name, storages=touched, makes_bytes=use.makes_bytes)
        fingerprints[use.op] = before
        for name in touched:
            uses[name].append(use.op)
    s = trace.storages
    recorded = RecordedStep(
        trace=trace,
        fingerprints=fingerprints,
        uses=uses,
        deaths=dict(zip(trace.storages.name, trace.storages.death_op.tolist(), strict=True)),
        made=_named(log.made_numbers, name_of),
        met=_named(_strangers(session.recording, log), name_of),
        remains=frozenset(
            name
            for name, persistent, wraps in zip(s.name, s.persistent, s.death_op <= s.birth_op, strict=True)
            if persistent or wraps
        ),
        outlived={names[row - 1]: names[row] for row in rows if cycle[row].suffix},
    )
    return recorded, {key: name_of[number] for key, number in session.living.items() if number in name_of}


def _strangers(recording: Recording, log: StepLog) -> dict[Place, int]:
    """Return what was there before the step and is nobody's: the next step may bring another one."""
    seen: set[int] = set()
    found: dict[Place, int] = {}
    for use in log.uses:
        new = [number for number in use.numbers if number not in seen]
        seen.update(new)
        strangers = [n for n in new if recording.storages[n].existed and n not in recording.owners]
        found |= {(use.op, index): number for index, number in enumerate(strangers)}
    return found


def _named(numbers: Mapping[Place, int], name_of: Mapping[int, str]) -> dict[Place, str]:
    return {place: name_of[number] for place, number in numbers.items() if number in name_of}
