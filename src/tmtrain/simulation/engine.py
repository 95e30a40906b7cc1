"""The engine: runs a step slice by slice under a policy's decision, on one memory and one link.

For each slice, in order:

1. the plan's transfers that begin here are issued (leave, write, fetch);
2. what the slice touches and is missing is fetched on demand, for which a pager gives up victims;
3. the slice waits until all its operands are resident and its results have room (a stall);
4. a prefetcher says what to fetch meanwhile;
5. it computes, while the link goes on;
6. what it wrote is dirty, what died is dropped; a prefetcher gives up what will not be needed for long.

The step is repeated until it ends as it began, in memory and on the link, or, for pagers that remember more, until its
traffic and what it leaves in memory repeat; the last repetition is the measured one. Page by page, a pager may come to
alternate between a few states for ever: then the step that moves most is measured, so that no bound on the average is
undercut. A static plan must be complete once the memory is warm: a miss, like a slice that can never get its room, refutes
it.

Where the plan may change between steps (`tmtrain.simulation.steps`), the decision has a pager beside the plan. Then the plan
is advice: what it left out is a miss, fetched on demand and counted, and where it left no room the pager finds some.
"""

from array import array
from collections.abc import Hashable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import PlanRefutedError, PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plans import Plan
from tmtrain.policies import Decision, Knowledge, Prefetcher
from tmtrain.simulation.link import LinkQueues
from tmtrain.simulation.memory import Books, Memory
from tmtrain.units import format_bytes

CHUNKS_PER_CAPACITY = 512
"""A transfer is cut into chunks of this share of the fast tier, so that reads and writes of large extents interleave."""
MAX_PERIOD = 8
"""The steps repeat after at most so many."""
MAX_STEPS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Raw record of the measured step."""

    start_s: float
    end_s: float
    warm_up_steps: int
    before: Books
    after: Books
    resident_start: int
    resident_end: int
    slice_start_s: NDArray[np.float64]
    slice_end_s: NDArray[np.float64]
    resident_pages: NDArray[np.int64]
    in_flight_pages: NDArray[np.int64]
    peak_pages: int
    """The most that was resident and in flight at any moment."""
    misses: int
    """Accesses that had to fetch on demand."""
    missed_pages: int
    first_log_row: int

    @property
    def pages_in(self) -> int:
        """Pages that came in."""
        return self.after.came_in - self.before.came_in

    @property
    def pages_out(self) -> int:
        """Pages that were written."""
        return self.after.written - self.before.written


class Engine:
    """One simulation; `run` it once."""

    def __init__(self, decision: Decision, *, machine: Machine) -> None:
        timeline = decision.timeline
        self._timeline = timeline
        self._pager = decision.pager
        self._prefetcher = decision.pager if isinstance(decision.pager, Prefetcher) else None
        self._knowledge = decision.knowledge
        self.memory = Memory(timeline)
        self.link = LinkQueues(
            machine,
            memory=self.memory,
            page_bytes=timeline.page_bytes,
            chunk_pages=max(1, timeline.fast_pages // CHUNKS_PER_CAPACITY),
            faults=decision.faults,
        )
        self._num_slices = len(timeline.slices)
        self._duration_s: list[float] = timeline.slices.duration_s.tolist()
        self._rows = _StepRows(timeline)
        self._plan = decision.plan
        self._agenda = _Agenda(decision.plan, num_slices=self._num_slices)
        self._must_reconcile = False
        self._slice_start_s: list[float] = []
        self._slice_end_s: list[float] = []
        self._resident = array("q")
        self._in_flight: list[int] = []
        self._misses = 0
        self._missed_pages = 0

    def run(self) -> Measured:
        """Repeat the step until it repeats itself; return the last one.

        Raises:
            PlanRefutedError: a rule is broken.
            PolicyError: it never repeats itself.
        """
        history: list[_Trail] = []
        state = None
        for step in range(MAX_STEPS):
            measured = self.measure_step(step, complete=step > 0)
            history.append(_Trail(measured.pages_in, measured.pages_out, tuple(self.memory.keeps)))
            before, state = state, self._state((step + 1) * self._num_slices)
            if (state is not None and state == before) or _is_steady(history):
                return measured
        raise PolicyError(
            f"after {MAX_STEPS} steps the traffic of a step still changes from step to step",
            num_steps=MAX_STEPS,
        )

    def adopt(self, plan: Plan, *, duration_s: NDArray[np.float64], machine: Machine) -> None:
        """In the next step follow `plan`, with these durations and rates."""
        if plan is not self._plan:
            self._plan, self._agenda = plan, _Agenda(plan, num_slices=self._num_slices)
            self._must_reconcile = True
        self._duration_s = duration_s.tolist()
        self.link.adopt(machine)

    def measure_step(self, step: int, *, complete: bool) -> Measured:
        """Run step number `step`; `complete`: the memory is warm, so a plan without a pager must not miss."""
        self.memory.least_free, self._misses, self._missed_pages = self.memory.free, 0, 0
        before, start_s, log_row = self.memory.snapshot(), self.link.now_s, len(self.link.log.end_s)
        resident_start = self.memory.held_pages()
        self._run_step(step, complete=complete)
        return Measured(
            start_s=start_s,
            end_s=self.link.now_s,
            warm_up_steps=step,
            before=before,
            after=self.memory.snapshot(),
            resident_start=resident_start,
            resident_end=self.memory.held_pages(),
            slice_start_s=np.array(self._slice_start_s),
            slice_end_s=np.array(self._slice_end_s),
            resident_pages=np.array(self._resident, np.int64).reshape(self._num_slices, -1),
            in_flight_pages=np.array(self._in_flight, np.int64),
            peak_pages=self._timeline.fast_pages - self.memory.least_free,
            misses=self._misses,
            missed_pages=self._missed_pages,
            first_log_row=log_row,
        )

    def _state(self, now: int) -> Hashable | None:
        """Return what the step from slice `now` on depends on; None where a pager remembers more."""
        carries = () if self._pager is None else self._pager.carries()
        return None if carries is None else (self.memory.state(), self.link.state(now), carries)

    def _run_step(self, step: int, *, complete: bool) -> None:
        self._slice_start_s, self._slice_end_s, self._resident, self._in_flight = [], [], array("q"), []
        if self._must_reconcile:
            self._reconcile(step * self._num_slices)
            self._must_reconcile = False
        for t in range(self._num_slices):
            now = step * self._num_slices + t
            self._follow_plan(t, now)
            self._make_resident(t, now, may_miss=self._pager is not None or not complete)
            if self._prefetcher is not None:
                self._look_ahead(self._prefetcher, t, now)
            self._slice_start_s.append(self.link.now_s)
            self._resident.extend(self.memory.held_by_role)
            self._in_flight.append(self.memory.reserved)
            self.link.advance(self._duration_s[t])
            self._slice_end_s.append(self.link.now_s)
            self._finish(t)
            if self._prefetcher is not None:
                self._leave_early(self._prefetcher, t, now)

    def _reconcile(self, now: int) -> None:
        """Do what the steps before would have done for the plan that begins here: give up and fetch across their end."""
        memory, link, away = self.memory, self.link, self._agenda.away_at_start
        for extent, first_use in self._rows.first_use.items():
            if not memory.live[extent]:
                continue
            excess = memory.keeps[extent] + away.get(extent, 0) - memory.pages[extent]
            lack = memory.absent(extent) - away.get(extent, 0)
            if excess > 0:
                link.write(extent, memory.give_up(extent, excess), deadline=now)
            elif lack > 0:
                link.fetch(extent, lack, deadline=now + first_use)

    def _follow_plan(self, t: int, now: int) -> None:
        memory, link = self.memory, self.link
        for extent, end, ahead in self._agenda.leave[t]:
            if memory.live[extent]:
                away = memory.pages[extent] - memory.keeps[extent]
                unwritten = memory.give_up(extent, max(0, end - away))
                link.write(extent, unwritten, deadline=now + ahead)
        for extent, end, ahead in self._agenda.write[t]:
            if memory.live[extent]:
                link.write(extent, memory.clean_up_to(extent, end), deadline=now + ahead)
        for extent, first, ahead in self._agenda.fetch[t]:
            memory.hold_from(extent, first)
            missing = memory.absent(extent) - first
            if memory.live[extent] and missing > 0:
                link.fetch(extent, missing, deadline=now + ahead)

    def _make_resident(self, t: int, now: int, *, may_miss: bool) -> None:
        """Bring in what slice t reads, make room for what it makes, and wait for both."""
        memory, rows, pager = self.memory, self._rows, self._pager
        pages, held, keeps = memory.pages, memory.held, memory.keeps
        misses: list[tuple[int, int]] = []
        new: list[int] = []
        incoming: list[int] = []
        missing = 0
        for row in range(rows.ptr[t], rows.ptr[t + 1]):
            extent = rows.extent[row]
            if keeps[extent] != held[extent]:
                memory.hold(extent)
            if pager is not None:
                pager.touch(extent, row)
            if rows.needs_content[row] and not memory.live[extent]:
                raise PlanRefutedError(
                    f"slice {t} reads extent {extent}, whose content was dropped",
                    slice_index=t,
                    extent=extent,
                )
            if held[extent] == pages[extent]:
                continue
            absent = memory.absent(extent)
            if memory.arriving[extent]:
                incoming.append(extent)
            if not rows.needs_content[row]:
                new.append(extent)
            elif absent:
                misses.append((extent, absent))
                incoming.append(extent)
            missing += absent
        if self._prefetcher is not None:
            self.link.give_way(now, claimed=sum(pages[extent] - held[extent] for extent in new))
        if not (new or incoming):
            return
        if misses and not may_miss:
            raise PlanRefutedError(
                f"slice {t} reads extent {misses[0][0]}: {misses[0][1]} of its pages are absent",
                slice_index=t,
                extent=misses[0][0],
                pages=misses[0][1],
            )
        if self._prefetcher is not None:
            # What was fetched ahead and is late needs its room too, but for the chunk under way.
            missing += max(0, sum(memory.arriving[extent] for extent in incoming) - memory.reserved)
        if pager is not None:
            self._make_room(missing, now)
        for extent, absent in misses:
            self.link.fetch(extent, absent, deadline=now)
            self._misses += 1
            self._missed_pages += absent
        for extent in incoming:
            while memory.arriving[extent]:
                self._wait(t, now)
        for extent in new:
            while pages[extent] - held[extent] > memory.free:
                self._wait(t, now)
            memory.grow(extent)
        self._check_resident(t)

    def _look_ahead(self, prefetcher: Prefetcher, t: int, now: int) -> None:
        memory, link = self.memory, self.link
        link.give_way(now, claimed=0)
        for extent, ahead in prefetcher.ahead(t, memory=memory):
            if memory.live[extent]:
                memory.hold(extent)
                missing = memory.absent(extent)
                if missing > 0:
                    link.fetch(extent, missing, deadline=now + ahead, foreseen=True)

    def _leave_early(self, prefetcher: Prefetcher, t: int, now: int) -> None:
        memory = self.memory
        for extent, pages in prefetcher.leave(t, memory=memory):
            unwritten = memory.give_up(extent, pages)
            # Nobody waits for the room yet: whoever will, blocks the reads, and then the writes have the channel.
            self.link.write(extent, unwritten, deadline=now + self._num_slices)

    def _check_resident(self, t: int) -> None:
        memory, rows = self.memory, self._rows
        for row in range(rows.ptr[t], rows.ptr[t + 1]):
            extent = rows.extent[row]
            if memory.keeps[extent] != memory.pages[extent]:
                raise PlanRefutedError(
                    f"slice {t} touches extent {extent}, which was made to give up "
                    f"{memory.pages[extent] - memory.keeps[extent]} of its {memory.pages[extent]} pages",
                    slice_index=t,
                    extent=extent,
                    pages=memory.pages[extent] - memory.keeps[extent],
                )

    def _make_room(self, missing: int, now: int) -> bool:
        """Let the pager give up what is missing and not on its way out yet; False if it gave up nothing."""
        assert self._pager is not None
        memory = self.memory
        short = missing - memory.free - memory.outgoing
        given = False
        if short > 0:
            for extent, pages in self._pager.victims(short, held=memory.keeps):
                self.link.write(extent, memory.give_up(extent, pages), deadline=now)
                given = given or pages > 0
        return given

    def _wait(self, t: int, now: int) -> None:
        if self.link.step():
            return
        memory, rows = self.memory, self._rows
        # Nothing is under way and nothing can start: fetches for later slices may have taken the room.
        needed = rows.extent[rows.ptr[t] : rows.ptr[t + 1]]
        missing = sum(memory.pages[extent] - memory.held[extent] for extent in needed)
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

    def _finish(self, t: int) -> None:
        memory, rows = self.memory, self._rows
        for extent in rows.written[t]:
            memory.overwrite(extent)
        if self._knowledge is Knowledge.LAST_USE:
            for extent in rows.last_used[t]:
                self._drop(extent)
        if self._knowledge is not Knowledge.NEVER:
            for extent in rows.freed[t]:
                if memory.live[extent]:
                    self._drop(extent)

    def _drop(self, extent: int) -> None:
        self.memory.drop(extent)
        if self._pager is not None:
            self._pager.gone(extent)


class _Trail(NamedTuple):
    """What is compared from step to step."""

    pages_in: int
    pages_out: int
    keeps: tuple[int, ...]
    """Pages of each extent at the end."""

    @property
    def moved(self) -> int:
        """Pages in both directions."""
        return self.pages_in + self.pages_out


def _is_steady(history: list[_Trail]) -> bool:
    """Whether the steps repeat and the last one moves as much as any of the cycle."""
    for period in range(1, MAX_PERIOD + 1):
        cycle = history[-period:]
        if len(history) >= 2 * period and cycle == history[-2 * period : -period]:
            return cycle[-1].moved == max(step.moved for step in cycle)
    return False


class _StepRows:
    """The accesses as plain lists: the loop above reads them millions of times."""

    def __init__(self, timeline: Timeline) -> None:
        access, frees = timeline.accesses, timeline.frees
        self.ptr: list[int] = access.ptr.tolist()
        self.extent: list[int] = access.extent.tolist()
        self.needs_content: list[bool] = access.needs_content.tolist()
        self.written = _by_slice(access.extent, access.ptr, among=access.writes)
        self.last_used = _by_slice(access.extent, access.ptr, among=access.next_slice < 0)
        self.freed = _by_slice(frees.extent, frees.ptr)
        self.first_use: dict[int, int] = {}
        for t, (a, b) in enumerate(pairwise(self.ptr)):
            for extent in self.extent[a:b]:
                self.first_use.setdefault(extent, t)


def _by_slice(
    extent: NDArray[np.int32], ptr: NDArray[np.int64], *, among: NDArray[np.bool_] | None = None
) -> list[list[int]]:
    """Return the extents of the rows of each slice, of those `among`."""
    if among is not None:
        extent, ptr = extent[among], np.concatenate([[0], np.cumsum(among)])[ptr]
    rows: list[int] = extent.tolist()
    return [rows[a:b] for a, b in pairwise(ptr.tolist())]


class _Agenda:
    """The transfers of a plan by the slice at which each part begins: (extent, page, slices until it is due).

    The page is the end of the piece that leaves or is written, the first one of the piece that is fetched.
    """

    def __init__(self, plan: Plan | None, *, num_slices: int) -> None:
        self.leave: list[list[tuple[int, int, int]]] = [[] for _ in range(num_slices)]
        self.write: list[list[tuple[int, int, int]]] = [[] for _ in range(num_slices)]
        self.fetch: list[list[tuple[int, int, int]]] = [[] for _ in range(num_slices)]
        self.away_at_start: dict[int, int] = {}
        """Pages of each extent that left in the step before and are fetched in this one."""
        if plan is None:
            return
        moves = plan.transfers
        columns = (
            moves.extent,
            moves.first_page,
            moves.first_page + moves.pages,
            moves.write_slice,
            moves.written_slice,
            moves.leave_slice,
            moves.fetch_slice,
            moves.return_slice,
        )
        for extent, first, end, write, written, leave, fetch, back in zip(
            *(c.tolist() for c in columns), strict=True
        ):
            self.leave[leave % num_slices].append((extent, end, written - leave))
            if leave % num_slices and leave // num_slices < fetch // num_slices:
                self.away_at_start[extent] = max(self.away_at_start.get(extent, 0), end)
            if write < leave:
                self.write[write % num_slices].append((extent, end, written - write))
            self.fetch[fetch % num_slices].append((extent, first, back - fetch))
