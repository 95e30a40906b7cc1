"""`simulate`: a policy's decision on a machine -> Result."""

from math import ceil

import numpy as np

from tmtrain.deciding import Decision
from tmtrain.errors import InternalError
from tmtrain.lowering.energy import (
    COMPONENTS,
    compute_energy,
    standing_power,
    transfer_energy,
    work_components_j,
)
from tmtrain.machine import Machine
from tmtrain.simulation.engine import Engine
from tmtrain.simulation.link import TrafficLog
from tmtrain.simulation.result import Conservation, Result, Series, Traffic
from tmtrain.simulation.steady import MeasuredStep


def simulate(decision: Decision, *, machine: Machine, policy: str) -> Result:
    """Run the step of `decision.timeline` until it repeats itself and report the last repetition, or the mean of a cycle.

    Args:
        decision: What `Policy.decide` returned.
        machine: Rates, latencies and energies.
        policy: Name for the result.

    Raises:
        PlanRefutedError: the plan reads what is absent, or the capacity cannot hold what it asks for.
    """
    engine = Engine(decision, machine=machine)
    steady = engine.run()
    timeline, shown = decision.timeline, steady.shown
    page = timeline.page_bytes
    # Of several steps the mean may be a part of a page: rounded up, so that no bound is undercut.
    bytes_in, bytes_out = ceil(steady.pages_in * page), ceil(steady.pages_out * page)
    step_time_s = steady.step_time_s
    series = _series(shown, decision, machine=machine)
    stall_s = float(series.stall_s.sum()) if len(steady.steps) == 1 else step_time_s - timeline.compute_s
    books = [_balance(step, page) for step in steady.steps]
    return Result(
        policy=policy,
        machine=machine.name,
        fast_bytes=timeline.fast_bytes,
        step_time_s=step_time_s,
        ideal_step_time_s=timeline.compute_s - decision.recompute_s,
        recompute_s=decision.recompute_s,
        stall_s=stall_s,
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        energy_by_component_j=step_energy(
            decision, machine=machine, step_time_s=step_time_s, bytes_in=bytes_in, bytes_out=bytes_out
        ),
        warm_up_steps=steady.steps[0].warm_up_steps,
        measured_steps=len(steady.steps),
        conservation=books[-1],
        series=series,
        traffic=_traffic(engine.link.log, shown, page),
    )


def step_energy(
    decision: Decision, *, machine: Machine, step_time_s: float, bytes_in: int, bytes_out: int
) -> dict[str, float]:
    """Return the joules of one step that took so long and moved so much, by component."""
    timeline = decision.timeline
    standing = standing_power(machine, fast_bytes=timeline.fast_bytes, has_flash=decision.has_flash)
    parts = compute_energy(timeline.slices, machine=machine)
    parts |= {name: watts * step_time_s for name, watts in standing.items()}
    parts |= transfer_energy(machine, bytes_in=bytes_in, bytes_out=bytes_out)
    return {name: parts.get(name, 0.0) for name in COMPONENTS}


def _balance(measured: MeasuredStep, page: int) -> Conservation:
    """Close the books of the measured step.

    Raises:
        InternalError: they do not balance, which no plan or pager can cause.
    """
    before, after = measured.before, measured.after
    books = Conservation(
        resident_start_bytes=measured.resident_start * page,
        in_bytes=measured.pages_in * page,
        born_bytes=(after.born - before.born) * page,
        left_bytes=(after.left - before.left) * page,
        dead_bytes=(after.dead - before.dead) * page,
        resident_end_bytes=measured.resident_end * page,
    )
    if books.missing_bytes:
        raise InternalError(
            f"the simulator lost {books.missing_bytes} bytes of a step: {books}. No plan can cause that: "
            "please report it, with the command and the trace"
        )
    return books


def _series(measured: MeasuredStep, decision: Decision, *, machine: Machine) -> Series:
    slices, page = decision.timeline.slices, decision.timeline.page_bytes
    start, end = measured.slice_start_s - measured.start_s, measured.slice_end_s - measured.start_s
    return Series(
        start_s=start,
        end_s=end,
        stall_s=start - np.concatenate([[0.0], end[:-1]]),
        phase=slices.phase,
        resident_bytes=measured.resident_pages * page,
        in_flight_bytes=measured.in_flight_pages * page,
        work_j=np.column_stack(work_components_j(slices, machine=machine)),
    )


def _traffic(log: TrafficLog, measured: MeasuredStep, page: int) -> Traffic:
    rows = slice(measured.first_log_row, None)  # it is the last one that ran
    return Traffic(
        start_s=np.array(log.start_s[rows]) - measured.start_s,
        end_s=np.array(log.end_s[rows]) - measured.start_s,
        is_write=np.array(log.is_write[rows], bool),
        bytes=np.array(log.pages[rows], np.int64) * page,
        extent=np.array(log.extent[rows], np.int32),
    )
