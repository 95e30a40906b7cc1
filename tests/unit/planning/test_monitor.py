"""The timing monitor: when it plans anew, when it does not, what it moves, and that it comes to rest."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count, product

import numpy as np
import pytest
from tests.support.instances import middle_timeline
from tests.support.machines import toy_machine
from tests.support.proposals import proposed
from tests.support.simulated import pages_per_second, step
from tests.support.thoroughness import rest_slow

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.monitor.monitor import Monitor
from tmtrain.planning.monitor.observation import Observation
from tmtrain.planning.monitor.steering import exchange
from tmtrain.planning.problem.problem import build_problem
from tmtrain.plans import Plan
from tmtrain.simulation.noise import (
    Disturbance,
    Jitter,
    OneOff,
    RateDrift,
    SlowFlash,
    conditions_of,
    regime_of,
    scale_rates,
)
from tmtrain.simulation.steps import Conditions, StepRecord, run_steps

NUM_STEPS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Watched:
    """A monitored run and its plans."""

    records: list[StepRecord]
    monitor: Monitor
    drifts: list[int]
    """Steps before which the monitor expected something new."""

    @property
    def plans(self) -> list[Plan]:
        return [record.observation.plan for record in self.records]

    @property
    def changes(self) -> list[int]:
        """Steps whose plan is another than that of the step before."""
        return [k for k in range(1, len(self.plans)) if self.plans[k] is not self.plans[k - 1]]

    def stall_s(self, first: int) -> float:
        """Mean over four steps."""
        return float(np.mean([record.stall_s for record in self.records[first : first + 4]]))


def _conditions(
    timeline: Timeline, machine: Machine, disturbances: Sequence[Disturbance], seed: int = 0
) -> list[Conditions]:
    return [
        conditions_of(k, timeline=timeline, machine=machine, disturbances=disturbances, seed=seed)
        for k in range(NUM_STEPS)
    ]


def _watch(
    timeline: Timeline, machine: Machine, *disturbances: Disturbance, objective: str = "time", seed: int = 0
) -> _Watched:
    monitor = Monitor(timeline, machine=machine, objective=objective)
    drifts: list[int] = []
    numbers = count(1)

    def steer(seen: Observation) -> Plan:
        step, expected = next(numbers), monitor._drift.timeline
        new_plan = monitor.next_plan(seen)
        if monitor._drift.timeline is not expected:
            drifts.append(step)
        return new_plan

    met = _conditions(timeline, machine, disturbances, seed)
    records = list(run_steps(met, timeline=timeline, plan=monitor.plan, steer=steer))
    return _Watched(records=records, monitor=monitor, drifts=drifts)


def _perfect_stall_s(
    timeline: Timeline, machine: Machine, *disturbances: Disturbance, first: int, seed: int = 0
) -> float:
    """Mean stall over four steps of the plan that knows the regime of step `first`, in force from the beginning."""
    regime = regime_of(first, timeline=timeline, machine=machine, disturbances=disturbances)
    known = replace(timeline, slices=replace(timeline.slices, duration_s=regime.duration_s))
    new_plan = proposed(known, machine=regime.machine, objective="time")
    records = list(
        run_steps(_conditions(timeline, machine, disturbances, seed), timeline=timeline, plan=new_plan)
    )
    return float(np.mean([record.stall_s for record in records[first : first + 4]]))


def _balanced(seed: int, pages_per_s: float = 4.0) -> tuple[Timeline, Machine]:
    """Some hundred gaps on a link that hides most of them."""
    rate = 8 * pages_per_s
    machine = toy_machine(
        read_bytes_per_s=rate, write_bytes_per_s=rate, shared_bytes_per_s=2 * rate, page_bytes=8
    )
    return middle_timeline(seed), machine


def _large(seed: int) -> tuple[Timeline, Machine]:
    """Three times as many gaps, on a link that is fast enough for a page to matter little."""
    rate = 8 * 12.0
    machine = toy_machine(
        read_bytes_per_s=rate, write_bytes_per_s=rate, shared_bytes_per_s=2 * rate, page_bytes=8
    )
    return middle_timeline(seed, extents=120), machine


HIDDEN = (
    step(["a:r", "", "t:new", "", "", ""], pages={"a": 1, "t": 1}, fast_pages=1, frees={2: "t"}),
    pages_per_second(),
)
"""A step without a stall: nothing is worth a trial."""


@pytest.mark.parametrize("setting", [HIDDEN, _balanced(1), _balanced(4, 1.0)])
def test_a_one_off_changes_nothing_lasting(setting: tuple[Timeline, Machine]) -> None:
    calm = _watch(*setting)
    last = max([0, *calm.changes])
    assert last < 30, "not at rest yet"
    struck = _watch(*setting, OneOff(step=last + 3, factor=10, share=0.5))
    assert struck.changes == calm.changes
    assert struck.stall_s(NUM_STEPS - 4) == pytest.approx(calm.stall_s(NUM_STEPS - 4))


@pytest.mark.parametrize("seed", range(5))
def test_jitter_alone_is_no_drift(seed: int) -> None:
    timeline, machine = _balanced(seed)
    watched = _watch(timeline, machine, Jitter(sigma=0.1), seed=seed)
    assert watched.drifts == []


def test_jitter_of_a_hidden_step_changes_nothing() -> None:
    assert _watch(*HIDDEN, Jitter(sigma=0.1)).changes == []


def test_large_jitter_raises_the_threshold() -> None:
    # Scatter of 30 % per slice, and few slices per sum: three steps off by 5 % to the same side are no news.
    assert _watch(*HIDDEN, Jitter(sigma=0.3), seed=2).changes == []


@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_a_drift_is_noticed_after_three_steps_and_once(factor: float) -> None:
    watched = _watch(*HIDDEN, RateDrift(first_step=10, factor=factor))
    assert watched.drifts == [13]
    known = watched.monitor._drift.timeline
    assert known.slices.duration_s == pytest.approx(factor * HIDDEN[0].slices.duration_s)


def test_a_drift_that_makes_nothing_wait_changes_nothing() -> None:
    assert _watch(*HIDDEN, RateDrift(first_step=10, factor=1.3)).changes == []


def test_a_slow_flash_is_noticed_and_its_recovery_too() -> None:
    watched = _watch(*HIDDEN, SlowFlash(factor=0.5, first_step=10, last_step=19))
    assert watched.drifts == [13, 23]
    assert watched.monitor._drift.machine.read_bytes_per_s == pytest.approx(HIDDEN[1].read_bytes_per_s)


def test_wrong_estimates_are_mended_from_the_first_steps_on() -> None:
    timeline, machine = HIDDEN
    wrong = replace(timeline, slices=replace(timeline.slices, duration_s=3 * timeline.slices.duration_s))
    monitor = Monitor(wrong, machine=scale_rates(machine, 2.0))
    met = [Conditions(duration_s=timeline.slices.duration_s, machine=machine)] * 6
    list(run_steps(met, timeline=timeline, plan=monitor.plan, steer=monitor.next_plan))
    assert monitor._drift.timeline.compute_s == pytest.approx(timeline.compute_s)
    assert monitor._drift.machine.read_bytes_per_s == pytest.approx(machine.read_bytes_per_s)


def test_slices_that_take_no_time_are_no_drift_and_stay_so() -> None:
    timeline = step(
        ["a:r", "a:r", "t:new", "", ""],
        pages={"a": 1, "t": 1},
        fast_pages=1,
        frees={2: "t"},
        duration_s=[0, 0, 1, 0, 3],
    )
    watched = _watch(timeline, pages_per_second(), RateDrift(first_step=10, factor=1.3))
    assert watched.drifts == [13]
    assert watched.monitor._drift.timeline.slices.duration_s.tolist() == pytest.approx([0, 0, 1.3, 0, 3.9])


def test_one_slice_that_alone_has_changed_is_seen_through_the_jitter_of_the_others() -> None:
    timeline, machine = _balanced(1)
    struck = timeline.slices.duration_s.copy()
    struck[60] *= 10
    monitor = Monitor(timeline, machine=machine)
    changed = replace(timeline, slices=replace(timeline.slices, duration_s=struck))
    met = _conditions(changed, machine, [Jitter(sigma=0.05)])[:8]
    list(run_steps(met, timeline=timeline, plan=monitor.plan, steer=monitor.next_plan))
    ratio = monitor._drift.timeline.slices.duration_s / timeline.slices.duration_s
    assert ratio[60] == pytest.approx(10, rel=0.15)
    assert np.median(ratio) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("factor", "sigma", "seed"), rest_slow(product([1.3, 0.7], [0.1, 0.0], range(3)), quick=1)
)
def test_ten_steps_after_a_drift_it_does_as_well_as_perfect_knowledge(
    factor: float, sigma: float, seed: int
) -> None:
    timeline, machine = _large(seed)
    struck = (Jitter(sigma=sigma), RateDrift(first_step=20, factor=factor))
    watched = _watch(timeline, machine, *struck, seed=seed)
    perfect = _perfect_stall_s(timeline, machine, *struck, first=30, seed=seed)
    assert watched.stall_s(30) <= 1.05 * perfect + 0.002 * timeline.compute_s


def test_a_static_plan_does_not() -> None:
    """So the test above can fail: there is a step in which staying with the plan costs half as much again."""
    timeline, machine = _balanced(25, 2.0)
    struck = RateDrift(first_step=20, factor=1.3)
    static = proposed(timeline, machine=machine, objective="time")
    records = list(run_steps(_conditions(timeline, machine, [struck]), timeline=timeline, plan=static))
    perfect = _perfect_stall_s(timeline, machine, struck, first=30)
    assert np.mean([record.stall_s for record in records[30:34]]) > 1.15 * perfect


def test_steering_finds_what_the_programme_does_not_see() -> None:
    # Without any disturbance: the bytes are the same to the programme, when they are due is not.
    timeline, machine = _large(1)
    watched = _watch(timeline, machine)
    static = _perfect_stall_s(timeline, machine, first=30)
    assert watched.stall_s(30) < 0.9 * static


def test_a_steered_plan_that_does_not_pay_returns() -> None:
    timeline, machine = _balanced(0, 2.0)
    watched = _watch(timeline, machine)
    assert len(watched.changes) > 0
    assert max(watched.changes) < 25
    assert watched.stall_s(30) <= 1.001 * _perfect_stall_s(timeline, machine, first=30)


def test_the_latest_gap_keeps_more_and_the_earliest_takes_over() -> None:
    # Two of the three pages of a, b, c have to be away in slice 1.
    timeline = step(
        ["a:r b:r c:r", "t:new", "a:r", "b:r", "c:r"],
        pages={"a": 2, "b": 2, "c": 2, "t": 4},
        fast_pages=8,
        frees={1: "t"},
    )
    problem = build_problem(timeline)
    at = {int(e): g for g, e in enumerate(problem.gaps.extent) if problem.gaps.start[g] == 0}
    moved, slack = np.zeros(len(problem.gaps), np.int64), np.zeros(len(problem.gaps))
    moved[at[0]], slack[at[0]], slack[at[1]], slack[at[2]] = 2, -1.0, 1.0, 3.0
    half = exchange(problem, moved, slack, share=0.5)
    assert [half[at[e]] for e in range(3)] == [1, 0, 1]
    assert half.sum() == 2
    assert exchange(problem, moved, slack, share=0.0).tolist() == moved.tolist()


def test_what_the_placement_has_to_spare_stays_for_nothing() -> None:
    timeline = step(["a:r", "t:new", "a:r"], pages={"a": 3, "t": 1}, fast_pages=3, frees={1: "t"})
    problem = build_problem(timeline)
    late = np.where(problem.gaps.start == 0, -1.0, 0.0)
    moved = np.where(problem.gaps.start == 0, 3, 0)
    assert exchange(problem, moved, late, share=1.0).sum() == 1


def test_for_energy_it_weighs_stalls_against_bytes() -> None:
    # A second costs nothing, a byte does: no stall is worth a byte, so nothing is ever tried.
    timeline, machine = _balanced(2)
    thrifty = replace(
        machine, slow=replace(machine.slow, read_energy_j_per_byte=1.0, program_energy_j_per_byte=1.0)
    )
    assert _watch(timeline, thrifty, objective="energy").changes == []
