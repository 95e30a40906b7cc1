"""`run_steps`: one engine over many steps, each with its own durations, rates and plan.

The closed loop: a step runs under a plan, `steer` sees what was observed, and the next step follows the plan that it
returns. Where the plan changed, what it expects in fast memory may not be there. The engine then fetches on demand and
counts the misses, and `tmtrain.deciding.eviction.Rescue` makes the room. The capacity holds in any case.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding import Decision, Knowledge
from tmtrain.deciding.eviction import Rescue
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.monitor.observation import Observation
from tmtrain.plans import Plan
from tmtrain.simulation.engine import Engine
from tmtrain.simulation.link import Meter, TrafficLog
from tmtrain.simulation.steady import MeasuredStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """What one step meets, whoever planned it."""

    duration_s: NDArray[np.float64]
    """Of each slice."""
    machine: Machine
    """Its flash rates and latencies are in force during this step."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of a run."""

    step_time_s: float
    compute_s: float
    stall_s: float
    bytes_in: int
    bytes_out: int
    misses: int
    """Accesses whose extent the plan had not brought in."""
    missed_bytes: int
    peak_bytes: int
    """The most that was resident and in flight at once."""
    observation: Observation


def run_steps(
    conditions: Iterable[Conditions],
    *,
    timeline: Timeline,
    plan: Plan,
    steer: Callable[[Observation], Plan] | None = None,
) -> Iterator[StepRecord]:
    """Run a step per item of `conditions`, the first from a cold fast tier.

    Args:
        conditions: What each step meets; may be endless.
        timeline: The step; its own durations are not used.
        plan: For the first step.
        steer: Sees what was observed of each step and returns the plan for the next one; None keeps `plan`.

    Yields:
        One record per step, as soon as it has run.

    >>> from itertools import repeat
    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_plan, example_timeline
    >>> timeline = example_timeline()
    >>> calm = Conditions(duration_s=timeline.slices.duration_s, machine=load_machine("v4-slc"))
    >>> [record.bytes_in for record in run_steps(repeat(calm, 4), timeline=timeline, plan=example_plan())]
    [20480, 8192, 8192, 8192]
    """
    engine: Engine | None = None
    observation: Observation | None = None
    log_row = 0
    for number, step in enumerate(conditions):
        if engine is None:
            engine = _cold_engine(timeline, plan, step.machine)
        if observation is not None and steer is not None:
            plan = steer(observation)
        engine.adopt(plan, duration_s=step.duration_s, machine=step.machine)
        before = replace(engine.link.meter)
        measured = engine.measure_step(number, complete=number > 0)
        log, meter = _LastTransfers(engine.link.log, first_row=log_row), _since(engine.link.meter, before)
        # The next observation looks back to the beginning of this step: what it uses may have come in here.
        log_row = measured.first_log_row
        observation = _observe(measured, plan, log, meter)
        yield _record(measured, observation, page_bytes=timeline.page_bytes)


def _cold_engine(timeline: Timeline, plan: Plan, machine: Machine) -> Engine:
    decision = Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, plan=plan, pager=Rescue(timeline))
    return Engine(decision, machine=machine)


class _LastTransfers:
    """When the last chunk of an extent had come in, or gone out, in this step or the one before."""

    def __init__(self, log: TrafficLog, *, first_row: int) -> None:
        end_s, extent = np.array(log.end_s[first_row:]), np.array(log.extent[first_row:], np.int64)
        is_write = np.array(log.is_write[first_row:], bool)
        self._lanes: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        for lane in (~is_write, is_write):
            order = np.argsort(extent[lane], kind="stable")  # the log is in order of time
            self._lanes.append((extent[lane][order], end_s[lane][order]))

    def arrival(self, extent: NDArray[np.int32], *, until_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the last arrival of each `extent` up to its `until_s`; NaN where there was none."""
        return self._last(0, extent, until_s)

    def departure(self, extent: NDArray[np.int32], *, until_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the last time until `until_s` that a chunk of each `extent` had been written."""
        return self._last(1, extent, until_s)

    def _last(
        self, lane: int, extent: NDArray[np.int32], until_s: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        extents, end_s = self._lanes[lane]
        first, last = (np.searchsorted(extents, extent, side=side).tolist() for side in ("left", "right"))
        last_s = np.full(len(extent), np.nan)
        for i, (a, b) in enumerate(zip(first, last, strict=True)):
            row = a + int(np.searchsorted(end_s[a:b], until_s[i], side="right")) - 1
            if row >= a:
                last_s[i] = end_s[row]
        return last_s


def _observe(measured: MeasuredStep, plan: Plan, log: _LastTransfers, flow: Meter) -> Observation:
    start, end = measured.slice_start_s, measured.slice_end_s
    wanted = np.concatenate([[measured.start_s], end[:-1]])
    moves, T = plan.transfers, len(start)
    back, leave = moves.return_slice % T, moves.leave_slice % T
    # In this step the pages are away from `leave` to `back`, or, where that wraps, from the step before to the next one.
    away_until = np.where(back > leave, start[back], measured.end_s)
    return Observation(
        plan=plan,
        duration_s=end - start,
        stall_s=start - wanted,
        arrived_early_s=wanted[back] - log.arrival(moves.extent, until_s=start[back]),
        left_early_s=wanted[leave] - log.departure(moves.extent, until_s=away_until),
        read_bytes_per_s=_rate(flow.read_bytes, flow.read_s),
        write_bytes_per_s=_rate(flow.write_bytes, flow.write_s),
        shared_bytes_per_s=_rate(flow.both_bytes, flow.both_s),
    )


def _since(now: Meter, before: Meter) -> Meter:
    return Meter(**{name: getattr(now, name) - getattr(before, name) for name in Meter.__slots__})


def _rate(amount: float, seconds: float) -> float:
    return amount / seconds if seconds > 0 else float("nan")


def _record(measured: MeasuredStep, observation: Observation, *, page_bytes: int) -> StepRecord:
    step_time_s = measured.end_s - measured.start_s
    stall_s = float(observation.stall_s.sum())
    return StepRecord(
        step_time_s=step_time_s,
        compute_s=step_time_s - stall_s,
        stall_s=stall_s,
        bytes_in=measured.pages_in * page_bytes,
        bytes_out=measured.pages_out * page_bytes,
        misses=measured.misses,
        missed_bytes=measured.missed_pages * page_bytes,
        peak_bytes=measured.peak_pages * page_bytes,
        observation=observation,
    )
