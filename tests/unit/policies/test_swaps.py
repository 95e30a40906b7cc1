"""What Capuchin, Behemoth and TierTrain do on steps small enough for paper; one second per slice and page unless said."""

import numpy as np
from tests.support.layered import with_products
from tests.support.simulated import SteadyStep, in_pages, pages_per_second, steady_step, step

from tmtrain.policies import make_policy
from tmtrain.policies.planners.capuchin import choose
from tmtrain.policies.planners.tiertrain import tiertrain_schedule
from tmtrain.policies.shared.tensors import find_tensors
from tmtrain.simulation import try_policy
from tmtrain.trace import Phase

NEAR_AND_FAR = step(
    ["x:r y:r", "t:new", "x:r", "", ""], pages={"x": 1, "y": 1, "t": 1}, fast_pages=2, frees={1: "t"}
)
"""One page has to go while slice 1 runs: x, which is back in slice 2, or y, which is back in the next step."""


def test_capuchin_swaps_the_pair_with_the_most_free_time() -> None:
    # Free time: of x from 1 s to 2 s less 1 s each way: -1 s. Of y from 1 s to 5 s: 2 s. x's gap from slice 2 on is no
    # candidate: it does not span the peak. y is triggered in slice 4, a second before it is due.
    machine = pages_per_second()
    tensors = find_tensors(NEAR_AND_FAR, machine=machine)
    chosen = choose(tensors, link_steps=np.inf).swapped
    assert tensors.problem.gaps.extent[chosen].tolist() == [1]
    assert steady_step("capuchin", NEAR_AND_FAR, machine) == SteadyStep(
        pages_in=1, pages_out=0, step_s=5, stall_s=0
    )


def test_capuchin_swaps_as_few_pairs_as_let_every_slice_fit() -> None:
    # t (2 pages) needs both x and y gone.
    timeline = step(
        ["x:r y:r", "t:new", "x:r", "", ""], pages={"x": 1, "y": 1, "t": 2}, fast_pages=2, frees={1: "t"}
    )
    tensors = find_tensors(timeline, machine=pages_per_second())
    chosen = choose(tensors, link_steps=np.inf).swapped
    assert sorted(tensors.problem.gaps.extent[chosen].tolist()) == [0, 1]


def test_capuchin_triggers_earlier_where_swaps_come_late() -> None:
    # a and b are both due in slice 0. Triggered one swap time ahead, in slice 3, the second of them is late by 1 s;
    # twice as early, in slice 2, both are there.
    timeline = step(
        ["a:r b:r", "t:new", "", ""], pages={"a": 1, "b": 1, "t": 2}, fast_pages=2, frees={1: "t"}
    )
    machine = pages_per_second()
    assert steady_step("capuchin", timeline, machine).stall_s == 1
    best = try_policy(make_policy("capuchin"), timeline, machine=machine).result
    assert in_pages(best) == SteadyStep(pages_in=2, pages_out=0, step_s=4, stall_s=0)


def test_capuchin_writes_at_the_evicted_access() -> None:
    # a (updated) is written in the first second of slice 1, and b comes in the second: its trigger is a swap time before
    # slice 2. b leaves after slice 2, and a is back in the second second of slice 3.
    timeline = step(["a:rw", "", "b:r", ""], pages={"a": 1, "b": 1}, fast_pages=1, duration_s=[1, 2, 1, 2])
    assert steady_step("capuchin", timeline, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=1, step_s=6, stall_s=0
    )


def test_behemoth_streams_whatever_room_there_is() -> None:
    # Three layers, room for everything. a is used by layers 0 and 1, leaves after 1 and is back while 2 runs; b comes while
    # 0 runs, c while 1 runs; d, updated in layer 2, is written behind layer 0 and back while layer 1 runs.
    timeline = with_products(
        step(["a:r", "a:r b:r", "c:r d:rw"], pages={"a": 1, "b": 1, "c": 1, "d": 1}, fast_pages=9), range(3)
    )
    machine = pages_per_second(read=2.0)
    assert steady_step("behemoth", timeline, machine) == SteadyStep(
        pages_in=4, pages_out=1, step_s=3, stall_s=0
    )
    assert steady_step("lru", timeline, machine) == SteadyStep(pages_in=0, pages_out=0, step_s=3, stall_s=0)


def test_behemoth_never_writes_what_dies_in_its_layer() -> None:
    timeline = with_products(
        step(["x:new", "x:r", "a:r"], pages={"x": 1, "a": 1}, fast_pages=2, frees={1: "x"}), {0, 2}
    )
    assert steady_step("behemoth", timeline, pages_per_second()).pages_out == 0


SAVED = with_products(
    step(
        ["x:new", "y:new w:r", "z:new", "z:r", "y:r w:rw", "x:r"],
        pages={"x": 1, "y": 1, "z": 1, "w": 1},
        fast_pages=3,
        frees={3: "z", 4: "y", 5: "x"},
    ),
    range(6),
    phases=[Phase.FORWARD] * 3 + [Phase.BACKWARD] * 3,
)
"""Three layers of forward save x, y and z, three of backward read them; w is a weight."""


def test_tiertrain_moves_saved_activations_only_but_not_those_of_the_last_layer() -> None:
    schedule = tiertrain_schedule(SAVED)
    assert schedule.leave == [[0], [1], [], [], [], []]
    assert schedule.ahead == [[], [], [], [(1, 1)], [(0, 1)], []]


def test_tiertrain_hides_its_moves_behind_the_layers() -> None:
    # w takes one of 3 pages. x is written behind slice 1, y behind slice 2; y is back behind slice 3, x behind slice 4.
    assert steady_step("tiertrain", SAVED, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=2, step_s=6, stall_s=0
    )
