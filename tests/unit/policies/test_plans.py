"""What all-fast, largest-first and tmtrain do on steps small enough for paper; one second per slice."""

import numpy as np
import pytest
from tests.support.machines import toy_machine
from tests.support.simulated import PAGE, SteadyStep, decided, pages_per_second, simulated, steady_step, step
from tests.support.timelines import make_timeline

LARGE_AND_SMALL = step(
    ["large:r small:r", "t:new"], pages={"large": 3, "small": 1, "t": 1}, fast_pages=4, frees={1: "t"}
)
"""One page has to go while slice 1 runs."""

A_STEPS_ASIDE = {"pages": {"a": 1, "t": 1}, "fast_pages": 1, "frees": {1: "t"}}
"""One page of room, which a leaves to t in slice 1; slice 2 touches nothing."""


def test_all_fast_has_room_for_everything_and_no_flash() -> None:
    result = simulated("all-fast", LARGE_AND_SMALL, pages_per_second())
    assert result.fast_bytes == 5 * PAGE
    assert (result.bytes_in, result.bytes_out, result.step_time_s) == (0, 0, 2.0)
    assert result.energy_by_component_j["flash idle"] == 0


def test_all_fast_does_not_count_what_is_freed_before_the_next_is_born() -> None:
    # g (2 pages) is overwritten and freed in slice 1 and born again in slice 3; t (2 pages) lives in slice 2 only.
    timeline = make_timeline(
        ["g:r", "g:w", "t:new", "g:new"],
        pages={"g": 2, "t": 2},
        fast_pages=2,
        frees={1: "g", 2: "t"},
        persistent="g",
    )
    result = simulated("all-fast", timeline, pages_per_second())
    assert (result.fast_bytes, result.bytes_in, result.bytes_out) == (2 * PAGE, 0, 0)


def test_largest_first_moves_the_whole_largest_tensor() -> None:
    # All 3 pages of `large` come back for slice 0, page by page. Slice 1 has room for two of them and time for one.
    assert steady_step("largest-first", LARGE_AND_SMALL, pages_per_second()) == SteadyStep(
        pages_in=3, pages_out=0, step_s=4, stall_s=2
    )


def test_tmtrain_moves_the_one_page_that_has_to_go() -> None:
    assert steady_step("tmtrain", LARGE_AND_SMALL, pages_per_second()) == SteadyStep(
        pages_in=1, pages_out=0, step_s=3, stall_s=1
    )


def test_largest_first_takes_tensors_in_order_of_size_until_the_rest_fits() -> None:
    # t needs 4 pages beside the 6 of l, m and s, in 6 pages of room: the 3 of l are not enough, the 2 of m go too, s stays.
    timeline = step(
        ["l:r m:r s:r", "t:new"], pages={"s": 1, "m": 2, "l": 3, "t": 4}, fast_pages=6, frees={1: "t"}
    )
    decision = decided("largest-first", timeline, pages_per_second())
    assert decision.plan is not None
    moves = decision.plan.transfers
    assert np.bincount(moves.extent, moves.pages).tolist() == [0, 2, 3, 0][: int(moves.extent.max()) + 1]


def test_a_prefetch_hides_behind_compute() -> None:
    # a comes back (1 s) while slice 2 computes for 3 s.
    timeline = step(["a:r", "t:new", ""], duration_s=[1, 1, 3], **A_STEPS_ASIDE)
    assert steady_step("tmtrain", timeline, pages_per_second()) == SteadyStep(
        pages_in=1, pages_out=0, step_s=5, stall_s=0
    )
    # On demand, the second shows.
    assert steady_step("lru", timeline, pages_per_second()) == SteadyStep(
        pages_in=1, pages_out=0, step_s=6, stall_s=1
    )


def test_what_a_prefetch_cannot_hide_is_a_stall() -> None:
    # a takes 5 s to come back, slice 2 takes 3 s: it cannot start before slice 2, where its room is.
    timeline = step(["a:r", "t:new", ""], duration_s=[1, 1, 3], **A_STEPS_ASIDE)
    assert steady_step("tmtrain", timeline, pages_per_second(read=0.2)) == SteadyStep(
        pages_in=1, pages_out=0, step_s=7, stall_s=2
    )
    assert steady_step("lru", timeline, pages_per_second(read=0.2)) == SteadyStep(
        pages_in=1, pages_out=0, step_s=10, stall_s=5
    )


def test_a_prefetch_pays_the_latency_of_the_device_behind_compute_too() -> None:
    timeline = step(["a:r", "t:new", ""], duration_s=[1, 1, 3], **A_STEPS_ASIDE)
    assert steady_step("tmtrain", timeline, pages_per_second(read_latency_s=1.5)).stall_s == 0
    assert steady_step("tmtrain", timeline, pages_per_second(read_latency_s=2.5)).stall_s == 0.5


def test_an_early_write_makes_the_departure_free() -> None:
    # a is final after slice 0 and read in slice 1 (2 s), while it is written (2 s); it leaves for b without waiting.
    # b comes in: 1 s; a comes back: 1 s.
    timeline = step(["a:rw", "a:r", "b:r"], pages={"a": 1, "b": 1}, fast_pages=1, duration_s=[1, 2, 1])
    machine = pages_per_second(write=0.5)
    assert steady_step("tmtrain", timeline, machine) == SteadyStep(
        pages_in=2, pages_out=1, step_s=6, stall_s=2
    )
    # LRU writes when it has to: the two seconds show.
    assert steady_step("lru", timeline, machine) == SteadyStep(pages_in=2, pages_out=1, step_s=8, stall_s=4)


def test_a_page_written_once_may_leave_twice() -> None:
    # a is made in slice 0 and gives way to t in slice 1 and to u in slice 3: written once (2 s), fetched twice.
    timeline = step(
        ["a:new", "t:new", "a:r", "u:new", "a:r"],
        pages={"a": 1, "t": 1, "u": 1},
        fast_pages=1,
        frees={1: "t", 3: "u", 4: "a"},
    )
    # 5 s of compute + 2 s of write before slice 1 + 1 s each before slices 2 and 4.
    assert steady_step("tmtrain", timeline, pages_per_second(write=0.5)) == SteadyStep(
        pages_in=2, pages_out=1, step_s=9, stall_s=4
    )


A_DIRTY_OR_A_CLEAN_PAGE = step(
    ["d:rw c:r", "t:new", "c:r", "u:new", "c:r", "v:new", "c:r"],
    pages={"d": 1, "c": 1, "t": 1, "u": 1, "v": 1},
    fast_pages=2,
    frees={1: "t", 3: "u", 5: "v"},
)
"""In slices 1, 3 and 5 a page has to go: d once (one page written, one fetched), or c three times (three pages fetched)."""


@pytest.mark.parametrize(
    ("objective", "write_j", "moved"),
    [("bytes", 1.0, (1, 1)), ("writes", 1.0, (3, 0)), ("energy", 1.0, (1, 1)), ("energy", 5.0, (3, 0))],
)
def test_every_objective_minimises_what_it_says(
    objective: str, write_j: float, moved: tuple[int, int]
) -> None:
    # Joules: 1 + write_j for d, 3 for c.
    machine = toy_machine(read_j_per_byte=1.0, write_j_per_byte=write_j)
    result = steady_step("tmtrain", A_DIRTY_OR_A_CLEAN_PAGE, machine, objective=objective)
    assert (result.pages_in, result.pages_out) == moved


def test_time_is_least_where_the_slow_direction_is_spared() -> None:
    # A page takes 9 s to write and 1 s to read: giving up d takes 9 s at least, giving up c three times 7 s of compute.
    result = steady_step("tmtrain", A_DIRTY_OR_A_CLEAN_PAGE, pages_per_second(write=1 / 9), objective="time")
    assert (result.pages_in, result.pages_out) == (3, 0)
    # A page takes 4 s to read and 1 s to write: 12 s for c three times, 7 s of compute for d.
    result = steady_step("tmtrain", A_DIRTY_OR_A_CLEAN_PAGE, pages_per_second(read=0.25), objective="time")
    assert (result.pages_in, result.pages_out) == (1, 1)


def test_a_prefetch_starts_early_enough_for_the_latency_of_the_device() -> None:
    # A page takes 0.1 s, but 2 s until its bytes flow: slice 3 (1 s) would be too late, slice 2 (3 s) hides it.
    timeline = step(["a:r", "t:new", "", ""], duration_s=[1, 1, 3, 1], **A_STEPS_ASIDE)
    assert steady_step("tmtrain", timeline, pages_per_second(read=10, read_latency_s=2.0)) == SteadyStep(
        pages_in=1, pages_out=0, step_s=6, stall_s=0
    )
