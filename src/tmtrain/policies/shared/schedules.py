"""A pager that follows a schedule made from a profile of the step, for rivals that decide once and then repeat.

Whoever makes the schedule says what is given up after which slice and from which slice on what is fetched for which. A
fetch is issued when there is room for it beside a reserve, in the order of the schedule; one that found none in time is a
miss. Where room is short all the same, what is used furthest in the future gives way, which is the best that is known.
"""

from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from tmtrain.deciding.eviction import BeladyPager
from tmtrain.deciding.policy import FastMemory, Prefetcher
from tmtrain.lowering.timeline import Timeline

MOST_PASSED_OVER = 16
"""So many fetches for which there is no room are passed over for others, before all wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSchedule:
    """One entry per slice in each list."""

    ahead: list[list[tuple[int, int]]]
    """(extent, slices until it is needed), to be fetched from the slice on, first of all first."""
    leave: list[list[int]]
    """Extents given up, in full, after the slice."""
    reserve: list[int]
    """Pages of room that fetches leave alone."""


def empty_schedule(num_slices: int) -> FetchSchedule:
    """Return a schedule that does nothing, to be filled.

    >>> empty_schedule(2)
    FetchSchedule(ahead=[[], []], leave=[[], []], reserve=[0, 0])
    """
    return FetchSchedule(
        ahead=[[] for _ in range(num_slices)],
        leave=[[] for _ in range(num_slices)],
        reserve=[0] * num_slices,
    )


class ScheduledPager(BeladyPager, Prefetcher):
    """The schedule, and what of it is still to be fetched."""

    def __init__(self, timeline: Timeline, *, schedule: FetchSchedule) -> None:
        super().__init__(timeline)
        self._schedule = schedule
        self._wanted: deque[tuple[int, int]] = deque()
        """(extent, slice that needs it)."""
        self._coming: dict[int, int] = {}
        """Fetched and not used yet, with the slice that needs it: some pages may still be on their way."""

    def touch(self, extent: int, access: int) -> None:
        """Note when `extent` is used next."""
        super().touch(extent, access)
        self._coming.pop(extent, None)

    def gone(self, extent: int) -> None:
        """Forget `extent`."""
        super().gone(extent)
        self._coming.pop(extent, None)

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose from the furthest next use on."""
        chosen = super().victims(pages, held=held)
        for extent, _ in chosen:
            if extent in self._coming:
                self.expect(extent, self._coming[extent])  # the rest of it is still to come
        return chosen

    def ahead(self, t: int, *, memory: FastMemory) -> list[tuple[int, int]]:
        """Fetch what is wanted and fits."""
        self.advance(t)
        begun = self._schedule.ahead[t]
        if begun:
            self._wanted.extend([(extent, self.now + ahead) for extent, ahead in begun])
        if not self._wanted:
            return []
        room = memory.room - self._schedule.reserve[t]
        fetched: list[tuple[int, int]] = []
        waiting: list[tuple[int, int]] = []
        while self._wanted and room > 0 and len(waiting) < MOST_PASSED_OVER:
            extent, use = self._wanted.popleft()
            absent = memory.absent(extent) if use > self.now and memory.live[extent] else 0
            if absent > room:
                waiting.append((extent, use))
            elif absent:
                room -= absent
                fetched.append((extent, use - self.now))
                self._coming[extent] = use
                self.expect(extent, use)
        self._wanted.extendleft(reversed(waiting))
        return fetched

    def leave(self, t: int, *, memory: FastMemory) -> list[tuple[int, int]]:
        """Give up what the schedule says."""
        return [(extent, memory.keeps[extent]) for extent in self._schedule.leave[t] if memory.keeps[extent]]

    def carries(self) -> Hashable:
        """What is still to be fetched, and what has been and is not used yet, by slices from now on."""
        wanted = tuple((extent, use - self.now) for extent, use in self._wanted)
        return wanted, frozenset((extent, use - self.now) for extent, use in self._coming.items())
