"""The planning problem: access gaps, epochs and what each slice lacks, read off a Timeline.

Legend
    t        slice, 0 .. T-1, cyclic
    g        access gap, gap for short: the stretch between two consecutive accesses of an extent, over whose end the
             content is needed
    s_g      pages of the extent
    e        epoch: the gaps of one extent between two writes of it; flash can hold one valid copy for all of them
    over_t   pages beyond the capacity at t if every gap kept everything
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InfeasibleError
from tmtrain.lowering.timeline import Timeline
from tmtrain.units import format_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """One row per access gap during which at least one slice runs; only these can free memory."""

    extent: NDArray[np.int32]
    start: NDArray[np.int32]
    """Slice of the access before."""
    end: NDArray[np.int32]
    """Slice of the access after; ``end <= start`` wraps round the end of the step."""
    pages: NDArray[np.int64]
    epoch: NDArray[np.int32]
    """Number of the epoch, -1 where flash already holds the content (nothing in the step writes it)."""
    last_write: NDArray[np.int32]
    """Slice of the write that made the content (may lie in the previous step); -1 where nothing writes it."""

    def __len__(self) -> int:
        return len(self.extent)

    def of(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Gaps":
        """Return the chosen rows, by mask or by number."""
        return Gaps(**{name: getattr(self, name)[chosen] for name in self.__slots__})


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What the planner decides about."""

    num_slices: int
    num_epochs: int
    gaps: Gaps
    touched_pages: NDArray[np.int64]
    """Pages that slice t must have resident, shape (T,)."""
    over_pages: NDArray[np.int64]
    """Pages that must be absent while slice t runs, shape (T,); negative where there is room."""

    def absent_pages(self, moved: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the pages absent at each slice, shape (T,), if gap g moves `moved[g]` pages."""
        return cover(self.gaps.start, self.gaps.end, moved, num_slices=self.num_slices)

    def fits(self, moved: NDArray[np.int64]) -> bool:
        """Whether every slice has room if gap g moves `moved[g]` pages."""
        return bool((self.absent_pages(moved) >= self.over_pages).all())

    def hold(self, gaps: NDArray[np.bool_]) -> "Problem":
        """Return the problem in which these gaps are kept: they are no longer among its gaps, their pages take room."""
        return replace(self, gaps=self.gaps.of(~gaps))


def build_problem(timeline: Timeline) -> Problem:
    """Read gaps, epochs and the capacity each slice lacks off `timeline`.

    Raises:
        InfeasibleError: a slice touches more than the fast tier holds.
    """
    num_slices = len(timeline.slices)
    touched = touched_pages(timeline)
    _check_fits(timeline, touched)
    gaps, num_epochs = _find_gaps(timeline)
    kept = cover(gaps.start, gaps.end, gaps.pages, num_slices=num_slices)
    return Problem(
        num_slices=num_slices,
        num_epochs=num_epochs,
        gaps=gaps,
        touched_pages=touched,
        over_pages=touched + kept - timeline.fast_pages,
    )


def touched_pages(timeline: Timeline) -> NDArray[np.int64]:
    """Return the pages that each slice touches, shape (T,)."""
    pages = np.concatenate([[0], np.cumsum(timeline.extents.pages[timeline.accesses.extent])])
    return pages[timeline.accesses.ptr[1:]] - pages[timeline.accesses.ptr[:-1]]


def framework_peak_pages(timeline: Timeline) -> int:
    """Return the most pages alive at once between the first access and the framework's free, over the step."""
    num_slices, count = len(timeline.slices), len(timeline.extents)
    died = np.full(count, num_slices, np.int64)
    died[timeline.frees.extent] = np.repeat(np.arange(num_slices), np.diff(timeline.frees.ptr)) + 1
    # The step is cyclic. An extent is born at the first access after its free, in this step or in the next one.
    extent, ahead = timeline.accesses.extent, np.full(count, num_slices, np.int64)
    np.minimum.at(ahead, extent, (slice_of_access(timeline) - died[extent]) % num_slices)
    born = np.where(ahead < num_slices, (died + ahead) % num_slices, 0)
    change = np.zeros(num_slices + 1, np.int64)
    whole = died == num_slices  # never freed in the step: alive all the time, also before its first access
    np.add.at(change, np.where(whole & timeline.extents.persistent, 0, born), timeline.extents.pages)
    np.subtract.at(change, died, timeline.extents.pages)
    # Born after it died: it lives round the end of the step, so it is there at the start.
    change[0] += int(timeline.extents.pages[died <= born].sum())
    return int(np.cumsum(change)[:num_slices].max(initial=0))


def cover(
    start: NDArray[np.int32], end: NDArray[np.int32], weight: NDArray[np.int64], *, num_slices: int
) -> NDArray[np.int64]:
    """Sum `weight` over the cyclic open intervals (start, end) that contain each slice, shape (num_slices,).

    >>> cover(np.array([0, 3]), np.array([2, 1]), np.array([5, 7]), num_slices=4)
    array([7, 5, 0, 0])
    """
    change = np.zeros(num_slices + 2, np.int64)
    np.add.at(change, start + 1, weight)
    np.subtract.at(change, end, weight)
    # A gap round the end of the step is open at its start; the sum of changes counts it only from its own start on.
    wraps = end <= start
    return np.cumsum(change)[:num_slices] + int(weight[wraps].sum())


def slice_of_access(timeline: Timeline) -> NDArray[np.int32]:
    """Return the slice of every access row."""
    counts = np.diff(timeline.accesses.ptr)
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def _check_fits(timeline: Timeline, touched: NDArray[np.int64]) -> None:
    worst = int(touched.argmax())
    if touched[worst] > timeline.fast_pages:
        need, op = int(touched[worst]) * timeline.page_bytes, int(timeline.slices.op[worst])
        have, short = timeline.fast_bytes, need - timeline.fast_bytes
        raise InfeasibleError(
            f"[Capacity] slice {worst} (operator {op}, {timeline.operator_names[op]}) touches {format_bytes(need)}, the "
            f"fast tier has {format_bytes(have)}: give it the missing {format_bytes(short)} (`--fast {need}B`)",
            limit="memory",
            needed_bytes=need,
            capacity_bytes=have,
            operator=timeline.operator_names[op],
            operator_index=op,
            slice_index=worst,
        )


def _find_gaps(timeline: Timeline) -> tuple[Gaps, int]:
    access, slices = timeline.accesses, slice_of_access(timeline)
    order = np.lexsort((slices, access.extent))
    extent, at, writes = access.extent[order], slices[order], access.writes[order]
    epoch_of, last_write = _epochs(extent, at, writes)
    start, end = at, access.next_slice[order]
    num_slices = len(timeline.slices)
    slices_inside = (end - start - 1) % num_slices
    # `next_slice` is -1 where nobody needs the content: then there is nothing to keep.
    matters = (end >= 0) & (slices_inside > 0)
    gaps = Gaps(
        extent=extent[matters],
        start=start[matters],
        end=end[matters],
        pages=timeline.extents.pages[extent[matters]],
        epoch=epoch_of[matters],
        last_write=last_write[matters],
    )
    return gaps, int(epoch_of.max(initial=-1)) + 1


def _epochs(
    extent: NDArray[np.int32], at: NDArray[np.int32], writes: NDArray[np.bool_]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Number the epoch that follows each access (rows sorted by extent, slice) and find the write that began it.

    An access before the first write of its extent continues the epoch of the last write, in the previous step.
    """
    rows = np.arange(len(extent))
    first = np.concatenate([[True], extent[1:] != extent[:-1]]) if len(extent) else np.zeros(0, bool)
    group = np.cumsum(first) - 1
    num_groups = int(group[-1]) + 1 if len(group) else 0
    last_of_group = np.full(num_groups, -1)
    np.maximum.at(last_of_group, group[writes], rows[writes])
    # The last write up to each row, of whatever extent. Where that lies before the first row of the extent, it is another
    # extent's, and what holds is the last write of the step before.
    recent = np.maximum.accumulate(np.where(writes, rows, -1)) if len(rows) else rows
    first_row = np.flatnonzero(first)[group] if len(rows) else rows
    source = np.where(recent >= first_row, recent, last_of_group[group] if num_groups else -1)
    written = source >= 0
    number = np.full(len(rows), -1, np.int32)
    number[written] = np.unique(source[written], return_inverse=True)[1]
    return number, np.where(written, at[np.maximum(source, 0)] if len(at) else -1, -1).astype(np.int32)
