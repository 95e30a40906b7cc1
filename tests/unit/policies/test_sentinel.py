"""What migration in intervals does on steps small enough for paper; one second per slice."""

from dataclasses import replace
from types import SimpleNamespace

from tests.support.layered import with_products
from tests.support.simulated import SteadyStep, in_pages, pages_per_second, steady_step, step
from tests.support.timelines import make_timeline

from tmtrain.deciding.policy import Decision, Knowledge
from tmtrain.policies.planners.sentinel import interval_length, sentinel_schedule
from tmtrain.policies.shared.layers import layer_of_slice
from tmtrain.policies.shared.schedules import ScheduledPager, empty_schedule
from tmtrain.simulation import simulate
from tmtrain.trace import Phase

FOUR_WEIGHTS = with_products(
    step(["a:r", "b:r", "c:r", "d:r"], pages={"a": 2, "b": 2, "c": 2, "d": 2}, fast_pages=5), range(4)
)
"""Four layers of a slice, each with 2 pages of weights, in 5 pages of room."""


def test_layers_begin_with_products_and_phases_and_in_the_optimizer_with_each_slice() -> None:
    phases = [Phase.FORWARD] * 5 + [Phase.BACKWARD] + [Phase.OPTIMIZER] * 2
    timeline = with_products(step(["a:r"] * 8, pages={"a": 1}, fast_pages=1), {1, 2, 4}, phases=phases)
    assert layer_of_slice(timeline).tolist() == [0, 1, 2, 2, 3, 4, 5, 6]


def test_the_interval_is_the_longest_whose_tensors_fit() -> None:
    # 2 pages a layer: 2 layers in 5 pages of room; 1 in 4 pages, as 4 is not less than 4; all 4 in 9 pages.
    assert interval_length(FOUR_WEIGHTS) == 2
    assert interval_length(replace(FOUR_WEIGHTS, fast_bytes=4 * 4096)) == 1
    assert interval_length(replace(FOUR_WEIGHTS, fast_bytes=9 * 4096)) == 4


def test_the_pool_of_what_lives_short_takes_room_from_the_interval() -> None:
    # t (2 pages) lives in layers 0 and 1: of 5 pages 3 are left, for the weights (2 pages) of one layer. x lives longer.
    timeline = with_products(
        step(
            ["a:r t:new", "b:r t:r", "c:r", "d:r"],
            pages={"a": 2, "b": 2, "c": 2, "d": 2, "t": 2},
            fast_pages=5,
            frees={1: "t"},
        ),
        range(4),
    )
    assert interval_length(timeline) == 1


def test_tensors_leave_after_their_last_use_in_an_interval_and_come_in_the_one_before_their_next() -> None:
    # Intervals {0, 1}, {2, 3}, {4, 5}. a is used in 0, 1 and 4: it leaves after 1 and is fetched from 2 on, for 4. b is
    # used in 2 and 4, in neighbours: it stays between them, leaves after 4, and is fetched from slice 0 on for 2.
    # x is made in 1 and read in 5; t lives in 3 and 4 only and is short-lived.
    timeline = with_products(
        step(
            ["a:r", "a:r x:new", "b:r", "t:new", "a:r b:r t:r", "x:r"],
            pages={"a": 1, "b": 1, "x": 1, "t": 1},
            fast_pages=9,
            frees={4: "t", 5: "x"},
        ),
        range(6),
    )
    schedule = sentinel_schedule(timeline, layers=2)
    assert schedule.leave == [[], [0, 2], [], [], [1], []]
    # a is used 3 times, x twice: a comes first. a's next use after 4 is 0, in the next interval: it stays.
    assert schedule.ahead == [[(1, 2)], [], [(0, 2), (2, 3)], [], [], []]
    # What the interval will make beyond what leaves: x before slice 1, t before slice 3.
    assert schedule.reserve == [1, 0, 1, 0, 0, 0]


def test_the_next_interval_comes_while_this_one_runs() -> None:
    # Two pages a second. Each layer's weights leave after it, and make room for those of the layer but one. All hidden.
    machine = pages_per_second(read=2.0)
    assert steady_step("sentinel", FOUR_WEIGHTS, machine) == SteadyStep(
        pages_in=8, pages_out=0, step_s=4, stall_s=0
    )
    assert steady_step("lru", FOUR_WEIGHTS, machine) == SteadyStep(
        pages_in=8, pages_out=0, step_s=8, stall_s=4
    )


def test_it_moves_what_would_have_had_room() -> None:
    # 9 pages hold everything, but in intervals of one layer each weight leaves and comes back.
    timeline = replace(FOUR_WEIGHTS, fast_bytes=9 * 4096)
    pager = ScheduledPager(timeline, schedule=sentinel_schedule(timeline, layers=1))
    decision = Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, pager=pager)
    result = in_pages(simulate(decision, machine=pages_per_second(read=2.0), policy="sentinel"))
    assert result == SteadyStep(pages_in=8, pages_out=0, step_s=4, stall_s=0)
    assert steady_step("lru", timeline, pages_per_second(read=2.0)).pages_in == 0


def test_a_scheduled_fetch_leaves_the_reserve_alone_and_is_a_miss_when_its_time_has_come() -> None:
    # b (1 page) is wanted from slice 0 on for slice 2. One page is free, and reserved until slice 1 is over: b is missed.
    timeline = make_timeline(["a:r", "", "b:r"], pages={"a": 1, "b": 1}, fast_pages=2)
    schedule = empty_schedule(3)
    schedule.ahead[0].append((1, 2))
    schedule.leave[2].append(1)
    for reserved, stall_s in (([0, 0, 0], 0), ([1, 0, 0], 0), ([1, 1, 0], 1)):
        schedule.reserve[:] = reserved
        pager = ScheduledPager(timeline, schedule=schedule)
        decision = Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, pager=pager)
        result = in_pages(simulate(decision, machine=pages_per_second(), policy="scheduled"))
        assert result == SteadyStep(pages_in=1, pages_out=0, step_s=3 + stall_s, stall_s=stall_s)


def test_what_is_wanted_too_late_is_not_fetched() -> None:
    # There is no room for b while slices 0 and 1 run; once slice 2, which needs it, has begun, it is fetched on demand.
    timeline = make_timeline(["a:r", "", "b:r", ""], pages={"a": 1, "b": 1}, fast_pages=2)
    schedule = empty_schedule(4)
    schedule.ahead[0].append((1, 2))
    for first_room, fetched in ((1, [[(1, 2)], [], []]), (0, [[], [(1, 1)], []]), (-1, [[], [], []])):
        pager = ScheduledPager(timeline, schedule=schedule)
        rooms = (first_room, first_room + 1, 1)
        seen = [
            pager.ahead(t, memory=SimpleNamespace(room=room, live=[True] * 2, absent=lambda _: 1))
            for t, room in enumerate(rooms)
        ]
        assert seen == fetched
