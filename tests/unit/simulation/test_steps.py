"""Many steps, worked out by hand: what changes between them, what they miss, and what they tell."""

from itertools import repeat

import numpy as np
import pytest
from tests.support.simulated import PAGE, pages_per_second, step

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import make_plan
from tmtrain.planning.problem.problem import build_problem
from tmtrain.plans import Plan
from tmtrain.simulation.steps import Conditions, StepRecord, run_steps

MACHINE = pages_per_second()

EITHER = step(["a:r b:r", "", "t:new", "", ""], pages={"a": 1, "b": 1, "t": 1}, fast_pages=2, frees={2: "t"})
"""One page, of a or of b, has to step aside for t in slice 2. Both are clean, and have 2 s to come back."""


def _moving(pages: list[int], timeline: Timeline = EITHER, machine: Machine = MACHINE) -> Plan:
    problem = build_problem(timeline)
    return make_plan(problem, np.array(pages), timeline=timeline, machine=machine, objective="time")


def _calm(machine: Machine = MACHINE, timeline: Timeline = EITHER) -> Conditions:
    return Conditions(duration_s=timeline.slices.duration_s, machine=machine)


def _misses_and_stall(record: StepRecord) -> tuple[int, int, float]:
    """Pages in, misses, stall."""
    return record.bytes_in // PAGE, record.misses, round(record.stall_s, 9)


def test_a_cold_start_misses_and_then_the_plan_is_followed() -> None:
    records = list(run_steps(repeat(_calm(), 3), timeline=EITHER, plan=_moving([1, 0])))
    assert [_misses_and_stall(record) for record in records] == [(3, 2, 2.0), (1, 0, 0.0), (1, 0, 0.0)]


def test_the_first_step_of_a_new_plan_does_what_the_steps_before_would_have_done() -> None:
    # Both gaps end with the step, so nothing is away when it begins, and nothing is missed.
    plans = iter([_moving([1, 0]), _moving([0, 1]), _moving([0, 1])])
    records = list(
        run_steps(repeat(_calm(), 4), timeline=EITHER, plan=_moving([1, 0]), steer=lambda _: next(plans))
    )
    assert [_misses_and_stall(record) for record in records[1:]] == [(1, 0, 0.0)] * 3


def test_what_a_new_plan_wants_here_is_fetched_for_its_first_use() -> None:
    # Away across the end of the step: a in the old plan, b in the new one. a is fetched at once and is there for slice 2.
    timeline = step(
        ["t:new", "", "a:r b:r", "u:new"],
        pages={"a": 1, "b": 1, "t": 1, "u": 1},
        fast_pages=2,
        frees={0: "t", 3: "u"},
    )
    old, new = _moving([1, 0], timeline), _moving([0, 1], timeline)
    calm = _calm(timeline=timeline)
    records = list(run_steps(repeat(calm, 4), timeline=timeline, plan=old, steer=lambda _: new))
    assert [_misses_and_stall(record)[1] for record in records[1:]] == [0, 0, 0]
    assert {record.peak_bytes for record in records} == {2 * PAGE}


def test_a_plan_that_lost_its_transfers_is_rescued_step_after_step() -> None:
    # Nothing makes room for t: the pager gives up what is used last, and its next use misses.
    records = list(run_steps(repeat(_calm(), 4), timeline=EITHER, plan=_moving([0, 0])))
    assert [_misses_and_stall(record) for record in records[1:]] == [(1, 1, 1.0)] * 3
    assert {record.peak_bytes for record in records} == {2 * PAGE}
    assert records[-1].missed_bytes == PAGE


def test_durations_and_rates_hold_for_their_step_only() -> None:
    slow = pages_per_second(read=0.25)
    long = Conditions(duration_s=3 * EITHER.slices.duration_s, machine=MACHINE)
    met = [_calm(), _calm(), _calm(slow), _calm(), long]
    records = list(run_steps(met, timeline=EITHER, plan=_moving([1, 0])))
    assert [record.compute_s for record in records] == pytest.approx([5, 5, 5, 5, 15])
    # 2 s of compute hide half of the 4 s that the slow read takes; the rest is waited for when the next step begins,
    # where the read has become fast again.
    assert [record.stall_s for record in records[1:]] == pytest.approx([0, 0, 0.5, 0])


def test_a_transfer_tells_how_early_it_was() -> None:
    # a is away during slice 2, comes in 1 s, is fetched from slice 3 on and wanted 2 s later.
    *_, last = run_steps(repeat(_calm(), 3), timeline=EITHER, plan=_moving([1, 0]))
    assert last.observation.arrived_early_s == pytest.approx([1.0])
    assert np.isnan(last.observation.left_early_s).all()
    *_, late = run_steps(repeat(_calm(pages_per_second(read=0.25)), 3), timeline=EITHER, plan=_moving([1, 0]))
    assert late.observation.arrived_early_s == pytest.approx([-2.0])
    assert late.observation.stall_s == pytest.approx([2, 0, 0, 0, 0])


def test_a_dirty_transfer_tells_how_late_it_left() -> None:
    # Written by slice 0 and asked for by slice 2; the write takes 1 s, or 4 s.
    timeline = step(["a:rw", "", "t:new", "", ""], pages={"a": 1, "t": 1}, fast_pages=1, frees={2: "t"})
    plan = _moving([1], timeline)
    for write, early, stall in ((1.0, -1.0, 0.0), (0.25, -4.0, 3.0)):
        met = repeat(_calm(pages_per_second(write=write), timeline), 3)
        *_, last = run_steps(met, timeline=timeline, plan=plan)
        assert last.observation.left_early_s == pytest.approx([early])
        assert last.observation.stall_s[2] == pytest.approx(stall)


def test_the_rates_that_were_measured_are_those_of_the_link() -> None:
    timeline = step(["a:rw", "", "t:new", "", ""], pages={"a": 1, "t": 1}, fast_pages=1, frees={2: "t"})
    met = repeat(_calm(pages_per_second(read=0.5, write=0.75), timeline), 3)
    *_, last = run_steps(met, timeline=timeline, plan=_moving([1], timeline))
    assert last.observation.read_bytes_per_s == pytest.approx(0.5 * PAGE)
    assert last.observation.write_bytes_per_s == pytest.approx(0.75 * PAGE)
    assert np.isnan(last.observation.shared_bytes_per_s)


def test_nothing_is_measured_where_nothing_moves() -> None:
    timeline = step(["a:r", "a:r"], pages={"a": 1}, fast_pages=1)
    *_, last = run_steps(repeat(_calm(timeline=timeline), 3), timeline=timeline, plan=_moving([0], timeline))
    assert np.isnan(last.observation.read_bytes_per_s)
    assert len(last.observation.arrived_early_s) == 0
