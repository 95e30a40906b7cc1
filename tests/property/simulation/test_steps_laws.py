"""Laws of many steps, for any step, machine, disturbance and sequence of plans: the plan is advice, residency is law."""

from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.disturbances import disturbances
from tests.support.proposals import proposed
from tests.support.shadow_memory import ShadowedEngine, ShadowMemory
from tests.support.steps import links, steps
from tests.support.thoroughness import examples

from tmtrain.deciding import Decision, Knowledge
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.monitor.monitor import Monitor
from tmtrain.planning.monitor.steering import exchange, measured_slack_s, moved_pages
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.whole import plan_whole
from tmtrain.plans import Plan
from tmtrain.simulation import engine, simulate
from tmtrain.simulation import steps as steps_module
from tmtrain.simulation.noise import Disturbance, conditions_of
from tmtrain.simulation.steps import Conditions, StepRecord, run_steps

NUM_STEPS = 12


@pytest.fixture(autouse=True, scope="module")
def shadow() -> Iterator[None]:
    """Every run of this module is shadowed: it fails when a page is lost, stale, in memory twice, or one too many."""
    with patch.object(steps_module, "Engine", ShadowedEngine), patch.object(engine, "Memory", ShadowMemory):
        yield


def _lawful(records: list[StepRecord], timeline: Timeline) -> None:
    for record in records:
        assert record.peak_bytes <= timeline.fast_bytes
        assert record.stall_s >= -1e-9
        assert (record.misses > 0) == (record.missed_bytes > 0)


@given(
    timeline=steps(), machine=links(), struck=disturbances(), objective=st.sampled_from(["time", "energy"])
)
@examples(150)
def test_a_monitored_run_keeps_every_law(
    timeline: Timeline, machine: Machine, struck: list[Disturbance], objective: str
) -> None:
    monitor = Monitor(timeline, machine=machine, objective=objective)
    met = (
        conditions_of(k, timeline=timeline, machine=machine, disturbances=struck, seed=1)
        for k in range(NUM_STEPS)
    )
    records = list(run_steps(met, timeline=timeline, plan=monitor.plan, steer=monitor.next_plan))
    assert len(records) == NUM_STEPS
    _lawful(records, timeline)


@given(data=st.data(), timeline=steps(), machine=links())
@examples(200)
def test_any_sequence_of_plans_whole_or_broken_runs(
    data: st.DataObject, timeline: Timeline, machine: Machine
) -> None:
    plans = [proposed(timeline, machine=machine, objective=name) for name in ("time", "bytes", "writes")]
    plans += [plan_whole(timeline, machine=machine), _broken(data, plans[0])]
    order = iter(data.draw(st.lists(st.sampled_from(plans), min_size=NUM_STEPS, max_size=NUM_STEPS)))
    calm = Conditions(duration_s=timeline.slices.duration_s, machine=machine)
    records = list(
        run_steps([calm] * NUM_STEPS, timeline=timeline, plan=plans[0], steer=lambda _: next(order))
    )
    _lawful(records, timeline)


def _broken(data: st.DataObject, whole: Plan) -> Plan:
    """Lose some transfers."""
    moves = whole.transfers
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(moves), max_size=len(moves))), bool)
    return replace(whole, transfers=replace(moves, **{n: getattr(moves, n)[keep] for n in moves.__slots__}))


@given(timeline=steps(), machine=links(), struck=disturbances())
@examples(100)
def test_disturbances_alone_make_no_miss(
    timeline: Timeline, machine: Machine, struck: list[Disturbance]
) -> None:
    """The capacity of a plan holds whatever the link and the chip do; they can only make it wait."""
    met = [
        conditions_of(k, timeline=timeline, machine=machine, disturbances=struck, seed=2)
        for k in range(NUM_STEPS)
    ]
    records = list(run_steps(met, timeline=timeline, plan=proposed(timeline, machine=machine)))
    _lawful(records, timeline)
    assert [record.misses for record in records[1:]] == [0] * (NUM_STEPS - 1)


@given(timeline=steps(), machine=links())
@examples(150)
def test_calm_steps_are_the_steady_step(timeline: Timeline, machine: Machine) -> None:
    planned = proposed(timeline, machine=machine)
    decision = Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, plan=planned)
    steady = simulate(decision, machine=machine, policy="tmtrain")
    calm = Conditions(duration_s=timeline.slices.duration_s, machine=machine)
    record = list(run_steps([calm] * (steady.warm_up_steps + 1), timeline=timeline, plan=planned))[-1]
    assert (record.bytes_in, record.bytes_out, record.misses) == (steady.bytes_in, steady.bytes_out, 0)
    assert record.step_time_s == steady.step_time_s
    assert record.stall_s == pytest.approx(steady.stall_s)
    assert record.observation.stall_s == pytest.approx(steady.series.stall_s)
    assert record.observation.duration_s == pytest.approx(timeline.slices.duration_s)


@given(data=st.data(), timeline=steps(), machine=links(), share=st.floats(0, 1))
@examples(200)
def test_an_exchange_fits_and_takes_only_from_the_late(
    data: st.DataObject, timeline: Timeline, machine: Machine, share: float
) -> None:
    problem = build_problem(timeline)
    moved = moved_pages(problem, proposed(timeline, machine=machine).transfers)
    slack = np.array(
        data.draw(st.lists(st.sampled_from([-1.0, 0.0, 2.0]), min_size=len(moved), max_size=len(moved)))
    )
    new = exchange(problem, moved, slack, share=share)
    assert (problem.absent_pages(new) >= problem.over_pages).all()
    assert (new >= 0).all()
    assert (new <= problem.gaps.pages).all()
    assert (new >= moved)[slack >= 0].all()


@given(timeline=steps(), machine=links())
@examples(100)
def test_slack_is_measured_for_every_gap(timeline: Timeline, machine: Machine) -> None:
    planned = proposed(timeline, machine=machine)
    calm = Conditions(duration_s=timeline.slices.duration_s, machine=machine)
    *_, last = run_steps([calm] * 4, timeline=timeline, plan=planned)
    seen = last.observation
    problem = build_problem(timeline)
    slack = measured_slack_s(problem, seen, timeline=timeline, machine=machine)
    assert np.isfinite(slack).all()
    early = seen.arrived_early_s
    assert len(early) == len(planned.transfers)
    due = planned.transfers.return_slice % len(timeline.slices)
    # Who came late was waited for, at least as long.
    waited = seen.stall_s[due]
    assert (waited >= -np.nan_to_num(early) - 1e-9)[early < 0].all()


@given(timeline=steps(), machine=links())
@examples(150)
def test_a_whole_plan_moves_whole_extents_and_fits(timeline: Timeline, machine: Machine) -> None:
    whole = plan_whole(timeline, machine=machine)
    moves = whole.transfers
    last = moves.first_page + moves.pages  # of the parts of an extent one ends where the extent does
    for extent in set(moves.extent.tolist()):
        assert last[moves.extent == extent].max() == timeline.extents.pages[extent]
    result = simulate(
        Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, plan=whole), machine=machine, policy="whole"
    )
    # A page that has not left yet when its extent is used again is taken back: it never comes in, and where that use writes
    # over it, what was to go out is nobody's any more.
    assert result.bytes_in <= whole.prediction.bytes_in
    assert result.bytes_out <= whole.prediction.bytes_out
