"""SwapAdvisor's planner on steps small enough for paper; one second per slice."""

from tests.support.simulated import SteadyStep, pages_per_second, steady_step, step

from tmtrain.policies.planners.swapadvisor import SwapAdvisor

TWO_FOR_ONE = step(
    ["a:r b:r", "t:new", "", "b:r", "a:r"], pages={"a": 1, "b": 1, "t": 1}, fast_pages=2, frees={1: "t"}
)
"""One of a and b leaves for t in slice 1; a is used later."""


def _moves(policy: SwapAdvisor, timeline=TWO_FOR_ONE, **rates: float) -> list[tuple[int, int, int]]:
    plan = policy.decide(timeline, machine=pages_per_second(**rates)).plan
    assert plan is not None
    moves = plan.transfers
    return sorted(
        zip(moves.extent.tolist(), moves.leave_slice.tolist(), moves.fetch_slice.tolist(), strict=True)
    )


def test_the_furthest_next_use_leaves_and_returns_when_there_is_room() -> None:
    # a leaves after slice 0; t dies after slice 1: from slice 2 on there is room again. One read, hidden.
    assert _moves(SwapAdvisor()) == [(0, 1, 2)]
    assert steady_step("swapadvisor", TWO_FOR_ONE, pages_per_second()) == SteadyStep(
        pages_in=1, pages_out=0, step_s=5, stall_s=0
    )


def test_what_was_used_just_now_is_spared_below_the_threshold() -> None:
    # a and d are both written by the step. In slice 2 a page is needed; d was used in slice 1, 0 s before it starts, a in
    # slice 0, 1 s before. Its way out takes 1 s. d's next use is further, but it is too young for a threshold of 1.
    timeline = step(
        ["a:rw", "d:rw", "t:new", "", "a:r", "d:r"],
        pages={"a": 1, "d": 1, "t": 1},
        fast_pages=2,
        frees={2: "t"},
    )
    assert _moves(SwapAdvisor(threshold=0.0), timeline) == [(1, 2, 3)]
    assert _moves(SwapAdvisor(threshold=1.0), timeline) == [(0, 1, 3)]


def test_an_eviction_round_the_end_of_the_step_is_seen_at_its_start() -> None:
    # s is used in slice 2 only, b in slices 1 and 2; t needs the room of s in slice 0 and of one page in slice 3.
    timeline = step(
        ["t:new", "b:r", "b:r s:r", "u:new"],
        pages={"t": 2, "b": 1, "s": 1, "u": 1},
        fast_pages=3,
        frees={0: "t", 3: "u"},
    )
    # In slice 3 s and b are there, with u: 3 pages, which fit. In slice 0 one has to be away: s, used in slice 2, is the
    # furthest. It leaves after slice 2, and comes back from slice 1 of the next step, slice 5, on.
    assert _moves(SwapAdvisor(), timeline) == [(2, 3, 5)]
