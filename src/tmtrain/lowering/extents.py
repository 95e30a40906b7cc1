"""From page runs that slices touch to extents, accesses and frees.

An extent is a maximal run of pages of one storage that no edge of any touched run divides: every slice touches all of it
or none of it. Its *first* access after the birth of its storage needs no content; any other needs what is there, unless
the operator overwrites all of it. An access whose content nobody needs again is the last use.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.slicing import SliceTouch
from tmtrain.lowering.timeline import Accesses, Extents, Frees
from tmtrain.ragged import lay_flat
from tmtrain.trace import Operands, Trace


@dataclass(slots=True)
class PageRuns:
    """Columns of touched runs, in order of slices."""

    slice: list[int] = field(default_factory=list)
    storage: list[int] = field(default_factory=list)
    first_page: list[int] = field(default_factory=list)
    end_page: list[int] = field(default_factory=list)
    reads: list[bool] = field(default_factory=list)
    writes: list[bool] = field(default_factory=list)

    def add(self, number: int, touches: tuple[SliceTouch, ...], trace: Trace, *, page_bytes: int) -> None:
        """Add what slice `number` touches; operands of no bytes are left out."""
        operands = trace.operands
        for touch in touches:
            if touch.end_page <= touch.first_page:
                continue
            row = touch.row
            writes = bool(operands.writes[row])
            # Overwriting needs no old content, unless an earlier slice made a part of it, gaps remain in the run, or
            # other bytes of the storage share its first or last page.
            keeps_some = (
                touch.again
                or not _is_dense(operands, row)
                or _shares_a_page(touch, trace, page_bytes=page_bytes)
            )
            self.slice.append(number)
            self.storage.append(int(operands.storage[row]))
            self.first_page.append(touch.first_page)
            self.end_page.append(touch.end_page)
            self.reads.append(bool(operands.reads[row]) or (writes and keeps_some))
            self.writes.append(writes)


def assemble_extents(
    trace: Trace, runs: PageRuns, *, slice_op: NDArray[np.int32], page_bytes: int
) -> tuple[Extents, Accesses, Frees]:
    """Cut storages into extents and say who touches and who frees them."""
    extents, first_extent = _cut_storages(trace, runs, page_bytes)
    at, extent, reads, writes = _merge(runs, extents, first_extent)
    needs = _needs_content(trace, extents, at, extent, reads, slice_op)
    # What is read before anything was written there is content from then on: hence `writes` where nothing is needed.
    accesses = Accesses(
        ptr=np.searchsorted(at, np.arange(len(slice_op) + 1)).astype(np.int64),
        extent=extent.astype(np.int32),
        needs_content=needs,
        writes=writes | ~needs,
        next_slice=next_slices(at, extent, needs),
    )
    return extents, accesses, _frees(trace, extents, slice_op)


def _is_dense(operands: Operands, row: int) -> bool:
    elements = 1
    for size in operands.shape[row]:
        elements *= size
    return elements * int(operands.itemsize[row]) == int(operands.span_bytes[row])


def _shares_a_page(touch: SliceTouch, trace: Trace, *, page_bytes: int) -> bool:
    start = int(trace.operands.offset_bytes[touch.row])
    end = start + int(trace.operands.span_bytes[touch.row])
    begins_inside = touch.first_page * page_bytes < start
    ends_inside = end < min(
        touch.end_page * page_bytes, int(trace.storages.bytes[trace.operands.storage[touch.row]])
    )
    return begins_inside or ends_inside


def _cut_storages(trace: Trace, runs: PageRuns, page_bytes: int) -> tuple[Extents, NDArray[np.int64]]:
    """Return the extents and, per storage, the index of its first one."""
    pages = -(-trace.storages.bytes // page_bytes)
    stride = int(pages.max(initial=0)) + 1  # edges of all storages on one axis
    storage = np.array(runs.storage, np.int64)
    base = np.arange(len(pages)) * stride
    run_starts = storage * stride + np.array(runs.first_page, np.int64)
    run_ends = storage * stride + np.array(runs.end_page, np.int64)
    edges = np.unique(np.concatenate([base, base + pages, run_starts, run_ends]))
    owner, first = edges[:-1] // stride, edges[:-1] % stride
    # Between the last page of a storage and the first of the next lies no extent.
    inside = owner == edges[1:] // stride
    owner, first, length = owner[inside], first[inside], np.diff(edges)[inside]
    # Born late in the step and used early in the next one: it is there when a step ends, like a weight.
    wraps = (trace.storages.death_op <= trace.storages.birth_op) & ~trace.storages.persistent
    extents = Extents(
        storage=owner.astype(np.int32),
        first_page=first,
        pages=length,
        role=trace.storages.role[owner],
        persistent=(trace.storages.persistent | wraps)[owner],
    )
    return extents, np.searchsorted(owner, np.arange(len(pages) + 1))


def _merge(
    runs: PageRuns, extents: Extents, first_extent: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Expand runs to extents; one row per (slice, extent) with the flags of all operands in it."""
    stride = int(extents.first_page.max(initial=0)) + 1
    axis = extents.storage.astype(np.int64) * stride + extents.first_page
    storage = np.array(runs.storage, np.int64)
    low = np.searchsorted(axis, storage * stride + np.array(runs.first_page, np.int64))
    last_page = np.minimum(np.array(runs.end_page, np.int64), stride) - 1
    high = np.minimum(
        np.searchsorted(axis, storage * stride + last_page, side="right"), first_extent[storage + 1]
    )
    row, offset = lay_flat(high - low)
    extent = low[row] + offset
    # Operands of one slice may overlap: whatever any of them does to an extent, the slice does.
    at = np.array(runs.slice, np.int64)[row]
    key, row_of = np.unique(at * max(len(extents), 1) + extent, return_inverse=True)
    reads, writes = np.zeros(len(key), bool), np.zeros(len(key), bool)
    np.logical_or.at(reads, row_of, np.array(runs.reads, bool)[row])
    np.logical_or.at(writes, row_of, np.array(runs.writes, bool)[row])
    return key // max(len(extents), 1), key % max(len(extents), 1), reads, writes


def _needs_content(
    trace: Trace,
    extents: Extents,
    at: NDArray[np.int64],
    extent: NDArray[np.int64],
    reads: NDArray[np.bool_],
    slice_op: NDArray[np.int32],
) -> NDArray[np.bool_]:
    """All reads but the first access after birth, for storages that are born in the step."""
    storage = extents.storage[extent]
    birth = trace.storages.birth_op[storage]
    since_birth = (slice_op[at] - birth) % max(len(trace.operators), 1)
    order = np.lexsort((at, since_birth, extent))
    first = np.zeros(len(at), bool)
    first[order] = np.concatenate([[True], np.diff(extent[order]) != 0]) if len(at) else first
    return reads & ~(first & ~trace.storages.persistent[storage])


def next_slices(
    at: NDArray[np.int64], extent: NDArray[np.int64], needs: NDArray[np.bool_]
) -> NDArray[np.int32]:
    """Return the slice of the next access of the same extent, cyclic, -1 where nobody needs the content again."""
    order = np.lexsort((at, extent))
    e, following = extent[order], np.empty(len(at), np.int64)
    is_last = np.concatenate([e[1:] != e[:-1], [True]]) if len(at) else np.zeros(0, bool)
    heads = np.flatnonzero(np.concatenate([[True], e[1:] != e[:-1]])) if len(at) else np.zeros(0, np.int64)
    # Within an extent the next row is the next access; after the last one, the first one of the next step.
    following[:-1] = order[1:]
    following[is_last] = order[heads]
    result = np.empty(len(at), np.int32)
    result[order] = np.where(needs[following], at[following], -1)
    return result


def _frees(trace: Trace, extents: Extents, slice_op: NDArray[np.int32]) -> Frees:
    """The framework frees a storage after the last slice of the operators before its death."""
    dies = ~trace.storages.persistent[extents.storage]
    extent = np.flatnonzero(dies)
    death = trace.storages.death_op[extents.storage[extent]]
    last_slice = np.searchsorted(slice_op, death) - 1
    # Dead before the first slice of the step: freed after the last one of the step before, which is this one's last too.
    at = np.where(last_slice < 0, len(slice_op) - 1, last_slice)
    order = np.argsort(at, kind="stable")
    return Frees(
        ptr=np.searchsorted(at[order], np.arange(len(slice_op) + 1)).astype(np.int64),
        extent=extent[order].astype(np.int32),
    )
