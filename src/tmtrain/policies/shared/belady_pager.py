"""A pager by Belady's rule: evict what is used again furthest in the future."""

import heapq
from collections.abc import Hashable, Sequence

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.policy import Pager


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
        self.advance(self._slice[access])
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
