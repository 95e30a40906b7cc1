"""Whether the durations and rates of the steps are still those that the plan was made for.

Note [Persistent drift]
    A plan is made for durations and rates. They are compared, as logarithms of ratios, in a few sums: the seconds of
    `NUM_SEGMENTS` stretches of the step, equally long as planned, and the measured rates. A sum has drifted when in each of
    the last `PERSISTENCE` steps it was off by more than its threshold, always to the same side. So a one-off, however
    long, is never a drift; and the threshold grows with the scatter of the sum from step to step, so jitter is none
    either.

Note [What is new about a slice]
    The new estimates come from those few steps alone, so what they say about one slice is mostly its jitter. Its stretch
    says more: a slice is taken to have changed by as much as its stretch, unless the median of its own steps contradicts
    that by more than jitter can. The jitter is read off the slices themselves, from step to step. What is not off by half
    of its threshold, as all durations where only the flash has become slow, stays as it was.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.monitor.observation import Observation

NUM_SEGMENTS = 16
PERSISTENCE = 3
"""Steps in a row that show the drift."""
LEAST_DRIFT = 0.05
"""Smaller changes are not worth a new plan."""
SCATTER = 3.0
"""Standard deviations of a sum that are no drift."""
MEMORY = 16
"""Steps that the scatter is estimated from."""


class Drift:
    """Watches whether the steps are still what the current plan expects."""

    def __init__(self, timeline: Timeline, *, machine: Machine) -> None:
        self.timeline = timeline
        """With the durations that are expected."""
        self.machine = machine
        """With the rates that are expected."""
        self._seen: list[Observation] = []
        self._scatter: list[NDArray[np.float64]] = []
        self._expect()

    def notice(self, seen: Observation) -> bool:
        """Take in a step; return whether the last steps have drifted away from what is expected."""
        self._seen = [*self._seen, seen][-PERSISTENCE:]
        self._scatter = [*self._scatter, self._log_sums(seen)][-MEMORY:]
        if len(self._seen) < PERSISTENCE:
            return False
        off = self._off()
        # A one-off may be large, but it passes, or falls to the other side: Note [Persistent drift].
        same_side = (np.sign(off) == np.sign(off[-1])).all(axis=0)
        return bool((same_side & (np.abs(off) > self._threshold()).all(axis=0)).any())

    def _off(self) -> NDArray[np.float64]:
        """How far the sums of the last steps are off, shape (steps, sums)."""
        return np.array([self._log_sums(step) for step in self._seen]) - self._expected

    def follow(self) -> None:
        """Expect from now on what the last steps have shown."""
        seconds = self._estimate()
        rates = [_median_rate(self._seen, name) for name in _RATES]
        self.timeline = replace(self.timeline, slices=replace(self.timeline.slices, duration_s=seconds))
        self.machine = _with_rates(self.machine, *rates)
        self._seen, self._scatter = [], []
        self._expect()

    def _estimate(self) -> NDArray[np.float64]:
        """Estimate the seconds of each slice, see Note [What is new about a slice]."""
        expected = self.timeline.slices.duration_s
        steps = np.array([step.duration_s for step in self._seen])
        # A stretch of slices that take no time has no ratio.
        planned = np.maximum(np.add.reduceat(expected, self._first), np.finfo(np.float64).tiny)
        sums = np.add.reduceat(steps, self._first, axis=1) / planned
        lengths = np.diff(np.append(self._first, len(expected)))
        like_its_stretch = expected * np.repeat(np.median(sums, axis=0), lengths)
        own = np.median(steps, axis=0)
        # A difference of two steps scatters sqrt(2) times as much as one; 0.6745 makes median deviations standard ones.
        jitter = np.median(np.abs(np.diff(_log(steps), axis=0))) / (0.6745 * np.sqrt(2))
        is_jitter = np.abs(_log(own) - _log(like_its_stretch)) <= SCATTER * jitter
        estimate = np.where(is_jitter, like_its_stretch, own)
        drifted = np.abs(np.median(self._off(), axis=0)) > self._threshold() / 2
        return np.where(np.repeat(drifted[: len(self._first)], lengths), estimate, expected)

    def _expect(self) -> None:
        clock = np.cumsum(self.timeline.slices.duration_s)
        ends = np.searchsorted(clock, clock[-1] * np.arange(1, NUM_SEGMENTS) / NUM_SEGMENTS)
        self._first = np.unique(np.concatenate([[0], ends]))
        machine = self.machine
        rates = [machine.read_bytes_per_s, machine.write_bytes_per_s, machine.shared_bytes_per_s]
        self._expected = self._logs(self.timeline.slices.duration_s, rates)

    def _log_sums(self, seen: Observation) -> NDArray[np.float64]:
        return self._logs(seen.duration_s, [getattr(seen, name) for name in _RATES])

    def _logs(self, duration_s: NDArray[np.float64], rates: list[float]) -> NDArray[np.float64]:
        seconds = np.add.reduceat(duration_s, self._first)
        return _log(np.concatenate([seconds, rates]))

    def _threshold(self) -> NDArray[np.float64]:
        # From step to step: a lasting change is one large difference among many, and the median passes over it.
        between = np.abs(np.diff(np.array(self._scatter), axis=0))
        deviation = np.median(between, axis=0) / (0.6745 * np.sqrt(2))
        # Few steps tell little about one stretch: it scatters no less than the stretches do on the whole.
        seconds = deviation[: len(self._first)]
        seconds[:] = np.maximum(seconds, np.median(seconds))
        return np.maximum(LEAST_DRIFT, SCATTER * deviation)


_RATES = ("read_bytes_per_s", "write_bytes_per_s", "shared_bytes_per_s")


def _log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(values, np.finfo(np.float64).tiny))  # some slices take no time


def _median_rate(seen: list[Observation], name: str) -> float:
    measured = [rate for step in seen if not np.isnan(rate := getattr(step, name))]
    return float(np.median(measured)) if measured else float("nan")


def _with_rates(machine: Machine, read: float, write: float, shared: float) -> Machine:
    """Return `machine` with the measured rates; NaN where nothing was measured."""
    new_read = machine.read_bytes_per_s if np.isnan(read) else read
    new_write = machine.write_bytes_per_s if np.isnan(write) else write
    if np.isnan(shared):
        before = machine.read_bytes_per_s + machine.write_bytes_per_s
        shared = machine.shared_bytes_per_s * (new_read + new_write) / before
    slow = replace(
        machine.slow,
        read_bandwidth_bytes_per_s=new_read,
        write_bandwidth_bytes_per_s=new_write,
        shared_bandwidth_bytes_per_s=min(max(shared, new_read, new_write), new_read + new_write),
    )
    return replace(machine, slow=slow)
