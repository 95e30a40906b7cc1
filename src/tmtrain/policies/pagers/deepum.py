"""Correlation prefetching for unified memory: fetch what the next kernels will use, evict what they will not.

Source: DeepUM (Jung et al., ASPLOS 2023). A table of execution IDs predicts the next kernel, a table per kernel the blocks
(2 MiB) it uses; following both ("chaining"), the driver prefetches the blocks of the next N kernels, in order. Where
memory is full it evicts ahead of the faults what was migrated least recently and is not expected in the current and the
next N kernels. A fault goes first, and takes its room from anything. Blocks that PyTorch's allocator holds inactive are
freed, not copied. Online: it knows what it has seen in earlier steps, and frees when they happen. Misses cost
`tmtrain.machine.Paging`.

Here a kernel is a slice. In its favour: N is the best of `KERNELS_AHEAD` (the paper: 8 is the default, 32 was best); the
tables have no limits and no collisions, so that after one step they predict each next kernel and exactly its blocks: they
are read off the timeline. What a kernel makes needs no fetch, and room is made for it ahead. Granularity: evictions in
blocks, prefetches of whole extents.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tmtrain.deciding.eviction import SparingPager
from tmtrain.deciding.policy import Decision, FastMemory, Knowledge, Policy, Prefetcher
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import slice_of_access

KERNELS_AHEAD = (8, 2, 32, 128)
"""Values of N that are tried."""
BLOCK_BYTES = 2 << 20
"""A block of unified memory: 512 pages of 4 KiB."""


class DeepUm(Policy):
    """Prefetching by correlation tables, N kernels ahead."""

    name = "deepum"

    def __init__(self, *, kernels_ahead: int = KERNELS_AHEAD[0]) -> None:
        self._kernels_ahead = kernels_ahead

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Manage `timeline` by its tables."""
        del machine
        pager = DeepUmPager(timeline, kernels_ahead=self._kernels_ahead)
        return Decision(timeline=timeline, knowledge=Knowledge.FREED, pager=pager, faults=True)

    def variants(self) -> tuple[Policy, ...]:
        """Values of N."""
        return tuple(DeepUm(kernels_ahead=n) for n in KERNELS_AHEAD)


class DeepUmPager(SparingPager, Prefetcher):
    """The window of the current and the next N slices, and the extents by migration."""

    def __init__(self, timeline: Timeline, *, kernels_ahead: int) -> None:
        super().__init__(timeline)
        self._uses = uses_by_slice(timeline)
        self._pages: list[int] = timeline.extents.pages.tolist()
        self._block = max(1, BLOCK_BYTES // timeline.page_bytes)
        self._ahead = max(1, min(kernels_ahead, len(self._uses) - 1))
        self._now = 0
        """The current slice, counted over all steps."""
        self._expected = [0] * len(timeline.extents)
        """Uses of each extent in the window."""
        self._wanted: deque[tuple[int, int]] = deque()
        """(extent, slice), in order of slices."""
        self._migrated: OrderedDict[int, None] = OrderedDict()
        """Least recently migrated first."""
        self._broken: set[int] = set()
        """Have given up some of their pages."""
        self._coming: set[int] = set()
        """Prefetched and not used yet: some pages may still be on their way."""
        for t in range(self._ahead + 1):
            self._expect(t)

    def touch(self, extent: int, access: int) -> None:
        """What was not there in full is migrated now."""
        super().touch(extent, access)
        self._coming.discard(extent)
        if extent not in self._migrated or extent in self._broken:
            self._migrate(extent)

    def gone(self, extent: int) -> None:
        """Forget `extent`."""
        self._migrated.pop(extent, None)
        self._broken.discard(extent)

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose what is not expected, and then, for a fault, anything."""
        chosen = self._unexpected(pages, held)
        pages -= sum(taken for _, taken in chosen)
        for extent in self._migrated:
            if pages <= 0:
                break
            if self._expected[extent] and extent not in self.spared:
                chosen.append((extent, self._blocks(held[extent], pages)))
                pages -= chosen[-1][1]
        self._note(chosen, held)
        return chosen

    def ahead(self, t: int, *, memory: FastMemory) -> list[tuple[int, int]]:
        """Fetch for the next slices as far as there is room beside what the next one makes."""
        del t
        fetched: list[tuple[int, int]] = []
        room = memory.room - self._new_pages(self._now + 1, memory)
        while self._wanted:
            extent, due = self._wanted[0]
            absent = memory.absent(extent) if due > self._now and memory.live[extent] else 0
            if absent > room:
                break
            self._wanted.popleft()
            if absent:
                room -= absent
                fetched.append((extent, due - self._now))
                self._coming.add(extent)
                self._migrate(extent)
        return fetched

    def leave(self, t: int, *, memory: FastMemory) -> list[tuple[int, int]]:
        """Move the window on and evict for what is wanted in it."""
        for use in self._uses[t]:
            self._expected[use.extent] -= 1
        self._now += 1
        self.spared.clear()
        self._expect(self._now + self._ahead)
        needed = sum(memory.absent(extent) for extent, _ in self._wanted if memory.live[extent])
        needed += self._new_pages(self._now, memory) + self._new_pages(self._now + 1, memory)
        chosen = self._unexpected(needed - memory.room, memory.keeps)
        self._note(chosen, memory.keeps)
        return chosen

    def _expect(self, now: int) -> None:
        """Slice `now` enters the window; what it shares with the slices before it in there is there by then."""
        for use in self._uses[now % len(self._uses)]:
            if self._expected[use.extent] == 0 and use.needs_content:
                self._wanted.append((use.extent, now))
            self._expected[use.extent] += 1

    def _new_pages(self, now: int, memory: FastMemory) -> int:
        """Pages of room that slice `now` needs for what it makes."""
        uses = self._uses[now % len(self._uses)]
        return sum(self._pages[u.extent] - memory.keeps[u.extent] for u in uses if not u.needs_content)

    def _unexpected(self, pages: int, held: Sequence[int]) -> list[tuple[int, int]]:
        chosen: list[tuple[int, int]] = []
        for extent in self._migrated:
            if pages <= 0:
                break
            if not self._expected[extent] and extent not in self.spared:
                chosen.append((extent, self._blocks(held[extent], pages)))
                pages -= chosen[-1][1]
        return chosen

    def _blocks(self, held: int, pages: int) -> int:
        return min(held, -(-pages // self._block) * self._block)

    def _note(self, chosen: list[tuple[int, int]], held: Sequence[int]) -> None:
        for extent, taken in chosen:
            if taken == held[extent] and extent not in self._coming:
                self.gone(extent)
            else:
                self._broken.add(extent)

    def _migrate(self, extent: int) -> None:
        self._broken.discard(extent)
        self._migrated[extent] = None
        self._migrated.move_to_end(extent)


class SliceUse(NamedTuple):
    """One access."""

    extent: int
    needs_content: bool
    ago: int
    """Slices since the access before, cyclic; the number of slices where it is the only one of the step."""


def uses_by_slice(timeline: Timeline) -> list[list[SliceUse]]:
    """Return the uses of every slice.

    >>> from tmtrain.planning.example import example_timeline
    >>> uses_by_slice(example_timeline())[0][0]
    SliceUse(extent=0, needs_content=True, ago=1)
    """
    access, at = timeline.accesses, slice_of_access(timeline).astype(np.int64)
    order = np.lexsort((at, access.extent))
    extent, slices = access.extent[order], at[order]
    starts = np.flatnonzero(np.concatenate([[True], extent[1:] != extent[:-1]]))
    ends = np.append(starts[1:], len(extent)) - 1
    before = np.concatenate([slices[:1], slices[:-1]])
    before[starts] = slices[ends]
    ago = np.empty(len(at), np.int64)
    ago[order] = (slices - before - 1) % len(timeline.slices) + 1
    uses = [
        SliceUse(e, needs, n)
        for e, needs, n in zip(
            access.extent.tolist(), access.needs_content.tolist(), ago.tolist(), strict=True
        )
    ]
    return [uses[a:b] for a, b in pairwise(access.ptr.tolist())]
