"""A plan as what the tier is told: before which operator which part of which storage is saved, given up, fetched."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.recomputation import positions_of_slices
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.plans import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduledMove:
    """Some bytes of a storage, and when they are due."""

    storage: str
    """Its name in the trace."""
    first_byte: int
    end_byte: int
    due: int
    """Operators from the one before which it is begun to the one before which it should be done."""


Moves = Mapping[int, Sequence[ScheduledMove]]
"""By the operator of the step before which they begin; the most urgent first."""
Names = Mapping[int, Sequence[str]]
"""Storages by operator."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorSchedule:
    """What happens in each step; what is due in the next one runs on."""

    saves: Moves
    """Written early, and kept."""
    leaves: Moves
    fetches: Moves
    noted: frozenset[int]
    """Operators that may run again."""
    drops: Names
    """What is dropped after an operator."""
    recomputes: Names
    """What is recomputed before an operator."""


def schedule_of(
    plan: Plan, timeline: Timeline, *, machine: Machine, names: Sequence[str], num_operators: int
) -> OperatorSchedule:
    """Turn a plan in slices and pages into one in operators and bytes.

    Args:
        plan: To be carried out.
        timeline: The step that it was made for, its operators whole.
        machine: Of the plan.
        names: Of the step's storages.
        num_operators: Of the step.
    """
    longer = insert_recomputations(timeline, plan.recomputations, machine=machine)
    moves, page, extents = plan.transfers, longer.page_bytes, longer.extents
    before = _operators_before(longer, timeline)
    kinds: tuple[dict[int, list[ScheduledMove]], ...] = (
        defaultdict(list),
        defaultdict(list),
        defaultdict(list),
    )

    def operator(position: int) -> int:
        """Of a slice, counted on into the next step."""
        steps, place = divmod(position, len(before))
        return steps * num_operators + int(before[place])

    columns = (
        moves.extent, moves.first_page, moves.pages, moves.write_slice, moves.written_slice, moves.leave_slice,
        moves.fetch_slice, moves.return_slice,
    )  # fmt: skip
    for extent, page_in_extent, pages, *slices in zip(*(column.tolist() for column in columns), strict=True):
        write, written, leave, fetch, back = map(operator, slices)
        first = (int(extents.first_page[extent]) + page_in_extent) * page
        storage, end = names[int(extents.storage[extent])], first + pages * page
        times = ((write, written), (leave, written), (fetch, back))
        for kind, (begin, until) in zip(kinds, times, strict=True):
            move = ScheduledMove(storage=storage, first_byte=first, end_byte=end, due=max(until - begin, 0))
            kind[begin % num_operators].append(move)
    for kind in kinds:
        for moved in kind.values():
            moved.sort(key=lambda move: move.due)
    saves, leaves, fetches = kinds
    noted, drops, recomputes = _fates_of_recomputations(plan, timeline, names)
    return OperatorSchedule(
        saves=saves, leaves=leaves, fetches=fetches, noted=noted, drops=drops, recomputes=recomputes
    )


def _operators_before(longer: Timeline, timeline: Timeline) -> NDArray[np.int64]:
    """Return the operator at each slice of the step with recomputations; at a recomputation, the one that it runs before."""
    place = positions_of_slices(longer, of=timeline)
    following = np.searchsorted(place, np.arange(len(longer.slices)))
    return timeline.slices.op[following].astype(np.int64)


def _fates_of_recomputations(
    plan: Plan, timeline: Timeline, names: Sequence[str]
) -> tuple[frozenset[int], Names, Names]:
    """Return the operators that run again, and what the program still holds of their results: when it goes and comes."""
    producers, slices = timeline.producers, timeline.slices
    uses = _uses(timeline)
    noted: set[int] = set()
    drops: dict[int, list[str]] = defaultdict(list)
    recomputes: dict[int, list[str]] = defaultdict(list)
    for producer, t in zip(
        plan.recomputations.producer.tolist(), plan.recomputations.before_slice.tolist(), strict=True
    ):
        before = int(slices.op[t])
        first, end = int(producers.op_ptr[producer]), int(producers.op_ptr[producer + 1])
        noted.update(producers.op[first:end].tolist())
        touches = slice(int(producers.touch_ptr[first]), int(producers.touch_ptr[end]))
        made: list[int] = np.unique(
            producers.touch_storage[touches][producers.touch_writes[touches]]
        ).tolist()
        for storage in made:
            at = bisect_left(uses[storage], t)
            if 0 < at < len(uses[storage]):
                drops[int(slices.op[uses[storage][at - 1]])].append(names[storage])
                recomputes[before].append(names[storage])
    return frozenset(noted), drops, recomputes


def _uses(timeline: Timeline) -> Mapping[int, Sequence[int]]:
    """Return the slices that touch each storage, in order."""
    found: dict[int, list[int]] = defaultdict(list)
    accesses = timeline.accesses
    storages = timeline.extents.storage[accesses.extent].tolist()
    for storage, t in zip(storages, slice_of_access(timeline).tolist(), strict=True):
        if not found[storage] or found[storage][-1] != t:
            found[storage].append(t)
    return found
