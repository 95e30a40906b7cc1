"""Recomputation as a rewriting of the step: recomputed operators become further slices of the Timeline.

What is recomputed dies after its last use before the recomputation, and is born again in it. So nothing else has to know
about recomputation: placement, scheduling and the engine see an ordinary step. The engine's rule that what a slice reads
must be there makes sure that each recomputation finds each row that it needs.

Page runs are cut in the ratio of the rows, as those of slices are. A storage with fewer pages than rows cannot be cut.
Where it still holds its content it is left alone, else each recomputation of some of its rows touches all of it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.rewriting import (
    NewSlice,
    NewTouch,
    RepeatedSlice,
    RowsSlice,
    count_storages,
    insert_slices,
)
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputations:
    """One row per recomputation of some rows of a producer, in order of execution."""

    producer: NDArray[np.int32]
    before_slice: NDArray[np.int32]
    """Slice of the step without recomputations that it runs before; never decreases."""
    first_row: NDArray[np.int64]
    end_row: NDArray[np.int64]
    rows: NDArray[np.int64]
    """Equal parts that the rows count."""

    def __len__(self) -> int:
        return len(self.producer)


def no_recomputations() -> Recomputations:
    """Return the recomputations of a plan that only keeps and moves.

    >>> len(no_recomputations())
    0
    """
    none = np.zeros(0, np.int32)
    wide = none.astype(np.int64)
    return Recomputations(producer=none, before_slice=none, first_row=wide, end_row=wide, rows=wide)


def insert_recomputations(
    timeline: Timeline, recomputations: Recomputations, *, machine: Machine
) -> Timeline:
    """Return the step in which `recomputations` run too.

    Args:
        timeline: The step without recomputations.
        recomputations: What to recompute, when; each recomputation's inputs must be alive then, or recomputed before it.
        machine: Prices the further slices.
    """
    if not len(recomputations):
        return timeline
    script = _Script(timeline)
    columns = (
        recomputations.producer,
        recomputations.before_slice,
        recomputations.first_row,
        recomputations.end_row,
        recomputations.rows,
    )
    for producer, before, first_row, end_row, rows in zip(*(c.tolist() for c in columns), strict=True):
        script.add(producer, before=before, first_row=first_row, end_row=end_row, rows=rows)
    return insert_slices(timeline, script.slices, script.touches, machine=machine)


def positions_of_slices(longer_step: Timeline, *, of: Timeline) -> NDArray[np.int64]:
    """Return where each slice of the step `of` stands in `longer_step`, the same step with recomputations in it.

    Producers are of forward and loss, and recomputations run in backward: a slice in the phase of its operator is none.
    """
    phase = np.full(int(of.slices.op.max(initial=-1)) + 1, -1)
    phase[of.slices.op] = of.slices.phase
    return np.flatnonzero(longer_step.slices.phase == phase[longer_step.slices.op])


class _Script:
    """Writes down, recomputation by recomputation, the slices that it becomes and what they touch."""

    def __init__(self, timeline: Timeline) -> None:
        self.slices: list[NewSlice] = []
        self.touches: list[NewTouch] = []
        self._timeline = timeline
        extents, count = timeline.extents, count_storages(timeline)
        self._pages = np.zeros(count, np.int64)
        np.maximum.at(self._pages, extents.storage, extents.first_page + extents.pages)
        self._last_use = _last_uses(timeline, count)
        self._slices_of_op = _slice_ranges(timeline.slices.op)
        self._recomputed_before: dict[int, int] = {}
        """Storage -> the slice before which some of it was last recomputed."""

    def add(self, producer: int, *, before: int, first_row: int, end_row: int, rows: int) -> None:
        """Add the recomputation of rows ``[first_row, end_row)`` of `rows` of a producer."""
        op_ptr = self._timeline.producers.op_ptr
        is_whole = end_row - first_row == rows
        for entry in range(int(op_ptr[producer]), int(op_ptr[producer + 1])):
            if is_whole:
                # Slices of the step may be cut along any loop, and need less memory at once than all rows in one.
                self._repeat(entry, before)
            else:
                self._add_rows(entry, before, first_row, end_row, rows)

    def _repeat(self, entry: int, before: int) -> None:
        """Run all slices of an operator again as they are."""
        producers, accesses, extents = (
            self._timeline.producers,
            self._timeline.accesses,
            self._timeline.extents,
        )
        known = slice(int(producers.touch_ptr[entry]), int(producers.touch_ptr[entry + 1]))
        touched = set(producers.touch_storage[known].tolist())
        results = set(producers.touch_storage[known][producers.touch_writes[known]].tolist())
        for t in range(*self._slices_of_op[int(producers.op[entry])]):
            self.slices.append(RepeatedSlice(before, t))
            for row in range(int(accesses.ptr[t]), int(accesses.ptr[t + 1])):
                extent = int(accesses.extent[row])
                storage = int(extents.storage[extent])
                # Buffers that the first run kept up to date are no part of the producer: running again must not count.
                if storage not in touched:
                    continue
                first = int(extents.first_page[extent])
                # What the producer only reads, though the operator wrote it at first (statistics), it finds there.
                is_result = storage in results
                needs = bool(accesses.needs_content[row]) or not is_result
                writes = bool(accesses.writes[row]) and is_result
                self._touch(storage, first, first + int(extents.pages[extent]), needs=needs, writes=writes)

    def _add_rows(self, entry: int, before: int, first_row: int, end_row: int, rows: int) -> None:
        """Run some rows of an operator as one slice."""
        producers = self._timeline.producers
        self.slices.append(RowsSlice(before, entry, (end_row - first_row) / rows))
        for touch in range(int(producers.touch_ptr[entry]), int(producers.touch_ptr[entry + 1])):
            storage = int(producers.touch_storage[touch])
            pages = int(self._pages[storage])
            needs, writes = bool(producers.touch_reads[touch]), bool(producers.touch_writes[touch])
            if not producers.touch_follows[touch]:
                self._touch(storage, 0, pages, needs=needs, writes=writes)
            elif pages >= rows:
                first, end = pages * first_row // rows, pages * end_row // rows
                self._touch(storage, first, end, needs=needs, writes=writes)
            elif self._last_use[storage] < before:
                # Dead by now, and it cannot be cut. The first rows bring all of it into being; the rows that follow at
                # the same point must not lose what those made, so they need the content even where they only write.
                is_begun = self._recomputed_before.get(storage) == before
                self._touch(storage, 0, pages, needs=needs or is_begun, writes=writes)
            elif not writes:
                self._touch(storage, 0, pages, needs=True, writes=False)
            # Else it is a result that is still there whole: writing rows of it anew would change nothing.

    def _touch(self, storage: int, first: int, end: int, *, needs: bool, writes: bool) -> None:
        """Let the newest slice touch a run of pages."""
        if end > first:
            self.touches.append(NewTouch(len(self.slices) - 1, storage, first, end, needs, writes))
        if writes:
            self._recomputed_before[storage] = self.slices[-1].before


def _last_uses(timeline: Timeline, count: int) -> NDArray[np.int64]:
    """Return the last slice that needs the content of each storage, the number of slices where the next step does."""
    access = timeline.accesses
    at = np.repeat(np.arange(len(timeline.slices)), np.diff(access.ptr))
    storage = timeline.extents.storage[access.extent]
    last = np.full(count, -1, np.int64)
    np.maximum.at(last, storage[access.needs_content], at[access.needs_content])
    wraps = (access.next_slice >= 0) & (access.next_slice <= at)
    last[storage[wraps]] = len(timeline.slices)
    return last


def _slice_ranges(op: NDArray[np.int32]) -> dict[int, tuple[int, int]]:
    """Return the slices of each operator: they follow one another."""
    edges = np.flatnonzero(np.diff(op)) + 1
    starts, ends = np.concatenate([[0], edges]), np.append(edges, len(op))
    return {int(op[a]): (int(a), int(b)) for a, b in zip(starts, ends, strict=True)}
