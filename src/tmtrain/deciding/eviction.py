"""Whom to evict: pagers that several policies are built from.

`SparingPager` only remembers whom not to evict. `BeladyPager` evicts what is used again furthest in the future, of all that
has been used. `Rescue` does so beside a plan, whose prefetches bring in what has not been used yet.
"""

import heapq
from array import array
from collections.abc import Hashable, Sequence

import numpy as np

from tmtrain.deciding.policy import Pager, take_pages
from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import slice_of_access


class SparingPager(Pager):
    """A pager that remembers what the current slice has touched, for orders in which that does not come last."""

    def __init__(self, timeline: Timeline) -> None:
        self._slice: list[int] = slice_of_access(timeline).tolist()
        self.at = -1
        """The slice at hand."""
        self.spared: set[int] = set()

    def touch(self, extent: int, access: int) -> None:
        """Spare `extent` in this slice."""
        if self._slice[access] != self.at:
            self.at = self._slice[access]
            self.spared.clear()
        self.spared.add(extent)


class BeladyPager(Pager):
    """A heap of extents by next use, furthest first; outdated entries are skipped when they surface."""

    def __init__(self, timeline: Timeline) -> None:
        slices, following = slice_of_access(timeline), timeline.accesses.next_slice
        period = len(timeline.slices)
        # Slices from this access to the next one of the same extent; dead content is never asked about.
        self._ahead = ((following - slices - 1) % period + 1).tolist()
        self._slice = slices.tolist()
        self._period = period
        self._steps = 0
        self._last_slice = -1
        self._next_use: dict[int, int] = {}
        self._touched_at: dict[int, int] = {}
        self._heap: list[tuple[int, int]] = []
        self.now = -1
        """The slice at hand, counted over all steps."""

    def touch(self, extent: int, access: int) -> None:
        """Note when `extent` is used next."""
        t = self._slice[access]
        if t != self._last_slice:
            self.advance(t)
        self._touched_at[extent] = self.now
        self.expect(extent, self.now + self._ahead[access])

    def advance(self, t: int) -> None:
        """Slice `t` is at hand."""
        if t < self._last_slice:
            self._steps += 1
        self._last_slice = t
        self.now = self._steps * self._period + t

    def expect(self, extent: int, use: int) -> None:
        """`extent` is, or will be, there, and is used next in slice `use`, counted over all steps."""
        self._next_use[extent] = use
        heapq.heappush(self._heap, (-use, extent))

    def gone(self, extent: int) -> None:
        """Forget `extent`."""
        self._next_use.pop(extent, None)

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose from the furthest next use on, passing over the extents of the current slice."""
        chosen: list[tuple[int, int]] = []
        kept: list[tuple[int, int]] = []
        while pages > 0 and self._heap:
            entry = heapq.heappop(self._heap)
            extent = entry[1]
            if self._next_use.get(extent) != -entry[0]:
                continue
            if self._touched_at.get(extent) == self.now:
                kept.append(entry)
                continue
            taken = min(held[extent], pages)
            pages -= taken
            chosen.append((extent, taken))
            if taken < held[extent]:
                kept.append(entry)
            else:
                del self._next_use[extent]
        for entry in kept:
            heapq.heappush(self._heap, entry)
        return chosen

    def carries(self) -> Hashable:
        """Nothing: in a step every extent is touched."""
        return ()


class Rescue(Pager):
    """A pager beside a plan: every extent that is there may be asked for, also one that has just been prefetched."""

    def __init__(self, timeline: Timeline) -> None:
        at, extent = slice_of_access(timeline), timeline.accesses.extent
        period, count = len(timeline.slices), len(timeline.extents)
        following = timeline.accesses.next_slice
        # Slices from this access to the next one of the same extent; dead content holds nothing to evict.
        self._ahead: list[int] = ((following - at - 1) % period + 1).tolist()
        self._slice: list[int] = at.tolist()
        self._period = period
        self._steps = 0
        self._at = -1
        self._touched: list[int] = []
        first = np.full(count, period, np.int64)
        np.minimum.at(first, extent, at)
        self._next_use = array("q", first)
        """An array, which numpy reads in one go."""

    def touch(self, extent: int, access: int) -> None:
        """Note when `extent` is used next, and spare it in this slice."""
        at = self._slice[access]
        if at != self._at:
            self._steps += at < self._at
            self._at = at
            self._touched.clear()
        self._touched.append(extent)
        self._next_use[extent] = self._steps * self._period + at + self._ahead[access]

    def gone(self, extent: int) -> None:
        """What is gone holds nothing: `victims` will see it."""

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose from the furthest next use on."""
        there = np.array(held, np.int64)
        there[self._touched] = 0
        candidates = np.flatnonzero(there)
        next_use = np.frombuffer(self._next_use, np.int64)
        order = candidates[np.argsort(-next_use[candidates], kind="stable")]
        enough = int(np.searchsorted(np.cumsum(there[order]), pages)) + 1
        return take_pages(order[:enough].tolist(), pages, held=held)

    def carries(self) -> Hashable:
        """Nothing: in a step every extent is touched."""
        return ()
