"""Which steps are measured: one that repeats, a cycle of them, or a window of steps that never do.

Note [Steady step]
    The step is repeated until it ends as it began, in memory and on the link. Some pagers remember more than that: for them
    it is repeated until its traffic, and what it leaves in memory, repeat. The last repetition is the measured one.

    Page by page, a pager may come to alternate between a few states. Then its cycle is measured and a step is the mean of
    it: that is what training under it costs, and what a certified bound bounds, as the mean of many steps is a (fractional)
    plan of one. A step that never repeats is measured as the mean of the last ones, likewise.

Note [Closing]
    A window that ends otherwise than it began has lived on what it found: pages that were there, copies that were valid,
    a chunk half through. Were it repeated, that would have to be brought back. So what it lacks at its end is added to it:
    these pages, one after the other at the link's rates, while nothing is computed. The window is a cycle then, and no
    bound on the mean is undercut. A cycle lacks nothing.
"""

from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.machine import Machine
from tmtrain.simulation.link import LinkQueues
from tmtrain.simulation.memory import Books, Memory

MAX_PERIOD = 8
"""The steps of a cycle are at most so many."""
WINDOW = 20
"""Steps over which one that never repeats is averaged."""
MAX_STEPS = 40
"""After which it counts as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredStep:
    """Raw record of a step."""

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
    """The most that was resident and in flight at once."""
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundary:
    """What one step leaves to the next."""

    keeps: bytes
    """Pages of each extent that nobody has given up, as are the next two."""
    held: NDArray[np.int64]
    clean: NDArray[np.int64]
    flown_bytes: tuple[int, int]
    """Of the chunks under way: what has come in, what has gone out."""

    @classmethod
    def of(cls, memory: Memory, link: LinkQueues) -> "Boundary":
        """Look at memory and link between two steps."""
        return cls(
            keeps=memory.keeps.tobytes(),
            held=np.array(array("q", memory.held), np.int64),
            clean=np.array(array("q", memory.clean), np.int64),
            flown_bytes=link.flown_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SteadySteps:
    """The measured steps: Note [Steady step]."""

    steps: tuple[MeasuredStep, ...]
    """Mostly one. The last is the one that is shown slice by slice."""
    closing_in: int = 0
    """Pages that bring the memory back to where the first step found it: Note [Closing]."""
    closing_out: int = 0
    closing_s: float = 0.0

    @property
    def shown(self) -> MeasuredStep:
        """The last step."""
        return self.steps[-1]

    @property
    def pages_in(self) -> float:
        """Pages that came in, per step."""
        return (sum(step.pages_in for step in self.steps) + self.closing_in) / len(self.steps)

    @property
    def pages_out(self) -> float:
        """Pages that were written, per step."""
        return (sum(step.pages_out for step in self.steps) + self.closing_out) / len(self.steps)

    @property
    def step_time_s(self) -> float:
        """Of the mean step."""
        return (self.steps[-1].end_s - self.steps[0].start_s + self.closing_s) / len(self.steps)


class StepHistory:
    """The steps so far, and what is between them."""

    def __init__(self, start: Boundary) -> None:
        self._steps: list[MeasuredStep] = []
        self._between = [start]
        """One more than steps."""

    def add(self, step: MeasuredStep, end: Boundary) -> None:
        """Note a step and what it left; what is too long ago is forgotten."""
        self._steps.append(step)
        self._between.append(end)
        most = max(2 * MAX_PERIOD, WINDOW)
        del self._steps[:-most], self._between[: -most - 1]

    def last(self) -> SteadySteps:
        """Return the last step, which repeats."""
        return SteadySteps(steps=(self._steps[-1],))

    def cycle(self, machine: Machine, *, page_bytes: int) -> SteadySteps | None:
        """Return the shortest cycle that has been run through twice."""
        seen = [
            (step.pages_in, step.pages_out, end.keeps)
            for step, end in zip(self._steps, self._between[1:], strict=True)
        ]
        for period in range(1, min(MAX_PERIOD, len(seen) // 2) + 1):
            if seen[-period:] == seen[-2 * period : -period]:
                return self.last() if period == 1 else self.window(period, machine, page_bytes=page_bytes)
        return None

    def window(self, count: int, machine: Machine, *, page_bytes: int) -> SteadySteps:
        """Return the last `count` steps, closed: Note [Closing]."""
        begin, end = self._between[-count - 1], self._between[-1]
        closing_in = int(np.maximum(begin.held - end.held, 0).sum())
        closing_out = int(np.maximum(begin.clean - end.clean, 0).sum())
        lacking = [
            pages * page_bytes + max(0, flown - again)
            for pages, flown, again in zip(
                (closing_in, closing_out), begin.flown_bytes, end.flown_bytes, strict=True
            )
        ]
        rates = (machine.read_bytes_per_s, machine.write_bytes_per_s)
        latencies = (machine.slow.read_latency_s, machine.slow.write_latency_s)
        return SteadySteps(
            steps=tuple(self._steps[-count:]),
            closing_in=closing_in,
            closing_out=closing_out,
            closing_s=sum(
                size / rate + latency
                for size, rate, latency in zip(lacking, rates, latencies, strict=True)
                if size
            ),
        )
