"""The engine: runs a step slice by slice under a policy's decision, on one memory and one link.

For each slice, in order:

1. the plan's transfers that begin here are issued (leave, write, fetch): `Agenda`;
2. what the slice touches and is missing is fetched on demand, for which a pager gives up victims: `SliceOperands`;
3. the slice waits until all its operands are resident and its results have room (a stall): `SliceOperands`;
4. a prefetcher says what to fetch meanwhile;
5. it computes, while the link goes on;
6. what it wrote is dirty, dead content is freed; a prefetcher gives up what will not be needed for long.

Which of the steps is measured: Note [Steady step] in `tmtrain.simulation.steady`.

A static plan must be complete once the memory is warm. A miss refutes it, and so does a slice that can never get its room.

Where the plan may change between steps (`tmtrain.simulation.steps`), the decision has a pager beside the plan. Then the
plan is advice: what it left out is a miss, fetched on demand and counted, and where it left no room the pager finds some.
"""

from array import array
from collections.abc import Hashable

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding import Decision, Knowledge, Prefetcher
from tmtrain.machine import Machine
from tmtrain.plans import Plan
from tmtrain.simulation.accesses import access_lists
from tmtrain.simulation.agenda import Agenda
from tmtrain.simulation.link import LinkQueues
from tmtrain.simulation.memory import Memory
from tmtrain.simulation.operands import SliceOperands
from tmtrain.simulation.steady import (
    MAX_STEPS,
    WINDOW,
    Boundary,
    MeasuredStep,
    SteadySteps,
    StepHistory,
)

CHUNKS_PER_CAPACITY = 512
"""A transfer is cut into chunks of this share of the fast tier, so that reads and writes of large extents interleave."""


class Engine:
    """One simulation; `run` it once."""

    def __init__(self, decision: Decision, *, machine: Machine) -> None:
        timeline = decision.timeline
        self._pager = decision.pager
        self._prefetcher = decision.pager if isinstance(decision.pager, Prefetcher) else None
        self._knowledge = decision.knowledge
        self._num_slices = len(timeline.slices)
        self._duration_s: list[float] = timeline.slices.duration_s.tolist()
        self._accesses = access_lists(timeline)
        self._plan = decision.plan
        self._machine, self._page_bytes = machine, timeline.page_bytes
        self._must_reconcile = False
        """The next step is the first under another plan."""
        self.memory = Memory(timeline)
        self._agenda = Agenda(decision.plan, num_slices=self._num_slices, pages=self.memory.pages)
        self.link = LinkQueues(
            machine,
            memory=self.memory,
            page_bytes=timeline.page_bytes,
            chunk_pages=max(1, timeline.fast_pages // CHUNKS_PER_CAPACITY),
            faults=decision.faults,
        )
        self._operands = SliceOperands(
            timeline, accesses=self._accesses, pager=decision.pager, memory=self.memory, link=self.link
        )
        self._series = _SliceSeries()

    def run(self) -> SteadySteps:
        """Repeat the step until it repeats itself; return what is measured: Note [Steady step].

        Raises:
            PlanRefutedError: a rule is broken.
        """
        machine, page = self._machine, self._page_bytes
        history = StepHistory(Boundary.of(self.memory, self.link))
        state = None
        for step in range(MAX_STEPS):
            measured = self.measure_step(step, complete=step > 0)
            history.add(measured, Boundary.of(self.memory, self.link))
            before, state = state, self._state((step + 1) * self._num_slices)
            if state is not None and state == before:
                return history.last()
            cycle = history.cycle(machine, page_bytes=page)
            if cycle is not None:
                return cycle
        return history.window(WINDOW, machine, page_bytes=page)

    def adopt(self, plan: Plan, *, duration_s: NDArray[np.float64], machine: Machine) -> None:
        """In the next step follow `plan`, with these durations and rates."""
        if plan is not self._plan:
            self._plan = plan
            self._agenda = Agenda(plan, num_slices=self._num_slices, pages=self.memory.pages)
            self._must_reconcile = True
        self._duration_s = duration_s.tolist()
        self.link.adopt(machine)

    def measure_step(self, step: int, *, complete: bool) -> MeasuredStep:
        """Run step number `step`; `complete`: the memory is warm, so a plan without a pager must not miss."""
        memory, link, operands, series = self.memory, self.link, self._operands, _SliceSeries()
        memory.forget_peak()
        operands.forget_misses()
        before, start_s, log_row = memory.snapshot(), link.now_s, len(link.log.end_s)
        resident_start = memory.held_pages()
        self._series = series
        self._run_step(step, complete=complete)
        memory.check_sums()
        assert memory.reserved == link.arriving_pages, (
            "room is reserved for the chunk under way, and for no other"
        )
        return MeasuredStep(
            start_s=start_s,
            end_s=link.now_s,
            warm_up_steps=step,
            before=before,
            after=memory.snapshot(),
            resident_start=resident_start,
            resident_end=memory.held_pages(),
            slice_start_s=np.array(series.start_s),
            slice_end_s=np.array(series.end_s),
            resident_pages=np.array(series.resident, np.int64).reshape(self._num_slices, -1),
            in_flight_pages=np.array(series.in_flight, np.int64),
            peak_pages=memory.peak_pages,
            misses=operands.misses,
            missed_pages=operands.missed_pages,
            first_log_row=log_row,
        )

    def _state(self, now: int) -> Hashable | None:
        """Return what the step from slice `now` on depends on; None where a pager remembers more."""
        carries = () if self._pager is None else self._pager.carries()
        return None if carries is None else (self.memory.state(), self.link.state(now), carries)

    def _run_step(self, step: int, *, complete: bool) -> None:
        begin = step * self._num_slices
        if self._must_reconcile:
            first_use = self._accesses.first_use
            self._agenda.reconcile(begin, first_use=first_use, memory=self.memory, link=self.link)
            self._must_reconcile = False
        may_miss = self._pager is not None or not complete
        for t in range(self._num_slices):
            self._run_slice(t, begin + t, may_miss=may_miss)

    def _run_slice(self, t: int, now: int, *, may_miss: bool) -> None:
        memory, link, series = self.memory, self.link, self._series
        if self._plan is not None:
            self._agenda.follow(t, now, memory=memory, link=link)
        self._operands.make_resident(t, now, may_miss=may_miss)
        if self._prefetcher is not None:
            self._look_ahead(self._prefetcher, t, now)
        series.start_s.append(link.now_s)
        series.resident.extend(memory.held_by_role)
        series.in_flight.append(memory.reserved)
        link.advance(self._duration_s[t])
        series.end_s.append(link.now_s)
        self._finish(t)
        if self._prefetcher is not None:
            self._leave_early(self._prefetcher, t, now)

    def _look_ahead(self, prefetcher: Prefetcher, t: int, now: int) -> None:
        memory, link = self.memory, self.link
        # The slice has its operands: nothing is claimed any more.
        link.give_way(now, claimed=0)
        for extent, ahead in prefetcher.ahead(t, memory=memory):
            if memory.live[extent]:
                memory.hold(extent)
                missing = memory.absent(extent)
                if missing > 0:
                    link.fetch(extent, missing, deadline=now + ahead, foreseen=True)

    def _leave_early(self, prefetcher: Prefetcher, t: int, now: int) -> None:
        for extent, pages in prefetcher.leave(t, memory=self.memory):
            # Nobody waits for the room yet: whoever will, blocks the reads, and then the writes have the channel.
            self._operands.give_up(extent, pages, deadline=now + self._num_slices)

    def _finish(self, t: int) -> None:
        """What slice t wrote is dirty; what the policy knows to be dead is freed."""
        memory, accesses = self.memory, self._accesses
        for extent in accesses.written[t]:
            memory.overwrite(extent)
        if self._knowledge is Knowledge.LAST_USE:
            for extent in accesses.last_used[t]:
                self._free(extent)
        if self._knowledge is not Knowledge.NEVER:
            for extent in accesses.freed[t]:
                if memory.live[extent]:
                    self._free(extent)

    def _free(self, extent: int) -> None:
        self.memory.free_content(extent)
        if self._pager is not None:
            self._pager.gone(extent)


class _SliceSeries:
    """What is noted of each slice, while a step runs."""

    def __init__(self) -> None:
        self.start_s: list[float] = []
        self.end_s: list[float] = []
        self.resident = array("q")
        """Pages by role, slice by slice."""
        self.in_flight: list[int] = []
