"""Dead content that the program still holds: gradients between ``optimizer.step()`` and ``zero_grad()``, for one.

The plan takes its room as free. The run must not: the step might turn out to be another one, which reads it. So where what
the plan needs at once leaves no room for it, it is written, and nobody ever reads it back. What was read from the drive and
not written to since is on the drive already, and leaves for nothing. What the plan fetches ahead waits for the program to
let go of such content, where that happens before the fetch is due.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.following.recorded_step import RecordedStep
from tmtrain.runtime.following.schedule import Moves

Fetches = Mapping[int, Sequence[tuple[int, int]]]
"""By the operator that they begin before: the operator that needs them, and bytes."""


def held_bytes_out(planned_step: PlannedStep, *, taken_bytes: NDArray[np.int64]) -> int:
    """Return what a step writes of such content, while its plan is followed.

    Args:
        planned_step: The step as it ran, and its plan.
        taken_bytes: Of fast memory by the plan in each slice of the step, transfers under way included, shape (T,).
    """
    timeline, recorded = planned_step.timeline, planned_step.recorded
    taken = np.zeros(recorded.num_operators, np.int64)
    np.maximum.at(taken, timeline.slices.op, taken_bytes)
    return squeezed_out(
        taken.tolist(),
        capacity=timeline.fast_bytes,
        fetches=_fetches(planned_step.schedule.fetches, recorded.num_operators),
        dies=_dies(recorded, planned_step.schedule.fetches),
        deaths=recorded.deaths,
    )


def squeezed_out(
    taken: Sequence[int],
    *,
    capacity: int,
    fetches: Fetches,
    dies: Mapping[int, Mapping[str, int]],
    deaths: Mapping[str, int],
) -> int:
    """Return the bytes that find no room, the oldest first, and once only.

    Args:
        taken: By what the plan has in memory while each operator runs, what it has fetched ahead included.
        capacity: Of memory.
        fetches: What it fetches ahead.
        dies: Bytes of what is of no use any more after an operator and not on the drive either, by name.
        deaths: The operator before which the program lets go of each of them.

    >>> dead = {"dies": {0: {"a": 3}, 1: {"b": 4}}, "deaths": {"a": 3, "b": 3}}
    >>> squeezed_out([0, 5, 4, 9], capacity=9, fetches={}, **dead)
    2
    >>> squeezed_out([0, 5, 4, 9], capacity=9, fetches={1: [(4, 3)]}, **dead)  # needed at 4, it waits until 3
    0
    """
    present: dict[str, int] = {}
    ahead: list[tuple[int, int]] = []
    written = 0
    for op, bytes_taken in enumerate(taken):
        # What the program has let go of before this operator has left its room for nothing.
        present = {name: size for name, size in present.items() if size and deaths[name] > op}
        ahead = sorted([fetch for fetch in ahead if fetch[0] > op] + list(fetches.get(op, ())))
        total, latest = sum(present.values()), max(map(deaths.__getitem__, present), default=0)
        # What is fetched ahead is counted in `taken`, but it can wait. So the operator's own needs come first (due now),
        # then each fetch on top of those that are due before it.
        short = total + max(0, bytes_taken - sum(size for _, size in ahead)) - capacity
        for due, size in ((op, 0), *ahead):
            short += size
            if due > latest:
                break  # by then the program has let go of everything: this fetch and later ones wait for that
            for name in present if short > 0 else ():
                # The oldest first. What the program lets go of before the fetch is due is waited for, not written.
                goes = max(0, min(short, present[name])) if deaths[name] >= due else 0
                present[name] -= goes
                written += goes
                short -= goes
        # Only from the next operator on: this one has used it.
        present |= dies.get(op, {})
    return written


def _fetches(moves: Moves, num_operators: int) -> Fetches:
    """Return the fetches of a step, those that the one before has begun among them."""
    fetches: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for begin, begun_together in moves.items():
        for move in begun_together:
            due, size = begin + move.due, move.end_byte - move.first_byte
            fetches[begin].append((due, size))
            if due > num_operators:  # every step is like this one, so the one before has begun it too
                fetches[0].append((due - num_operators, size))
    return fetches


def _dies(recorded: RecordedStep, moves: Moves) -> Mapping[int, Mapping[str, int]]:
    """Return what the program holds on to, in bytes that are not on the drive too, by the last operator that uses it."""
    storages = recorded.trace.storages
    read = _read_unchanged(recorded, moves)
    dies: dict[int, dict[str, int]] = defaultdict(dict)
    for name, size in zip(storages.name, storages.bytes.tolist(), strict=True):
        uses = recorded.uses.get(name, ())
        if uses and name not in recorded.remains and recorded.deaths[name] > uses[-1] + 1:
            dies[uses[-1]][name] = max(0, size - read.get(name, 0))
    return dies


def _read_unchanged(recorded: RecordedStep, moves: Moves) -> Mapping[str, int]:
    """Return the bytes of each storage that are fetched after the last operator that writes to it."""
    storages, operands = recorded.trace.storages, recorded.trace.operands
    written = np.zeros(len(storages), np.int64)
    np.maximum.at(written, operands.storage[operands.writes], operands.op[operands.writes])
    last_write = dict(zip(storages.name, written.tolist(), strict=True))
    read: dict[str, int] = defaultdict(int)
    for begin, begun_together in moves.items():
        for move in begun_together:
            if begin > last_write[move.storage]:
                read[move.storage] += move.end_byte - move.first_byte
    return read
