"""Laws of the engine, for any step, machine and policy; and for plans that somebody has broken."""

from collections.abc import Iterator
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.instances import middle_timeline
from tests.support.machines import narrow_machine
from tests.support.proposals import proposed
from tests.support.shadow_memory import ShadowedEngine, ShadowMemory
from tests.support.simulated import BASIC_POLICIES, PAGE
from tests.support.steps import links, steps
from tests.support.thoroughness import examples

from tmtrain.deciding import Decision
from tmtrain.errors import PlanRefutedError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies import follow, make_policy
from tmtrain.simulation import Result, engine, run, simulate
from tmtrain.simulation.engine import Engine

OBJECTIVES = ("energy", "time", "bytes", "writes")
every_policy = pytest.mark.parametrize("policy", BASIC_POLICIES)


@pytest.fixture(autouse=True, scope="module")
def shadow() -> Iterator[None]:
    """Every simulation of this module is shadowed: it fails when a page is lost, stale, or in memory twice."""
    with patch.object(run, "Engine", ShadowedEngine), patch.object(engine, "Memory", ShadowMemory):
        yield


def _decide(policy: str, timeline: Timeline, machine: Machine, objective: str = "energy") -> Decision:
    if policy.startswith("tmtrain"):
        # What the programme says, not what a rival did.
        ours = proposed(timeline, machine=machine, objective=objective, recompute=policy == "tmtrain")
        return follow(ours, timeline, machine=machine)
    return make_policy(policy, objective=objective).decide(timeline, machine=machine)


def _simulate(policy: str, timeline: Timeline, machine: Machine) -> Result:
    return simulate(_decide(policy, timeline, machine), machine=machine, policy=policy)


@every_policy
@given(timeline=steps(), machine=links())
@examples(120)
def test_no_slice_has_more_in_fast_memory_than_fits_or_less_than_it_touches(
    policy: str, timeline: Timeline, machine: Machine
) -> None:
    decision = _decide(policy, timeline, machine)
    result = simulate(decision, machine=machine, policy=policy)
    series, seen = result.series, decision.timeline
    resident = series.resident_bytes.sum(axis=1)
    assert (resident + series.in_flight_bytes <= result.fast_bytes).all()
    bounds = np.concatenate([[0], np.cumsum(seen.extents.pages[seen.accesses.extent])])[seen.accesses.ptr]
    assert (resident >= np.diff(bounds) * PAGE).all()


@every_policy
@given(timeline=steps(), machine=links())
@examples(120)
def test_bytes_and_seconds_add_up(policy: str, timeline: Timeline, machine: Machine) -> None:
    result = _simulate(policy, timeline, machine)
    books, log, series = result.conservation, result.traffic, result.series
    assert books.in_bytes == log.bytes[~log.is_write].sum()
    gained = books.resident_start_bytes + books.in_bytes + books.born_bytes
    assert gained == books.resident_end_bytes + books.left_bytes + books.dead_bytes
    assert (series.stall_s >= -1e-9).all()
    assert series.stall_s.sum() + timeline.compute_s == pytest.approx(result.shown_s)
    assert result.stall_s + timeline.compute_s == pytest.approx(result.step_time_s)
    assert result.ideal_step_time_s == timeline.compute_s
    assert series.end_s[-1] == pytest.approx(result.shown_s)
    assert series.end_s - series.start_s == pytest.approx(timeline.slices.duration_s)
    if result.measured_steps == 1:  # else the result is a mean, and the rest shows one of the steps
        assert (books.in_bytes, log.bytes[log.is_write].sum()) == (result.bytes_in, result.bytes_out)
        assert result.shown_s == result.step_time_s


@every_policy
@given(timeline=steps(), machine=links())
@examples(120)
def test_no_channel_is_faster_than_it_is(policy: str, timeline: Timeline, machine: Machine) -> None:
    result = _simulate(policy, timeline, machine)
    log, step_s = result.traffic, result.step_time_s
    # A chunk, of one page here, counts in the step in which it ends.
    chunk = PAGE / machine.read_bytes_per_s + PAGE / machine.write_bytes_per_s
    assert step_s >= result.bytes_in / machine.read_bytes_per_s - chunk
    assert step_s >= result.bytes_out / machine.write_bytes_per_s - chunk
    assert step_s >= result.traffic_bytes / machine.shared_bytes_per_s - chunk
    for lane, rate in ((log.is_write, machine.write_bytes_per_s), (~log.is_write, machine.read_bytes_per_s)):
        start, end = log.start_s[lane], log.end_s[lane]
        assert (start[1:] >= end[:-1] - 1e-9).all()
        assert ((end - start) * rate >= log.bytes[lane] - 16).all()


@every_policy
@given(timeline=steps(), machine=links())
@examples(60)
def test_the_same_step_gives_the_same_result(policy: str, timeline: Timeline, machine: Machine) -> None:
    first, second = (_simulate(policy, timeline, machine) for _ in range(2))
    for name in Result.__slots__:
        if name not in {"series", "traffic"}:
            assert getattr(first, name) == getattr(second, name), name
    for table in ("series", "traffic"):
        for name in type(getattr(first, table)).__slots__:
            assert np.array_equal(getattr(getattr(first, table), name), getattr(getattr(second, table), name))


@every_policy
@given(timeline=steps(), machine=links())
@examples(60)
def test_the_measured_step_comes_again(policy: str, timeline: Timeline, machine: Machine) -> None:
    # Of the next cycles none moves more, but for a chunk per lane and step that ends a little sooner or later.
    simulation = Engine(_decide(policy, timeline, machine), machine=machine)
    measured = simulation.run()
    cycle, last = len(measured.steps), measured.shown.warm_up_steps
    later = [simulation.measure_step(last + n, complete=True) for n in range(1, 8 * cycle + 1)]
    for n in range(0, len(later), cycle):
        moved = sum(step.pages_in + step.pages_out for step in later[n : n + cycle])
        assert moved <= cycle * (measured.pages_in + measured.pages_out + 2)
    if policy in {"all-fast", "paging", "lru", "tmtrain"}:
        assert {(step.pages_in, step.pages_out) for step in later} == {
            (measured.pages_in, measured.pages_out)
        }
        seconds = [step.end_s - step.start_s for step in later]
        assert seconds == pytest.approx([measured.step_time_s] * 8)


@given(timeline=steps(), machine=links(), objective=st.sampled_from(OBJECTIVES))
@examples(300)
def test_our_plan_moves_what_it_predicts_and_takes_no_less_time(
    timeline: Timeline, machine: Machine, objective: str
) -> None:
    """It may move less: on a slow link a page is still there when it is fetched again, and stays.

    Waiting is foreseen for parts of pages, so the prediction is off by what a page more or less in each gap takes.
    """
    decision = _decide("tmtrain", timeline, machine, objective)
    assert decision.plan is not None
    result = simulate(decision, machine=machine, policy="tmtrain")
    predicted = decision.plan.prediction
    assert result.bytes_in <= predicted.bytes_in
    assert result.bytes_out <= predicted.bytes_out
    if (result.bytes_in, result.bytes_out) == (predicted.bytes_in, predicted.bytes_out):
        page_s = PAGE / machine.read_bytes_per_s + PAGE / machine.write_bytes_per_s
        rounding_s = page_s * len(np.unique(decision.plan.transfers.extent))
        assert result.step_time_s >= predicted.step_time_s - rounding_s - 1e-9


@given(timeline=steps(), machine=links(), objective=st.sampled_from(OBJECTIVES))
@examples(300)
def test_our_plan_keeps_its_bound(timeline: Timeline, machine: Machine, objective: str) -> None:
    decision = _decide("tmtrain", timeline, machine, objective)
    assert decision.plan is not None
    proof = decision.plan.certificate
    assert proof is not None
    result = simulate(decision, machine=machine, policy="tmtrain")
    got = {
        "energy": result.energy_j,
        "time": result.step_time_s,
        "bytes": result.traffic_bytes,
        "writes": result.bytes_out,
    }
    assert got[objective] >= proof.bound.value * (1 - 1e-9)


def test_where_nothing_is_fetched_before_it_left_the_bytes_are_those_predicted() -> None:
    exact = 0
    for seed in range(60):
        timeline, machine = middle_timeline(seed), narrow_machine(seed)
        decision = _decide("tmtrain-move", timeline, machine, OBJECTIVES[seed % len(OBJECTIVES)])
        assert decision.plan is not None
        result, predicted = (
            simulate(decision, machine=machine, policy="tmtrain-move"),
            decision.plan.prediction,
        )
        exact += (result.bytes_in, result.bytes_out) == (predicted.bytes_in, predicted.bytes_out)
    assert exact >= 57


@given(data=st.data(), timeline=steps(), machine=links())
@examples(300)
def test_a_broken_plan_is_refuted_or_does_no_harm(
    data: st.DataObject, timeline: Timeline, machine: Machine
) -> None:
    """Transfers are lost, resized or moved; what passes has run every slice on the right content: the shadow sees to it."""
    decision = _decide("tmtrain", timeline, machine)
    assert decision.plan is not None
    moves = decision.plan.transfers
    keep = np.array(data.draw(st.lists(st.booleans(), min_size=len(moves), max_size=len(moves))), bool)
    columns = {name: getattr(moves, name)[keep] for name in moves.__slots__}
    for name in ("write_slice", "leave_slice", "fetch_slice", "return_slice", "pages"):
        size = len(columns[name])
        shift = data.draw(st.lists(st.sampled_from([0, 0, 0, -1, 1, 2]), min_size=size, max_size=size))
        columns[name] = (columns[name] + np.array(shift, int)).clip(min=1)
    rest = timeline.extents.pages[columns["extent"]] - columns["first_page"]
    columns["pages"] = np.minimum(columns["pages"], rest)
    broken = replace(decision, plan=replace(decision.plan, transfers=replace(moves, **columns)))
    try:
        result = simulate(broken, machine=machine, policy="broken")
    except PlanRefutedError:
        return
    log = result.traffic
    assert (result.bytes_in, result.bytes_out) == (
        log.bytes[~log.is_write].sum(),
        log.bytes[log.is_write].sum(),
    )
    assert result.step_time_s >= timeline.compute_s * (1 - 1e-9)
