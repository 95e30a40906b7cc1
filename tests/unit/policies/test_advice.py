"""Inactive periods of whole tensors, and what becomes of chosen ones; one second and one operator per slice."""

from dataclasses import replace

import numpy as np
from tests.support.simulated import SteadyStep, in_pages, pages_per_second, steady_step, step
from tests.support.timelines import make_timeline

from tmtrain.lowering.timeline import Timeline
from tmtrain.policies.shared.advice import advise, fetch_ahead, fetch_where_it_fits
from tmtrain.policies.shared.tensors import Tensors, find_tensors
from tmtrain.simulation import simulate

MACHINE = pages_per_second()


def _with_operators(timeline: Timeline, op: list[int]) -> Timeline:
    return replace(timeline, slices=replace(timeline.slices, op=np.array(op, np.int32)))


def _tensors(timeline: Timeline) -> Tensors:
    return find_tensors(timeline, machine=MACHINE)


def _rows(tensors: Tensors) -> list[tuple[int, int, int, int]]:
    p = tensors.periods
    columns = (p.storage, p.start, p.end, p.pages)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


IN_TWO_SLICES = _with_operators(
    make_timeline(
        ["w/0:r", "w/1:r", "t:new", "", "w/0:r", "w/1:r"], pages={"w/0": 2, "w/1": 3, "t": 1}, fast_pages=6
    ),
    [0, 0, 1, 2, 3, 3],
)
"""Operators 0 and 3 use all of w, in two slices each."""


def test_a_tensor_is_inactive_from_the_last_slice_of_an_operator_to_the_first_one_of_the_next() -> None:
    # From operator 0 (until slice 1) to operator 3 (from slice 4 on), and round the end of the step, from slice 5 to 6 = 0.
    assert _rows(_tensors(IN_TWO_SLICES)) == [(0, 1, 4, 5), (0, 5, 6, 5)]


def test_between_slices_of_one_operator_each_extent_is_a_tensor() -> None:
    # Within operator 0 w/0 is idle in slice 1 and w/1 in slice 2; from slice 3 to the next step both are, together.
    timeline = _with_operators(
        make_timeline(["w/0:r", "w/1:r", "w/0:r", "w/1:r", ""], pages={"w/0": 2, "w/1": 3}, fast_pages=5),
        [0, 0, 0, 0, 1],
    )
    assert _rows(_tensors(timeline)) == [(0, 0, 2, 2), (0, 1, 3, 3), (0, 3, 5, 5)]


def test_what_an_operator_uses_in_part_is_two_tensors() -> None:
    timeline = make_timeline(
        ["w/0:r w/1:r", "", "w/0:r", "", "w/0:r w/1:r"], pages={"w/0": 2, "w/1": 3}, fast_pages=5
    )
    assert _rows(_tensors(timeline)) == [(0, 0, 2, 2), (0, 0, 4, 3), (0, 2, 4, 2)]


def test_dead_content_has_no_period_and_written_content_is_dirty() -> None:
    # a is made, read and overwritten; d is updated in every step; c is only read.
    timeline = make_timeline(
        ["a:new", "", "a:r d:rw c:r", ""], pages={"a": 1, "d": 1, "c": 1}, fast_pages=3, frees={2: "a"}
    )
    tensors = _tensors(timeline)
    assert _rows(tensors) == [(0, 0, 2, 1), (1, 2, 6, 1), (2, 2, 6, 1)]
    assert tensors.periods.is_dirty.tolist() == [True, True, False]


def test_room_counts_what_is_away_until_its_fetch_begins() -> None:
    # 6 pages of room; t (1 page) and w (5) just fit. Extents leave one by one: w/0 is away in slice 1 already.
    tensors = _tensors(IN_TWO_SLICES)
    first = tensors.periods.start == 1
    assert tensors.room(~first & False).tolist() == [1, 1, 0, 1, 1, 1]
    assert tensors.room(first).tolist() == [1, 3, 5, 6, 4, 1]
    # With the fetch from slice 3 on, w takes its room from there on.
    assert tensors.room(first, np.array([3, 6])).tolist() == [1, 3, 5, 1, 1, 1]


def test_the_clock_runs_on_into_the_next_step() -> None:
    timeline = make_timeline(["a:r", "", "a:r", ""], pages={"a": 1}, fast_pages=1, duration_s=[1, 2, 4, 8])
    tensors = _tensors(timeline)
    assert tensors.clock_s().tolist() == [0, 1, 3, 7, 15, 16, 18, 22, 30]
    assert tensors.length_s().tolist() == [2, 8]


STEPS_ASIDE = step(
    ["a:r b:r", "t:new", "", "b:r", "a:r"], pages={"a": 2, "b": 1, "t": 3}, fast_pages=4, frees={1: "t"}
)
"""a and b (3 pages) leave room for t (3) in slice 1 if they lose 2."""


def test_a_fetch_moves_back_to_where_the_whole_tensor_fits() -> None:
    # Both are away; in slice 1 a page is free, later all are. b is the first to return: slice 1 has room for it. a follows:
    # slice 2 has, slice 1 not any more. Nothing starts before `earliest`.
    tensors = _tensors(STEPS_ASIDE)
    chosen = tensors.periods.start == 0
    end, start = tensors.periods.end, tensors.periods.start
    fetch = fetch_where_it_fits(tensors, chosen, latest=end, earliest=start + 1)
    assert dict(zip(end[chosen].tolist(), fetch[chosen].tolist(), strict=True)) == {3: 1, 4: 2}
    late = fetch_where_it_fits(tensors, chosen, latest=end, earliest=end - 1)
    assert dict(zip(end[chosen].tolist(), late[chosen].tolist(), strict=True)) == {3: 2, 4: 3}


def test_a_window_of_operators_counts_those_that_something_is_due_at() -> None:
    # b is due in slice 3, a in slice 4; they leave after slice 0. One operator before slice 4 is slice 3; one before slice
    # 3 is slice 4 of the step before, when b was not away yet.
    tensors = _tensors(STEPS_ASIDE)
    chosen = tensors.periods.start == 0
    windows = [fetch_ahead(tensors, chosen, operators=n)[chosen].tolist() for n in (0, 1, 2)]
    assert [dict(zip((4, 3), window, strict=True)) for window in windows] == [
        {4: 4, 3: 3},
        {4: 3, 3: 1},
        {4: 1, 3: 1},
    ]


def test_advice_moves_whole_tensors_and_prefetches_them() -> None:
    # a (2 pages, clean) leaves for t and comes back from slice 2 on, in 2 seconds of slices 2 and 3.
    tensors = _tensors(STEPS_ASIDE)
    chosen = (tensors.periods.start == 0) & (tensors.periods.end == 4)
    fetch = np.where(chosen, 2, tensors.periods.end)
    decision = advise(tensors, chosen, fetch=fetch, name="test")
    result = simulate(decision, machine=MACHINE, policy="test")
    assert in_pages(result) == SteadyStep(pages_in=2, pages_out=0, step_s=5, stall_s=0)
    assert decision.plan is not None
    assert decision.plan.prediction.bytes_in == result.bytes_in


def test_what_advice_leaves_out_is_fetched_on_demand_as_by_belady() -> None:
    # Nothing is chosen: two pages of the furthest tensor, a, leave for t and come back when slice 4 asks for them (2 s).
    tensors = _tensors(STEPS_ASIDE)
    none = np.zeros(len(tensors.periods), bool)
    decision = advise(tensors, none, fetch=tensors.periods.end, name="test")
    got = in_pages(simulate(decision, machine=MACHINE, policy="test"))
    assert (
        got
        == SteadyStep(pages_in=2, pages_out=0, step_s=7, stall_s=2)
        == steady_step("belady", STEPS_ASIDE, MACHINE)
    )


def test_a_tensor_that_leaves_twice_is_written_once() -> None:
    # a is made in slice 0 and away in slices 1 and 3: written once (1 s before t starts), fetched twice (1 s each).
    timeline = step(
        ["a:new", "t:new", "a:r", "u:new", "a:r"],
        pages={"a": 1, "t": 1, "u": 1},
        fast_pages=1,
        frees={1: "t", 3: "u", 4: "a"},
    )
    tensors = _tensors(timeline)
    assert tensors.content[0] == tensors.content[1] >= 0
    decision = advise(tensors, np.ones(2, bool), fetch=tensors.periods.end, name="test")
    got = in_pages(simulate(decision, machine=MACHINE, policy="test"))
    assert got == SteadyStep(pages_in=2, pages_out=1, step_s=8, stall_s=3)
