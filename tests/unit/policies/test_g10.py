"""G10's two rules on steps small enough for paper; one second per slice unless it says otherwise."""

from tests.support.simulated import SteadyStep, pages_per_second, steady_step, step

A_LARGE_OR_A_SMALL_TENSOR = step(
    ["a:r b:r", "t:new", "t:r", "", "a:r b:r"], pages={"a": 3, "b": 1, "t": 1}, fast_pages=4, frees={2: "t"}
)
"""While t lives, in slices 1 and 2, one page too many is there."""


def test_the_paper_weighs_benefit_against_transfers() -> None:
    # Without a or without b two page seconds above the capacity are gone; a costs 3 pages of transfer, b 1. b comes back in
    # slice 3 (0.1 s), when its room is free.
    assert steady_step(
        "g10-paper", A_LARGE_OR_A_SMALL_TENSOR, pages_per_second(read=10, write=10)
    ) == SteadyStep(pages_in=1, pages_out=0, step_s=5, stall_s=0)


def test_the_artifact_weighs_benefit_alone() -> None:
    # Its line is 99 % of 4 pages: 3. In slices 1 and 2 two pages too many are there, in slice 3 one; a takes all of them
    # away, b one in each.
    assert steady_step("g10", A_LARGE_OR_A_SMALL_TENSOR, pages_per_second(read=10, write=10)) == SteadyStep(
        pages_in=3, pages_out=0, step_s=5, stall_s=0
    )


def test_a_tensor_stays_where_its_transfer_takes_longer_than_its_period() -> None:
    # d has to be written, which takes 10 s; it is inactive for 3. c is clean and comes back in 1 s, hidden by slice 3.
    timeline = step(
        ["d:rw c:r", "t:new", "", "", "d:r c:r"], pages={"d": 1, "c": 1, "t": 1}, fast_pages=2, frees={1: "t"}
    )
    expected = SteadyStep(pages_in=1, pages_out=0, step_s=5, stall_s=0)
    assert steady_step("g10", timeline, pages_per_second(write=0.1)) == expected
    assert steady_step("g10-paper", timeline, pages_per_second(write=0.1)) == expected


def test_bandwidth_that_is_taken_is_not_given_again() -> None:
    # a and b (1 page each, clean) leave for t (2 pages) in slice 1 and are due in slice 4. One read at 1 page per second:
    # the latest safe times are slices 3 and 2, both hidden.
    timeline = step(
        ["a:r b:r", "t:new", "", "", "a:r b:r"], pages={"a": 1, "b": 1, "t": 2}, fast_pages=2, frees={1: "t"}
    )
    assert steady_step("g10-paper", timeline, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=0, step_s=5, stall_s=0
    )


def test_a_period_of_a_lasting_tensor_wraps_round_the_end_of_the_step() -> None:
    # a is used in slice 0 only, gives way to t in slice 1, and is back (1 s) within the 3 s of slice 2.
    timeline = step(
        ["a:r", "t:new", ""], pages={"a": 1, "t": 1}, fast_pages=1, frees={1: "t"}, duration_s=[1, 1, 3]
    )
    assert steady_step("g10-paper", timeline, pages_per_second()) == SteadyStep(
        pages_in=1, pages_out=0, step_s=5, stall_s=0
    )


def test_a_period_with_a_single_kernel_is_left_to_the_fallback_by_the_artifact() -> None:
    # a could be away in slice 1, but that is one kernel. It goes on demand, and comes back on demand: 1 s.
    timeline = step(
        ["a:r", "t:new", "a:r"], pages={"a": 1, "t": 1}, fast_pages=1, frees={1: "t"}, duration_s=[1, 5, 1]
    )
    assert steady_step("g10", timeline, pages_per_second()) == SteadyStep(
        pages_in=1, pages_out=0, step_s=8, stall_s=1
    )
