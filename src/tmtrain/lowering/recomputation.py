"""Recomputation as a rewriting of the step: recomputed operators become further slices of the Timeline.

What is recomputed dies after its last use before the recomputation and is born again in it, so nothing else has to know about
recomputation: placement, scheduling and the engine see an ordinary step, and the engine's rules (what a slice reads must be
there) make sure that each recomputation finds each row that it needs.

Page runs are cut in the ratio of the rows, as those of slices are. A storage with fewer pages than there are rows cannot be
cut: where it still holds its content it is left alone, else every piece touches all of it.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.cost import slice_work
from tmtrain.lowering.extents import next_slices
from tmtrain.lowering.producers import Producers
from tmtrain.lowering.timeline import Accesses, Extents, Frees, Slices, Timeline
from tmtrain.machine import Machine
from tmtrain.ragged import lay_flat
from tmtrain.trace import Phase

_DIMS = ("batch", "m", "n", "k")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputations:
    """One row per recomputation of some rows of a producer, in order of execution."""

    producer: NDArray[np.int32]
    before_slice: NDArray[np.int32]
    """Slice of the step without recomputations that it runs before; never decreases."""
    first_row: NDArray[np.int64]
    end_row: NDArray[np.int64]
    rows: NDArray[np.int64]
    """Equal pieces that the rows count."""

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
    for row in range(len(recomputations)):
        script.add(
            int(recomputations.producer[row]),
            before=int(recomputations.before_slice[row]),
            rows=(
                int(recomputations.first_row[row]),
                int(recomputations.end_row[row]),
                int(recomputations.rows[row]),
            ),
        )
    return script.rewrite(machine)


def places_of_slices(longer: Timeline, *, of: Timeline) -> NDArray[np.int64]:
    """Return where each slice of the step `of` stands in `longer`, the same step with recomputations in it.

    Producers are of forward and loss, and recomputations run in backward: a slice in the phase of its operator is no recomputation.
    """
    phase = np.full(int(of.slices.op.max(initial=-1)) + 1, -1)
    phase[of.slices.op] = of.slices.phase
    return np.flatnonzero(longer.slices.phase == phase[longer.slices.op])


class _Run(NamedTuple):
    """Pages of a storage that a new slice touches."""

    new: int
    """Number among the new slices."""
    storage: int
    first: int
    end: int
    needs: bool
    writes: bool


class _Script:
    """Collects the new slices, then builds the rewritten Timeline."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        extents, producers = timeline.extents, timeline.producers
        count = int(extents.storage.max(initial=-1)) + 1
        self._count = max(count, int(producers.touch_storage.max(initial=-1)) + 1)
        self._pages = np.zeros(self._count, np.int64)
        np.maximum.at(self._pages, extents.storage, extents.first_page + extents.pages)
        self._last_use = _last_slices(timeline, self._count)
        self._slices_of_op = _ranges(timeline.slices.op)
        self._runs: list[_Run] = []
        self._before: list[int] = []
        self._entry: list[int] = []
        """Entry of `Producers.op`, or -1 where an original slice is repeated."""
        self._repeats: list[int] = []
        self._share: list[float] = []
        self._made: dict[int, int] = {}
        """Storage -> the last moment at which a recomputation made some of it."""

    def add(self, producer: int, *, before: int, rows: tuple[int, int, int]) -> None:
        """Add the recomputation of rows ``[rows[0], rows[1])`` of ``rows[2]`` of `producer`."""
        producers = self._timeline.producers
        for entry in range(int(producers.op_ptr[producer]), int(producers.op_ptr[producer + 1])):
            if rows[1] - rows[0] == rows[2]:
                self._repeat(producers, entry, before)
            else:
                self._add_piece(producers, entry, before, rows)

    def _repeat(self, producers: Producers, entry: int, before: int) -> None:
        """Run all slices of an operator again as they are; what the producer only reads (statistics) it finds there."""
        timeline, accesses = self._timeline, self._timeline.accesses
        touches = slice(int(producers.touch_ptr[entry]), int(producers.touch_ptr[entry + 1]))
        touched = set(producers.touch_storage[touches].tolist())
        made = set(producers.touch_storage[touches][producers.touch_writes[touches]].tolist())
        for t in range(*self._slices_of_op[int(producers.op[entry])]):
            number = self._open(before, entry=-1, repeats=t, share=1.0)
            for row in range(int(accesses.ptr[t]), int(accesses.ptr[t + 1])):
                extent = int(accesses.extent[row])
                storage = int(timeline.extents.storage[extent])
                if storage not in touched:
                    continue
                first = int(timeline.extents.first_page[extent])
                end = first + int(timeline.extents.pages[extent])
                makes = storage in made
                needs = bool(accesses.needs_content[row]) or not makes
                writes = bool(accesses.writes[row]) and makes
                self._touch(number, storage, first, end, needs=needs, writes=writes, before=before)

    def _add_piece(self, producers: Producers, entry: int, before: int, rows: tuple[int, int, int]) -> None:
        first_row, end_row, count = rows
        number = self._open(before, entry=entry, repeats=-1, share=(end_row - first_row) / count)
        for touch in range(int(producers.touch_ptr[entry]), int(producers.touch_ptr[entry + 1])):
            storage = int(producers.touch_storage[touch])
            pages = int(self._pages[storage])
            needs, writes = bool(producers.touch_reads[touch]), bool(producers.touch_writes[touch])
            if not producers.touch_follows[touch]:
                self._touch(number, storage, 0, pages, needs=needs, writes=writes, before=before)
            elif pages >= count:
                first, end = pages * first_row // count, pages * end_row // count
                self._touch(number, storage, first, end, needs=needs, writes=writes, before=before)
            elif self._last_use[storage] < before:
                begun = self._made.get(storage) == before
                self._touch(number, storage, 0, pages, needs=needs or begun, writes=writes, before=before)
            elif not writes:
                self._touch(number, storage, 0, pages, needs=True, writes=False, before=before)

    def _open(self, before: int, *, entry: int, repeats: int, share: float) -> int:
        self._before.append(before)
        self._entry.append(entry)
        self._repeats.append(repeats)
        self._share.append(share)
        return len(self._before) - 1

    def _touch(
        self, number: int, storage: int, first: int, end: int, *, needs: bool, writes: bool, before: int
    ) -> None:
        if end > first:
            self._runs.append(_Run(number, storage, first, end, needs, writes))
        if writes:
            self._made[storage] = before

    def rewrite(self, machine: Machine) -> Timeline:
        """Put the new slices in their places, and cut extents where their page runs begin and end."""
        timeline = self._timeline
        before = np.array(self._before, np.int64)
        old_place = np.arange(len(timeline.slices)) + np.searchsorted(
            before, np.arange(len(timeline.slices)), "right"
        )
        new_place = before + np.arange(len(before))
        extents, piece_ptr, first_of = self._cut_extents()
        accesses = self._accesses(extents, piece_ptr, first_of, old_place, new_place)
        return replace(
            timeline,
            slices=self._slices(machine, old_place, new_place),
            extents=extents,
            accesses=accesses,
            frees=self._frees(extents, piece_ptr, accesses, old_place),
        )

    def _cut_extents(self) -> tuple[Extents, NDArray[np.int64], NDArray[np.int64]]:
        """Return the new extents, the range of them in each old one, and the first of each storage."""
        old = self._timeline.extents
        stride = int((old.first_page + old.pages).max(initial=0)) + 1
        axis = old.storage.astype(np.int64) * stride + old.first_page
        runs = np.array([(r.storage * stride + r.first, r.storage * stride + r.end) for r in self._runs])
        ends = axis + old.pages
        inner = np.setdiff1d(runs.ravel(), np.concatenate([axis, ends]))
        owner = np.searchsorted(axis, inner, side="right") - 1
        inner, owner = inner[inner < ends[owner]], owner[inner < ends[owner]]
        starts = np.sort(np.concatenate([axis, inner]))
        parent = np.searchsorted(axis, starts, side="right") - 1
        stops = np.minimum(np.append(starts[1:], starts[-1] + stride), ends[parent])
        extents = Extents(
            storage=old.storage[parent],
            first_page=starts % stride,
            pages=stops - starts,
            role=old.role[parent],
            persistent=old.persistent[parent],
        )
        piece_ptr = np.searchsorted(parent, np.arange(len(old) + 1))
        return extents, piece_ptr, np.searchsorted(extents.storage, np.arange(self._count + 1))

    def _accesses(
        self,
        extents: Extents,
        piece_ptr: NDArray[np.int64],
        first_of: NDArray[np.int64],
        old_place: NDArray[np.int64],
        new_place: NDArray[np.int64],
    ) -> Accesses:
        access = self._timeline.accesses
        row, offset = lay_flat(np.diff(piece_ptr)[access.extent])
        extent = piece_ptr[access.extent][row] + offset
        at = np.repeat(old_place, np.diff(access.ptr))[row]
        merged: dict[tuple[int, int], tuple[bool, bool]] = {}
        for run in self._runs:
            low, high = int(first_of[run.storage]), int(first_of[run.storage + 1])
            inside = extents.first_page[low:high]
            for e in range(
                low + int(np.searchsorted(inside, run.first)), low + int(np.searchsorted(inside, run.end))
            ):
                key = (int(new_place[run.new]), e)
                needs, writes = merged.get(key, (False, False))
                merged[key] = (needs or run.needs, writes or run.writes)
        keys = np.array(list(merged), np.int64).reshape(-1, 2)
        flags = np.array(list(merged.values()), bool).reshape(-1, 2)
        at, extent = np.concatenate([at, keys[:, 0]]), np.concatenate([extent, keys[:, 1]])
        needs = np.concatenate([access.needs_content[row], flags[:, 0]])
        writes = np.concatenate([access.writes[row], flags[:, 1]])
        order = np.lexsort((extent, at))
        at, extent, needs, writes = at[order], extent[order], needs[order], writes[order]
        num_slices = len(old_place) + len(new_place)
        return Accesses(
            ptr=np.searchsorted(at, np.arange(num_slices + 1)).astype(np.int64),
            extent=extent.astype(np.int32),
            needs_content=needs,
            writes=writes | ~needs,
            next_slice=next_slices(at, extent, needs),
        )

    def _slices(self, machine: Machine, old_place: NDArray[np.int64], new_place: NDArray[np.int64]) -> Slices:
        old, producers = self._timeline.slices, self._timeline.producers
        entry, repeats = np.array(self._entry, np.int32), np.array(self._repeats, np.int32)
        share = np.array(self._share)
        is_piece = entry >= 0
        dims = np.ones((int(is_piece.sum()), len(_DIMS)))
        for place, e in enumerate(entry[is_piece].tolist()):
            dim = producers.op_dim[e]
            if dim is not None:
                dims[place, _DIMS.index(dim)] = share[is_piece][place]
        work = slice_work(producers.loads.of(entry[is_piece]), machine, share=share[is_piece], dims=dims)

        def column(name: str) -> NDArray[np.float64]:
            mine = getattr(old, name)[repeats]
            mine[is_piece] = getattr(work, name)
            return _merge(getattr(old, name), mine, old_place, new_place)

        op = np.where(is_piece, producers.op[entry], old.op[repeats])
        phase = np.full(len(entry), Phase.BACKWARD, np.int8)
        return Slices(
            op=_merge(old.op, op.astype(np.int32), old_place, new_place),
            phase=_merge(old.phase, phase, old_place, new_place),
            duration_s=column("duration_s"),
            matrix_flops=column("matrix_flops"),
            vector_ops=column("vector_ops"),
            fast_bytes=column("fast_bytes"),
            sram_bytes=column("sram_bytes"),
        )

    def _frees(
        self, extents: Extents, piece_ptr: NDArray[np.int64], accesses: Accesses, old_place: NDArray[np.int64]
    ) -> Frees:
        """The framework frees what a recomputation touches no earlier than after its last use."""
        frees, num_slices = self._timeline.frees, len(accesses.ptr) - 1
        row, offset = lay_flat(np.diff(piece_ptr)[frees.extent])
        extent = piece_ptr[frees.extent][row] + offset
        at = np.repeat(old_place, np.diff(frees.ptr))[row]
        last = np.full(len(extents), -1, np.int64)
        np.maximum.at(last, accesses.extent, np.repeat(np.arange(num_slices), np.diff(accesses.ptr)))
        touched = np.zeros(self._count, bool)
        touched[[run.storage for run in self._runs]] = True
        at = np.where(touched[extents.storage[extent]], np.maximum(at, last[extent]), at)
        order = np.lexsort((extent, at))
        return Frees(
            ptr=np.searchsorted(at[order], np.arange(num_slices + 1)).astype(np.int64),
            extent=extent[order].astype(np.int32),
        )


def _merge(
    old: NDArray[Any], new: NDArray[Any], old_place: NDArray[np.int64], new_place: NDArray[np.int64]
) -> NDArray[Any]:
    both = np.empty(len(old) + len(new), old.dtype)
    both[old_place], both[new_place] = old, new
    return both


def _last_slices(timeline: Timeline, count: int) -> NDArray[np.int64]:
    """Return the last slice that needs the content of each storage, the number of slices where the next step does."""
    access = timeline.accesses
    at = np.repeat(np.arange(len(timeline.slices)), np.diff(access.ptr))
    storage = timeline.extents.storage[access.extent]
    last = np.full(count, -1, np.int64)
    np.maximum.at(last, storage[access.needs_content], at[access.needs_content])
    wraps = (access.next_slice >= 0) & (access.next_slice <= at)
    last[storage[wraps]] = len(timeline.slices)
    return last


def _ranges(op: NDArray[np.int32]) -> dict[int, tuple[int, int]]:
    """Return the slices of each operator: they follow one another."""
    edges = np.flatnonzero(np.diff(op)) + 1
    starts, ends = np.concatenate([[0], edges]), np.append(edges, len(op))
    return {int(op[a]): (int(a), int(b)) for a, b in zip(starts, ends, strict=True)}
