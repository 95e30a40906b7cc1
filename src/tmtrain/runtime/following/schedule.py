"""A plan as what the tier is told: before which operator which bytes of which storage are saved, leave, and are fetched."""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

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
"""Of storages, by operator."""


@dataclass(frozen=True, kw_only=True)
class OperatorSchedule:
    """What happens in each step; what is due in the next one runs on."""

    saves: Moves
    """Written early, and kept."""
    leaves: Moves
    fetches: Moves
    producers: frozenset[int]
    """Operators that may run again: their calls are recorded."""
    discards: Names
    """What is discarded after an operator."""
    recomputes: Names
    """What is recomputed before an operator."""

    @cached_property
    def busy(self) -> frozenset[int]:
        """Operators before which something is to be done: few, so that all others need to ask once only."""
        return frozenset((*self.leaves, *self.saves, *self.fetches, *self.recomputes))


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
    longer_step = insert_recomputations(timeline, plan.recomputations, machine=machine)
    clock = _OperatorClock(slice_ops=_operators_before(longer_step, timeline), num_operators=num_operators)
    saves, leaves, fetches = _scheduled_moves(plan, longer_step, clock=clock, names=names)
    producers, discards, recomputes = _fates_of_recomputations(plan, timeline, names)
    return OperatorSchedule(
        saves=saves,
        leaves=leaves,
        fetches=fetches,
        producers=producers,
        discards=discards,
        recomputes=recomputes,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _OperatorClock:
    """Turns slices of the step with recomputations into operators of the step that runs."""

    slice_ops: NDArray[np.int64]
    num_operators: int

    def at(self, position: int) -> int:
        """Return the operator of a slice, both counted on into the next step."""
        steps, t = divmod(position, len(self.slice_ops))
        return steps * self.num_operators + int(self.slice_ops[t])


def _operators_before(longer_step: Timeline, timeline: Timeline) -> NDArray[np.int64]:
    """Return the operator at each slice of the longer step; at a recomputation, the one that it runs before."""
    positions = positions_of_slices(longer_step, of=timeline)
    next_slice = np.searchsorted(positions, np.arange(len(longer_step.slices)))
    return timeline.slices.op[next_slice].astype(np.int64)


def _scheduled_moves(
    plan: Plan, longer_step: Timeline, *, clock: _OperatorClock, names: Sequence[str]
) -> tuple[Moves, Moves, Moves]:
    """Return what is saved, leaves and is fetched before each operator."""
    moves, page, extents = plan.transfers, longer_step.page_bytes, longer_step.extents
    saves: dict[int, list[ScheduledMove]] = defaultdict(list)
    leaves: dict[int, list[ScheduledMove]] = defaultdict(list)
    fetches: dict[int, list[ScheduledMove]] = defaultdict(list)
    spans = zip(moves.extent.tolist(), moves.first_page.tolist(), moves.pages.tolist(), strict=True)
    out = zip(
        moves.write_slice.tolist(), moves.written_slice.tolist(), moves.leave_slice.tolist(), strict=True
    )
    back = zip(moves.fetch_slice.tolist(), moves.return_slice.tolist(), strict=True)
    for (extent, page_in_extent, pages), out_slices, back_slices in zip(spans, out, back, strict=True):
        first = (int(extents.first_page[extent]) + page_in_extent) * page
        storage, end = names[int(extents.storage[extent])], first + pages * page
        write, written, leave = map(clock.at, out_slices)
        fetch, needed = map(clock.at, back_slices)
        # A page is told to leave when the plan says so, and goes once it is written: the deadline of both is the same.
        for kind, begin, until in (
            (saves, write, written),
            (leaves, leave, written),
            (fetches, fetch, needed),
        ):
            move = ScheduledMove(storage=storage, first_byte=first, end_byte=end, due=max(until - begin, 0))
            kind[begin % clock.num_operators].append(move)
    for kind in (saves, leaves, fetches):
        for begun_together in kind.values():
            begun_together.sort(key=lambda move: move.due)
    return saves, leaves, fetches


def _fates_of_recomputations(
    plan: Plan, timeline: Timeline, names: Sequence[str]
) -> tuple[frozenset[int], Names, Names]:
    """Return the operators that run again, and what the program still holds of their results: when it goes and comes."""
    producers, slices = timeline.producers, timeline.slices
    uses = _uses(timeline)
    producer_ops: set[int] = set()
    discards: dict[int, list[str]] = defaultdict(list)
    recomputes: dict[int, list[str]] = defaultdict(list)
    recomputations = zip(
        plan.recomputations.producer.tolist(), plan.recomputations.before_slice.tolist(), strict=True
    )
    for producer, t in recomputations:
        first, end = int(producers.op_ptr[producer]), int(producers.op_ptr[producer + 1])
        producer_ops.update(producers.op[first:end].tolist())
        touches = slice(int(producers.touch_ptr[first]), int(producers.touch_ptr[end]))
        writes = producers.touch_writes[touches]
        results: list[int] = np.unique(producers.touch_storage[touches][writes]).tolist()
        for storage in results:
            # Between its uses only: one that nobody uses before or after has no content to lose.
            at = bisect_left(uses[storage], t)
            if 0 < at < len(uses[storage]):
                discards[int(slices.op[uses[storage][at - 1]])].append(names[storage])
                recomputes[int(slices.op[t])].append(names[storage])
    return frozenset(producer_ops), discards, recomputes


def _uses(timeline: Timeline) -> Mapping[int, Sequence[int]]:
    """Return the slices that touch each storage, in order."""
    uses: dict[int, list[int]] = defaultdict(list)
    accesses = timeline.accesses
    storages = timeline.extents.storage[accesses.extent].tolist()
    for storage, t in zip(storages, slice_of_access(timeline).tolist(), strict=True):
        if not uses[storage] or uses[storage][-1] != t:
            uses[storage].append(t)
    return uses
