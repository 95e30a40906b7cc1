"""A step as a pager sees it: addresses handed out by an allocator, with no births and no deaths."""

from bisect import bisect_left, insort
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Accesses, Extents, Frees, Timeline
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.ragged import lay_flat


@dataclass(slots=True)
class BestFit:
    """A best-fit allocator over one growing range of pages; freed neighbours merge.

    >>> space = BestFit()
    >>> space.take(4), space.take(2)
    (0, 4)
    >>> space.give(0, 4)
    >>> space.take(1), space.take(3), space.top
    (0, 1, 6)
    """

    top: int = 0
    """Pages of address space used so far."""
    _by_size: list[tuple[int, int]] = field(default_factory=list)
    _end_of: dict[int, int] = field(default_factory=dict)
    _start_of: dict[int, int] = field(default_factory=dict)

    def take(self, pages: int) -> int:
        """Return the first page of the smallest free range that fits."""
        index = bisect_left(self._by_size, (pages, -1))
        if index == len(self._by_size):
            self.top += pages
            return self.top - pages
        size, start = self._by_size[index]
        self._remove(start, start + size)
        if size > pages:
            self._add(start + pages, start + size)
        return start

    def give(self, start: int, pages: int) -> None:
        """Free a range that `take` returned."""
        end = start + pages
        if end in self._end_of:
            after = self._end_of[end]
            self._remove(end, after)
            end = after
        if start in self._start_of:
            before = self._start_of[start]
            self._remove(before, start)
            start = before
        self._add(start, end)

    def _add(self, start: int, end: int) -> None:
        insort(self._by_size, (end - start, start))
        self._end_of[start], self._start_of[end] = end, start

    def _remove(self, start: int, end: int) -> None:
        del self._by_size[bisect_left(self._by_size, (end - start, start))]
        del self._end_of[start], self._start_of[end]


def by_address(timeline: Timeline) -> Timeline:
    """Return the same step with runs of addresses in the place of extents, all alive all the time.

    The allocator starts with everything that outlives the step in place and serves one step, whose addresses repeat.
    """
    first = _addresses(timeline)
    pages = timeline.extents.pages
    edges = np.unique(np.concatenate([first, first + pages]))
    lowest, beyond = np.searchsorted(edges, first), np.searchsorted(edges, first + pages)
    runs = np.diff(edges)
    used = np.zeros(len(runs) + 1, np.int64)
    np.add.at(used, lowest, 1)
    np.subtract.at(used, beyond, 1)
    return replace(
        timeline,
        extents=Extents(
            storage=np.arange(len(runs), dtype=np.int32),
            first_page=np.zeros(len(runs), np.int64),
            pages=runs.astype(np.int64),
            role=_last_owner_role(timeline, lowest, beyond, len(runs)),
            persistent=np.ones(len(runs), bool),
        ),
        accesses=_accesses(timeline, lowest, beyond),
        frees=Frees(ptr=np.zeros(len(timeline.slices) + 1, np.int64), extent=np.zeros(0, np.int32)),
    )


def _addresses(timeline: Timeline) -> NDArray[np.int64]:
    """First page of every extent: extents of one storage are allocated together and lie side by side."""
    storage = timeline.extents.storage
    heads = np.flatnonzero(np.concatenate([[True], storage[1:] != storage[:-1]]))
    sizes = np.add.reduceat(timeline.extents.pages, heads)
    group = np.cumsum(np.concatenate([[True], storage[1:] != storage[:-1]])) - 1
    born, died = _lifetimes(timeline, group, len(heads))
    start = np.full(len(heads), -1, np.int64)
    space = BestFit()
    before_step = np.flatnonzero(born < 0)
    for g in before_step[np.argsort(-sizes[before_step], kind="stable")].tolist():
        start[g] = space.take(int(sizes[g]))
    events = [(int(t), 1, g) for g, t in enumerate(born.tolist()) if t >= 0]
    events += [(int(t) + 1, 0, g) for g, t in enumerate(died.tolist()) if t >= 0 and born[g] >= 0]
    for _, is_birth, g in sorted(events):
        if is_birth:
            start[g] = space.take(int(sizes[g]))
        else:
            space.give(int(start[g]), int(sizes[g]))
    return start[group] + timeline.extents.first_page - timeline.extents.first_page[heads][group]


def _lifetimes(
    timeline: Timeline, group: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slices of the first access and of the free of each storage; born = -1 for what outlives the step."""
    born, died = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, np.int64)
    np.minimum.at(born, group[timeline.accesses.extent], slice_of_access(timeline))
    freed_at = np.repeat(np.arange(len(timeline.slices)), np.diff(timeline.frees.ptr))
    np.maximum.at(died, group[timeline.frees.extent], freed_at)
    outlives = np.zeros(count, bool)
    np.logical_or.at(outlives, group, timeline.extents.persistent)
    return np.where(outlives, -1, born), died


def _last_owner_role(
    timeline: Timeline, lowest: NDArray[np.int64], beyond: NDArray[np.int64], count: int
) -> NDArray[np.int8]:
    role = np.zeros(count, np.int8)
    for extent in np.argsort(timeline.extents.persistent, kind="stable").tolist():
        role[lowest[extent] : beyond[extent]] = timeline.extents.role[extent]
    return role


def _accesses(timeline: Timeline, lowest: NDArray[np.int64], beyond: NDArray[np.int64]) -> Accesses:
    access = timeline.accesses
    row, offset = lay_flat((beyond - lowest)[access.extent])
    run = lowest[access.extent][row] + offset
    at = slice_of_access(timeline)[row]
    count = np.bincount(at, minlength=len(timeline.slices))
    return Accesses(
        ptr=np.concatenate([[0], np.cumsum(count)]),
        extent=run.astype(np.int32),
        needs_content=np.ones(len(run), bool),  # a fault brings the page in, whatever will be done with it
        writes=access.writes[row],
        next_slice=_next_slices(run, at),
    )


def _next_slices(run: NDArray[np.int64], at: NDArray[np.int32]) -> NDArray[np.int32]:
    order = np.lexsort((at, run))
    r, t = run[order], at[order]
    following = np.empty(len(r), np.int32)
    last = np.concatenate([r[1:] != r[:-1], [True]])
    heads = np.flatnonzero(np.concatenate([[True], r[1:] != r[:-1]]))
    following[:-1] = t[1:]
    following[last] = t[heads]
    result = np.empty(len(r), np.int32)
    result[order] = following
    return result
