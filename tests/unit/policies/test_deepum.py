"""What correlation prefetching does on steps small enough for paper; one second per slice and page unless said."""

from types import SimpleNamespace

from tests.support.simulated import SteadyStep, in_pages, pages_per_second, steady_step, step

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.pagers.deepum import DeepUm, DeepUmPager, uses_by_slice
from tmtrain.simulation import simulate, try_policy


def _steady_step(timeline: Timeline, machine: Machine, *, kernels_ahead: int = 1) -> SteadyStep:
    decision = DeepUm(kernels_ahead=kernels_ahead).decide(timeline, machine=machine)
    return in_pages(simulate(decision, machine=machine, policy="deepum"))


def test_uses_know_how_long_ago_the_last_one_was() -> None:
    timeline = step(["a:r", "b:new a:r", "", "b:r"], pages={"a": 1, "b": 1}, fast_pages=2, frees={3: "b"})
    assert [[tuple(use) for use in uses] for uses in uses_by_slice(timeline)] == [
        [(0, True, 3)],
        [(0, True, 1), (1, False, 2)],
        [],
        [(1, True, 2)],
    ]


def test_what_the_next_kernel_needs_comes_while_this_one_runs() -> None:
    # A loop one page too long. After each slice the extent that the next two do not use is given up, and the third takes
    # its room behind the next slice. LRU waits for every one of them.
    timeline = step(["a:r", "b:r", "c:r"], pages={"a": 1, "b": 1, "c": 1}, fast_pages=2)
    assert _steady_step(timeline, pages_per_second()) == SteadyStep(
        pages_in=3, pages_out=0, step_s=3, stall_s=0
    )
    assert steady_step("lru", timeline, pages_per_second()).stall_s == 3


def test_what_was_migrated_first_leaves_first_though_it_was_used_last() -> None:
    # Three pages of room. After slice 2 z needs one: h (came in slice 4) goes before x (came in slice 0), and so all four
    # come in every step. By last use x would go, and h would stay.
    timeline = step(["h:r", "x:r", "h:r", "y:r", "z:r"], pages={"h": 1, "x": 1, "y": 1, "z": 1}, fast_pages=3)
    assert _steady_step(timeline, pages_per_second()) == SteadyStep(
        pages_in=4, pages_out=0, step_s=5, stall_s=0
    )


def test_what_leaves_is_written_ahead_of_the_fault() -> None:
    # a (updated) is written in the first second of slice 1 and b comes in the second one; a comes back behind slice 3.
    timeline = step(["a:rw", "", "b:r", ""], pages={"a": 1, "b": 1}, fast_pages=1, duration_s=[1, 2, 1, 2])
    assert _steady_step(timeline, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=1, step_s=6, stall_s=0
    )
    assert steady_step("lru", timeline, pages_per_second()).step_s == 9


def test_room_for_what_a_kernel_makes_is_made_ahead() -> None:
    # d (updated) is written in the first second of slice 1, because slice 2 makes x; it comes back behind slice 3.
    timeline = step(
        ["d:rw", "", "x:new", ""],
        pages={"d": 1, "x": 1},
        fast_pages=1,
        frees={2: "x"},
        duration_s=[1, 2, 1, 2],
    )
    assert _steady_step(timeline, pages_per_second()) == SteadyStep(
        pages_in=1, pages_out=1, step_s=6, stall_s=0
    )


def test_a_prefetch_leaves_room_for_what_the_next_kernel_makes() -> None:
    # p is wanted for slice 2; slice 1 makes x (2 pages). With 3 pages of room p may come in slice 0, with 2 not.
    timeline = step(["a:r", "x:new", "p:r", ""], pages={"a": 1, "x": 2, "p": 1}, fast_pages=4, frees={1: "x"})
    for room, fetched in ((2, []), (3, [(2, 2)])):
        pager = DeepUmPager(timeline, kernels_ahead=2)
        memory = SimpleNamespace(
            room=room, keeps=[1, 0, 0], live=[True] * 3, absent=lambda extent: int(extent == 2)
        )
        assert pager.ahead(0, memory=memory) == fetched


def test_what_is_expected_leaves_for_a_fault_only() -> None:
    # One page of room, both expected: nothing is given up ahead, so nothing comes ahead. Each slice faults: 2 s + 1 s.
    timeline = step(["a:r", "b:r"], pages={"a": 1, "b": 1}, fast_pages=1)
    assert _steady_step(timeline, pages_per_second(fault_latency_s=2.0)) == SteadyStep(
        pages_in=2, pages_out=0, step_s=8, stall_s=6
    )


def test_inactive_blocks_are_freed() -> None:
    # x dies in slice 0 and is made anew in the next step: neither written nor fetched. v (clean) makes room for it, and
    # faults back: 1 s.
    timeline = step(["x:new w:r", "v:r w:r"], pages={"x": 1, "w": 1, "v": 1}, fast_pages=2, frees={0: "x"})
    assert _steady_step(timeline, pages_per_second(write=0.5)) == SteadyStep(
        pages_in=1, pages_out=0, step_s=3, stall_s=1
    )


def test_a_block_leaves_as_a_whole() -> None:
    # a (600 pages: a block of 512 and one of 88) and b (600) in 1199 pages: one page is short in each slice, a block goes.
    # Slice 0 faults in 512 pages of a, slice 1 as many of b. LRU moves a single page each time.
    timeline = step(["a:r", "b:r"], pages={"a": 600, "b": 600}, fast_pages=1199)
    machine = pages_per_second()
    assert _steady_step(timeline, machine) == SteadyStep(
        pages_in=1024, pages_out=0, step_s=1026, stall_s=1024
    )
    assert steady_step("lru", timeline, machine).pages_in == 2


def test_the_best_number_of_kernels_is_reported() -> None:
    # b (2 pages) takes 2 s to come: one slice ahead hides 1 s, two slices ahead both.
    timeline = step(["a:r", "", "", "b:r", ""], pages={"a": 1, "b": 2}, fast_pages=2)
    machine = pages_per_second()
    one, two = (_steady_step(timeline, machine, kernels_ahead=n) for n in (1, 2))
    assert (one.stall_s, two.stall_s) == (1, 0)
    assert in_pages(try_policy(DeepUm(), timeline, machine=machine).result) == two
