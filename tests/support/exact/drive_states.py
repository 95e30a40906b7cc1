"""Every state of a memory and a drive in a tiny step, and every way from one to the next.

Note [All schedules]
    Pages of an extent are alike, so it is enough to count them: dirty (in fast memory alone), clean (on flash too), away.
    At every tick whoever runs the step decides which page begins to come in, which begins to go out, and whether the next
    slice begins. Clean pages leave when their room is needed, and no more of them than it needs. All else is left open,
    even what is in vain: a lane may wait so that it ends when something else does, a page may leave before it is used, come
    in and leave again, or be written and then overwritten.

    As in the engine, a page takes room from the moment its read begins, and until it has been written; a lane that does not
    go on at once pays the latency again; a page that is under way is not broken off. On a channel of one direction two
    pages that flow share it as one likes: tick by tick, or so that both are through at once.

    Where no lane is idle that could carry something, nothing can be decided before something ends, so time passes until
    then. All data are whole ticks, so it pays to decide at whole ticks only.

    A `frugal` schedule is one that a plan could ask for: nothing begins but when something ends, what came in stays until
    it is used, and what was written leaves. Of the pages that may leave, those go first that have not left since they were
    written.
"""

from collections.abc import Collection, Iterator
from typing import NamedTuple

from tests.support.exact.tick_step import NEEDS, WRITES, TickStep

_IDLE = -1
_VOID = -2
"""In place of the extent: what is being written is dead or overwritten."""


class TickLane(NamedTuple):
    """One direction: the page under way."""

    extent: int = _IDLE
    latency: int = 0
    """Ticks before it flows."""
    left: int = 0
    """Ticks that it flows."""
    just_done: bool = False
    """What begins now pays no latency."""

    @property
    def flows(self) -> bool:
        """Whether it uses the channel."""
        return self.extent != _IDLE and not self.latency

    @property
    def event(self) -> int:
        """Ticks until something happens, with the channel; 0: nothing will."""
        return self.latency or self.left

    def after(self, ticks: int) -> "TickLane":
        """Let so many ticks pass, at most until the next event."""
        if self.extent == _IDLE:
            return TickLane()
        if self.latency:
            return self._replace(latency=self.latency - ticks)
        return self._replace(left=self.left - ticks) if self.left > ticks else TickLane(just_done=True)


class TickState(NamedTuple):
    """What the future depends on."""

    slice: int
    """That runs, or is next."""
    running: int
    """Ticks that it still runs; 0: it has not begun."""
    read: TickLane
    write: TickLane
    dirty: tuple[int, ...]
    clean: tuple[int, ...]
    fresh: tuple[int, ...]
    """Clean pages that have come in and were not used yet; this and the next are 0 unless it matters (`frugal`)."""
    unmoved: tuple[int, ...]
    """Clean pages that were written and have not left yet."""


class TickMove(NamedTuple):
    """From one state to the next one in which there is something to decide."""

    ticks: int
    reads: int
    """Pages that have come in."""
    writes: int
    ends_step: bool
    state: TickState


class DriveStates:
    """The states of one step: Note [All schedules]."""

    def __init__(self, step: TickStep, *, frugal: bool = False) -> None:
        self._step, self._frugal = step, frugal
        extents = range(len(step.pages))
        self._alive = [[step.is_alive(e, before=t) for e in extents] for t in range(len(step.touched))]
        self._made = [{e for e, how in row.items() if not NEEDS[how]} for row in step.touched]

    def start(self) -> TickState:
        """Return the state in which all that is alive lies on flash."""
        nothing = (0,) * len(self._step.pages)
        return TickState(0, 0, TickLane(), TickLane(), nothing, nothing, nothing, nothing)

    def moves(self, state: TickState) -> Iterator[TickMove]:
        """Yield all that can be done."""
        for begun in self._begun(state):
            for reading in self._reading(begun):
                for writing in self._writing(reading):
                    yield from self._passed(writing)

    def _begun(self, state: TickState) -> Iterator[TickState]:
        """Yield the state as it is, and if the next slice can begin, with that."""
        yield state
        step, t = self._step, state.slice
        here = [d + c for d, c in zip(state.dirty, state.clean, strict=True)]
        if state.running or any(NEEDS[how] and here[e] < step.pages[e] for e, how in step.touched[t].items()):
            return
        need = sum(step.pages[e] for e in self._made[t])
        dirty = tuple(pages if e in self._made[t] else state.dirty[e] for e, pages in enumerate(step.pages))
        for roomy in self._with_room(state, need, pinned=step.touched[t].keys()):
            yield roomy._replace(running=step.ticks[t], dirty=dirty)

    def _reading(self, state: TickState) -> Iterator[TickState]:
        """Yield the state as it is, and with each page that can begin to come in."""
        yield state
        if state.read.extent != _IDLE:
            return
        for e in self._readable(state):
            lane = self._begin(e, state.read, self._step.read_latency, self._step.read_ticks)
            for roomy in self._with_room(state, 1, pinned=self._pinned(state)):
                yield roomy._replace(read=lane)

    def _writing(self, state: TickState) -> Iterator[TickState]:
        """Yield the state as it is, and with each page that can begin to go out."""
        yield state
        if state.write.extent != _IDLE:
            return
        for e in self._writable(state):
            lane = self._begin(e, state.write, self._step.write_latency, self._step.write_ticks)
            yield state._replace(write=lane)

    def _pinned(self, state: TickState) -> Collection[int]:
        return self._step.touched[state.slice].keys() if state.running else ()

    def _readable(self, state: TickState) -> Iterator[int]:
        pinned, alive = self._pinned(state), self._alive[state.slice]
        for e, pages in enumerate(self._step.pages):
            if alive[e] and state.dirty[e] + state.clean[e] < pages and e not in pinned:
                yield e

    def _writable(self, state: TickState) -> Iterator[int]:
        made = self._made[state.slice] if state.running else ()
        return (e for e, pages in enumerate(state.dirty) if pages and e not in made)

    def _begin(self, extent: int, lane: TickLane, latency: int, ticks: int) -> TickLane:
        latency = 0 if lane.just_done else latency
        if self._step.half_duplex:
            return TickLane(extent, latency, ticks)
        # Nobody else minds whether the page flows already: one event less.
        return TickLane(extent, 0, latency + ticks)

    def _with_room(self, state: TickState, need: int, *, pinned: Collection[int]) -> Iterator[TickState]:
        """Yield the states in which clean pages have left so that `need` pages find room."""
        held = sum(state.dirty) + sum(state.clean) + (state.read.extent != _IDLE)
        leave = max(0, held + need - self._step.fast_pages)
        free = [
            0 if e in pinned else clean - fresh
            for e, (clean, fresh) in enumerate(zip(state.clean, state.fresh, strict=True))
        ]
        for gone in _choices(free, leave):
            clean = tuple(pages - less for pages, less in zip(state.clean, gone, strict=True))
            unmoved = tuple(max(0, pages - less) for pages, less in zip(state.unmoved, gone, strict=True))
            yield state._replace(clean=clean, unmoved=unmoved)

    def _passed(self, state: TickState) -> Iterator[TickMove]:
        """Let time pass until there is something to decide."""
        read, write = state.read, state.write
        events = [ticks for ticks in (state.running, read.event, write.event) if ticks]
        if not events:
            return
        if self._step.half_duplex and read.flows and write.flows:
            yield from self._arrived(state, 1, read.after(1), write)
            yield from self._arrived(state, 1, read, write.after(1))
            both = read.left + write.left
            if both <= (state.running or both):
                yield from self._arrived(state, both, TickLane(just_done=True), TickLane(just_done=True))
            return
        ticks = 1 if not self._frugal and self._may_begin_later(state) else min(events)
        yield from self._arrived(state, ticks, read.after(ticks), write.after(ticks))

    def _may_begin_later(self, state: TickState) -> bool:
        """Whether a lane that carries nothing could carry something."""
        reads = state.read.extent == _IDLE and next(self._readable(state), None) is not None
        return reads or (state.write.extent == _IDLE and next(self._writable(state), None) is not None)

    def _arrived(self, state: TickState, ticks: int, read: TickLane, write: TickLane) -> Iterator[TickMove]:
        """Count what has ended after so many ticks; nothing, where that was in vain and must not be."""
        pages = _Pages(list(state.dirty), list(state.clean), list(state.fresh), list(state.unmoved))
        if read.just_done:
            pages.clean[state.read.extent] += 1
            pages.fresh[state.read.extent] += self._frugal
        if write.just_done and state.write.extent != _VOID:
            pages.dirty[state.write.extent] -= 1
            pages.clean[state.write.extent] += 1
            pages.unmoved[state.write.extent] += self._frugal
        t, running = state.slice, max(0, state.running - ticks)
        if state.running and not running:
            lost = self._end_slice(t, pages)
            if self._frugal and any(pages.unmoved[e] or write.extent == e for e in lost):
                return
            for e in lost:
                pages.unmoved[e] = 0
            if write.extent in lost:
                write = write._replace(extent=_VOID)
            t += 1
        ends_step = t == len(self._step.touched)
        after = TickState(0 if ends_step else t, running, read, write, *map(tuple, pages))
        yield TickMove(ticks, read.just_done, write.just_done, ends_step, after)

    def _end_slice(self, t: int, pages: "_Pages") -> list[int]:
        """What the slice wrote is dirty, what is dead is gone; return the extents whose copies on flash are void."""
        alive = self._alive[(t + 1) % len(self._alive)]
        lost: list[int] = []
        for e, how in self._step.touched[t].items():
            pages.fresh[e] = 0
            if WRITES[how]:
                pages.dirty[e], pages.clean[e] = self._step.pages[e], 0
            if not alive[e]:
                pages.dirty[e] = pages.clean[e] = 0
            if WRITES[how] or not alive[e]:
                lost.append(e)
        return lost


class _Pages(NamedTuple):
    """The counts of a state, while they change."""

    dirty: list[int]
    clean: list[int]
    fresh: list[int]
    unmoved: list[int]


def _choices(free: list[int], leave: int) -> Iterator[tuple[int, ...]]:
    """Yield how many of the `free` pages of each extent go so that `leave` go, in every way."""
    if not free:
        if not leave:
            yield ()
        return
    for last in range(min(free[-1], leave) + 1):
        for first in _choices(free[:-1], leave - last):
            yield (*first, last)
