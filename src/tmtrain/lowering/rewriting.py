"""Put further slices into a Timeline, and cut its extents where they touch parts of them.

The caller says which slices there are, what each runs before, and which runs of pages it touches. The result is an ordinary
Timeline: the slices of the step keep their order, their durations and their accesses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.cost import MATRIX_DIMS, SliceWork, slice_work
from tmtrain.lowering.extents import next_slices
from tmtrain.lowering.producers import Producers
from tmtrain.lowering.timeline import Accesses, Extents, Frees, Slices, Timeline
from tmtrain.machine import Machine
from tmtrain.ragged import lay_flat
from tmtrain.trace import Phase


class RepeatedSlice(NamedTuple):
    """A slice of the step that runs once more as it is."""

    before: int
    """Slice of the step that it runs before; never decreases from one new slice to the next."""
    slice: int


class RowsSlice(NamedTuple):
    """Some rows of one operator of a producer, as one slice."""

    before: int
    entry: int
    """Of `Producers.op`."""
    share: float
    """Of the operator's rows."""


NewSlice: TypeAlias = RepeatedSlice | RowsSlice


class NewTouch(NamedTuple):
    """A run of pages of a storage that a new slice touches."""

    number: int
    """Of the new slice."""
    storage: int
    first_page: int
    end_page: int
    needs: bool
    writes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Positions:
    """Where slices stand in the longer step."""

    own: NDArray[np.int64]
    """Of each slice of the step."""
    new: NDArray[np.int64]

    @property
    def count(self) -> int:
        """Slices of the longer step."""
        return len(self.own) + len(self.new)

    def merge(self, own: NDArray[Any], new: NDArray[Any]) -> NDArray[Any]:
        """Return the column of the longer step whose rows for own and new slices these are."""
        merged = np.empty(self.count, own.dtype)
        merged[self.own], merged[self.new] = own, new
        return merged


@dataclass(frozen=True, slots=True, kw_only=True)
class _CutExtents:
    """The extents of the longer step: those of the step, cut into parts."""

    extents: Extents
    part_ptr: NDArray[np.int64]
    """Parts of extent e of the step are ``part_ptr[e]:part_ptr[e + 1]``."""
    first_of: NDArray[np.int64]
    """First extent of each storage, and the number of extents."""

    def parts_of(self, extent: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the parts of extents of the step one after the other, and for each the row of `extent` it comes from."""
        row, offset = lay_flat(np.diff(self.part_ptr)[extent])
        return self.part_ptr[extent][row] + offset, row


def count_storages(timeline: Timeline) -> int:
    """Return a number above that of every storage in extents and producers."""
    storages = (timeline.extents.storage, timeline.producers.touch_storage)
    return max(int(column.max(initial=-1)) for column in storages) + 1


def insert_slices(
    timeline: Timeline, slices: Sequence[NewSlice], touches: Sequence[NewTouch], *, machine: Machine
) -> Timeline:
    """Return the longer step: `timeline` with further slices.

    Args:
        timeline: The step.
        slices: The new ones, in order of execution.
        touches: What they touch.
        machine: Prices them.
    """
    positions = _positions(timeline, slices)
    cut = _cut_extents(timeline, touches)
    accesses = _accesses(timeline, touches, cut, positions)
    return replace(
        timeline,
        slices=_slices(timeline, slices, positions, machine=machine),
        extents=cut.extents,
        accesses=accesses,
        frees=_frees(timeline, touches, cut, accesses, positions),
    )


def _positions(timeline: Timeline, slices: Sequence[NewSlice]) -> _Positions:
    before = np.array([new.before for new in slices], np.int64)
    own = np.arange(len(timeline.slices))
    # A slice is pushed back by all new ones before it; a new one stands behind those that run before the same slice.
    return _Positions(own=own + np.searchsorted(before, own, "right"), new=before + np.arange(len(before)))


def _cut_extents(timeline: Timeline, touches: Sequence[NewTouch]) -> _CutExtents:
    """Cut extents where the page runs of new slices begin and end."""
    old = timeline.extents
    # Pages of all storages on one axis, each storage with a stretch of its own, so that one search finds any page.
    stride = int((old.first_page + old.pages).max(initial=0)) + 1
    axis = old.storage.astype(np.int64) * stride + old.first_page
    runs = np.array(
        [(t.storage * stride + t.first_page, t.storage * stride + t.end_page) for t in touches], np.int64
    )
    ends = axis + old.pages
    inner = np.setdiff1d(runs.ravel(), np.concatenate([axis, ends]))
    owner = np.searchsorted(axis, inner, side="right") - 1
    inner = inner[inner < ends[owner]]
    starts = np.sort(np.concatenate([axis, inner]))
    parent = np.searchsorted(axis, starts, side="right") - 1
    # A part ends where the next begins, the last one of an extent where that does.
    stops = np.minimum(np.append(starts[1:], starts[-1] + stride), ends[parent])
    extents = Extents(
        storage=old.storage[parent],
        first_page=starts % stride,
        pages=stops - starts,
        role=old.role[parent],
        persistent=old.persistent[parent],
    )
    return _CutExtents(
        extents=extents,
        part_ptr=np.searchsorted(parent, np.arange(len(old) + 1)),
        first_of=np.searchsorted(extents.storage, np.arange(count_storages(timeline) + 1)),
    )


def _accesses(
    timeline: Timeline, touches: Sequence[NewTouch], cut: _CutExtents, positions: _Positions
) -> Accesses:
    access = timeline.accesses
    extent, row = cut.parts_of(access.extent)
    at = np.repeat(positions.own, np.diff(access.ptr))[row]
    keys, flags = _new_accesses(touches, cut, positions)
    at, extent = np.concatenate([at, keys[:, 0]]), np.concatenate([extent, keys[:, 1]])
    needs = np.concatenate([access.needs_content[row], flags[:, 0]])
    writes = np.concatenate([access.writes[row], flags[:, 1]])
    order = np.lexsort((extent, at))
    at, extent, needs, writes = at[order], extent[order], needs[order], writes[order]
    return Accesses(
        ptr=np.searchsorted(at, np.arange(positions.count + 1)).astype(np.int64),
        extent=extent.astype(np.int32),
        needs_content=needs,
        # What nobody needed before is content from now on, as in `tmtrain.lowering.extents`.
        writes=writes | ~needs,
        next_slice=next_slices(at, extent, needs),
    )


def _new_accesses(
    touches: Sequence[NewTouch], cut: _CutExtents, positions: _Positions
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return (slice, extent) and (needs content, writes) of the new slices, shapes (accesses, 2), each pair once."""
    # A slice may touch an extent by several operands (it reads what it works on in place): one access with all flags.
    merged: dict[tuple[int, int], tuple[bool, bool]] = {}
    for touch in touches:
        low, high = int(cut.first_of[touch.storage]), int(cut.first_of[touch.storage + 1])
        first_pages = cut.extents.first_page[low:high]
        first, end = np.searchsorted(first_pages, (touch.first_page, touch.end_page)).tolist()
        for extent in range(low + first, low + end):
            key = (int(positions.new[touch.number]), extent)
            needs, writes = merged.get(key, (False, False))
            merged[key] = (needs or touch.needs, writes or touch.writes)
    return (
        np.array(list(merged), np.int64).reshape(-1, 2),
        np.array(list(merged.values()), bool).reshape(-1, 2),
    )


def _slices(
    timeline: Timeline, slices: Sequence[NewSlice], positions: _Positions, *, machine: Machine
) -> Slices:
    old, producers = timeline.slices, timeline.producers
    is_rows = np.array([isinstance(new, RowsSlice) for new in slices], bool)
    pieces = [new for new in slices if isinstance(new, RowsSlice)]
    repeated = np.array([new.slice for new in slices if isinstance(new, RepeatedSlice)], np.int32)
    entry = np.array([piece.entry for piece in pieces], np.int32)
    work = _work(producers, pieces, entry, machine=machine)

    def column(own: NDArray[Any], of_rows: NDArray[Any]) -> NDArray[Any]:
        """Fill a column: what a slice cost, its repetition costs; rows are priced like a slice of so many of them."""
        new = np.empty(len(slices), own.dtype)
        new[is_rows], new[~is_rows] = of_rows, own[repeated]
        return positions.merge(own, new)

    return Slices(
        op=column(old.op, producers.op[entry]),
        phase=positions.merge(old.phase, np.full(len(slices), Phase.BACKWARD, np.int8)),
        duration_s=column(old.duration_s, work.duration_s),
        matrix_flops=column(old.matrix_flops, work.matrix_flops),
        vector_ops=column(old.vector_ops, work.vector_ops),
        fast_bytes=column(old.fast_bytes, work.fast_bytes),
        sram_bytes=column(old.sram_bytes, work.sram_bytes),
    )


def _work(
    producers: Producers, pieces: Sequence[RowsSlice], entry: NDArray[np.int32], *, machine: Machine
) -> SliceWork:
    """Price rows of operators: the rows run over one dimension of the matrix product, the others are whole."""
    share = np.array([piece.share for piece in pieces], np.float64)
    dims = np.ones((len(pieces), len(MATRIX_DIMS)))
    for row, piece in enumerate(pieces):
        dim = producers.op_dim[piece.entry]
        if dim is not None:
            dims[row, MATRIX_DIMS.index(dim)] = piece.share
    return slice_work(producers.loads.of(entry), machine, share=share, dims=dims)


def _frees(
    timeline: Timeline,
    touches: Sequence[NewTouch],
    cut: _CutExtents,
    accesses: Accesses,
    positions: _Positions,
) -> Frees:
    """The framework frees what a recomputation touches no earlier than after its last use."""
    frees = timeline.frees
    extent, row = cut.parts_of(frees.extent)
    at = np.repeat(positions.own, np.diff(frees.ptr))[row]
    last = np.full(len(cut.extents), -1, np.int64)
    np.maximum.at(last, accesses.extent, np.repeat(np.arange(positions.count), np.diff(accesses.ptr)))
    touched = np.zeros(len(cut.first_of) - 1, bool)
    touched[[touch.storage for touch in touches]] = True
    # Where recomputations touch nothing of a storage, its free stays where it was, even later than the last use.
    at = np.where(touched[cut.extents.storage[extent]], np.maximum(at, last[extent]), at)
    order = np.lexsort((extent, at))
    return Frees(
        ptr=np.searchsorted(at[order], np.arange(positions.count + 1)).astype(np.int64),
        extent=extent[order].astype(np.int32),
    )
