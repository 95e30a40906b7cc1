"""The operands of a slice: what it reads is fetched, what it makes gets room, and the slice waits for both.

The policy chooses victims and says what to give up. What it does wrong refutes it (`PlanRefutedError`). What memory and
link do wrong is a bug of ours, which their assertions find.
"""

from typing import NamedTuple

from tmtrain.deciding import Pager, Prefetcher
from tmtrain.errors import PlanRefutedError
from tmtrain.lowering.timeline import Timeline
from tmtrain.simulation.accesses import AccessLists
from tmtrain.simulation.link import LinkQueues
from tmtrain.simulation.memory import Memory
from tmtrain.units import format_bytes


class _Lacking(NamedTuple):
    """What a slice touches and is not all there."""

    misses: list[tuple[int, int]]
    """(extent, pages) that it reads and that nobody has asked for."""
    incoming: list[int]
    """Extents to wait for: misses, and what is on its way."""
    new: list[int]
    """Extents to make room for: their old content, if any, is not read."""
    pages: int
    """Of all of them that are neither here nor on their way."""


_NOTHING = _Lacking([], [], [], 0)


class SliceOperands:
    """Makes the operands of one slice after the other resident, and counts what had to be fetched on demand."""

    def __init__(
        self,
        timeline: Timeline,
        *,
        accesses: AccessLists,
        pager: Pager | None,
        memory: Memory,
        link: LinkQueues,
    ) -> None:
        self._timeline = timeline
        self._accesses = accesses
        self._pager = pager
        self._touch = None if pager is None else pager.touch
        self._prefetches = isinstance(pager, Prefetcher)
        self._memory = memory
        self._link = link
        self.misses = 0
        """Accesses that had to fetch on demand, since `forget_misses`."""
        self.missed_pages = 0

    def forget_misses(self) -> None:
        """Count anew."""
        self.misses = self.missed_pages = 0

    def make_resident(self, t: int, now: int, *, may_miss: bool) -> None:
        """Bring in what slice t reads, make room for what it makes, and wait for both.

        Args:
            t: The slice.
            now: The slice, counted over all steps.
            may_miss: Absent content is fetched on demand; else it refutes the plan.

        Raises:
            PlanRefutedError: the plan left out a fetch, or nothing makes the room.
        """
        memory = self._memory
        lacking = self._find_lacking(t)
        misses, incoming, new, pages = lacking
        if self._prefetches:
            self._link.give_way(now, claimed=sum([memory.pages[e] - memory.held[e] for e in new]))
        if lacking is _NOTHING:
            return
        if misses and not may_miss:
            raise PlanRefutedError(
                f"slice {t} reads extent {misses[0][0]}: {misses[0][1]} of its pages are absent",
                slice_index=t,
                extent=misses[0][0],
                pages=misses[0][1],
            )
        if self._prefetches:
            # What was fetched ahead and is late needs its room too, but for the chunk under way.
            pages += max(0, sum(memory.arriving[extent] for extent in incoming) - memory.reserved)
        if self._pager is not None:
            self._make_room(pages, now)
        if misses:
            self._fetch(misses, now)
        self._wait_for(lacking, t, now)
        self._check_resident(t)

    def give_up(self, extent: int, pages: int, *, deadline: int) -> None:
        """Let pages of `extent` go that the pager gives up, written first where flash has no copy.

        Raises:
            PlanRefutedError: there are not so many.
        """
        kept = self._memory.keeps[extent]
        if not 0 <= pages <= kept:
            raise PlanRefutedError(
                f"the policy gives up {pages} pages of extent {extent}, of which {kept} are there to give up",
                extent=extent,
                pages=pages,
            )
        self._link.write(extent, self._memory.give_up(extent, pages), deadline=deadline)

    def _find_lacking(self, t: int) -> _Lacking:
        """Take back what slice t touches and had been given up, and return what is not all there."""
        memory, touch = self._memory, self._touch
        # Every access of every step comes by here, so what the loop reads is at hand.
        pages, held, keeps, live, arriving = (
            memory.pages,
            memory.held,
            memory.keeps,
            memory.live,
            memory.arriving,
        )
        misses: list[tuple[int, int]] = []
        incoming: list[int] = []
        new: list[int] = []
        lacking = 0
        for row, extent, needs_content in self._accesses.rows[t]:
            here = held[extent]
            if keeps[extent] != here:
                memory.hold(extent)
            if touch is not None:
                touch(extent, row)
            if needs_content and not live[extent]:
                raise PlanRefutedError(
                    f"slice {t} reads extent {extent}, whose content was freed", slice_index=t, extent=extent
                )
            if here == pages[extent]:
                continue
            absent = memory.absent(extent)
            if arriving[extent]:
                incoming.append(extent)
            if not needs_content:
                new.append(extent)
            elif absent:
                misses.append((extent, absent))
                incoming.append(extent)
            lacking += absent
        return _Lacking(misses, incoming, new, lacking) if new or incoming else _NOTHING

    def _fetch(self, misses: list[tuple[int, int]], now: int) -> None:
        for extent, absent in misses:
            self._link.fetch(extent, absent, deadline=now)
            self.misses += 1
            self.missed_pages += absent

    def _wait_for(self, lacking: _Lacking, t: int, now: int) -> None:
        memory = self._memory
        for extent in lacking.incoming:
            while memory.arriving[extent]:
                self._wait(t, now)
        # Room for results is taken last: taken earlier, it could be what the reads above wait for.
        for extent in lacking.new:
            while memory.pages[extent] - memory.held[extent] > memory.free:
                self._wait(t, now)
            memory.grow(extent)

    def _wait(self, t: int, now: int) -> None:
        """Let time pass; if nothing is under way and nothing can start, let the pager make room once more."""
        if self._link.step():
            return
        memory = self._memory
        # Fetches for later slices may have taken the room.
        missing = sum(memory.pages[e] - memory.held[e] for e in self._accesses.of_slice(t))
        if self._pager is None or not self._make_room(missing, now):
            page = self._timeline.page_bytes
            raise PlanRefutedError(
                f"slice {t} (operator {self._timeline.slices.op[t]}) can never start: fast memory of "
                f"{format_bytes(self._timeline.fast_bytes)} holds {format_bytes(memory.held_pages() * page)} that nobody "
                f"gives up and {format_bytes(memory.reserved * page)} under way",
                slice_index=t,
                operator_index=int(self._timeline.slices.op[t]),
                capacity_bytes=self._timeline.fast_bytes,
                held_bytes=memory.held_pages() * page,
                reserved_bytes=memory.reserved * page,
            )

    def _make_room(self, missing: int, now: int) -> bool:
        """Let the pager give up what is missing and not on its way out yet; False if it gave up nothing."""
        assert self._pager is not None
        memory = self._memory
        short = missing - memory.free - memory.outgoing
        gained = 0
        if short > 0:
            for extent, pages in self._pager.victims(short, held=memory.keeps):
                self.give_up(extent, pages, deadline=now)
                gained += pages
        return gained > 0

    def _check_resident(self, t: int) -> None:
        """While the slice waited, the pager may have given up what it touches."""
        memory = self._memory
        for extent in self._accesses.of_slice(t):
            if memory.keeps[extent] != memory.pages[extent]:
                raise PlanRefutedError(
                    f"slice {t} touches extent {extent}, which was made to give up "
                    f"{memory.pages[extent] - memory.keeps[extent]} of its {memory.pages[extent]} pages",
                    slice_index=t,
                    extent=extent,
                    pages=memory.pages[extent] - memory.keeps[extent],
                )
