"""Acting ahead of time: what a prefetcher may do, and what goes before it. One second per slice and page unless said."""

from collections.abc import Mapping

import pytest
from tests.support.simulated import SteadyStep, in_pages, pages_per_second, step

from tmtrain.deciding import Decision, FastMemory, Knowledge, Prefetcher
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.pagers.lru import LruPager
from tmtrain.simulation import Result, simulate


class _Scripted(LruPager, Prefetcher):
    """LRU, and a script: {slice: (extent, slices ahead)} to fetch, {slice: extent} to give up."""

    def __init__(
        self, *, ahead: Mapping[int, tuple[int, int]] | None = None, leave: Mapping[int, int] | None = None
    ) -> None:
        super().__init__()
        self._ahead, self._leave = ahead or {}, leave or {}

    def ahead(self, t: int, *, memory: FastMemory) -> list[tuple[int, int]]:
        return [self._ahead[t]] if t in self._ahead else []

    def leave(self, t: int, *, memory: FastMemory) -> list[tuple[int, int]]:
        return [(self._leave[t], memory.keeps[self._leave[t]])] if t in self._leave else []


def _run(timeline: Timeline, pager: LruPager, machine: Machine, *, faults: bool = False) -> Result:
    decision = Decision(timeline=timeline, knowledge=Knowledge.FREED, pager=pager, faults=faults)
    return simulate(decision, machine=machine, policy="scripted")


A_STEPS_ASIDE = step(
    ["a:r", "t:new", ""], pages={"a": 1, "t": 1}, fast_pages=1, frees={1: "t"}, duration_s=[1, 1, 3]
)
"""One page of room, which a leaves to t in slice 1; slice 2 touches nothing."""


def test_a_prefetch_hides_behind_compute() -> None:
    # a comes back (1 s) while slice 2 computes (3 s); on demand the second shows.
    machine = pages_per_second()
    assert in_pages(_run(A_STEPS_ASIDE, _Scripted(ahead={2: (0, 1)}), machine)) == SteadyStep(
        pages_in=1, pages_out=0, step_s=5, stall_s=0
    )
    assert in_pages(_run(A_STEPS_ASIDE, _Scripted(), machine)).step_s == 6


def test_what_is_foreseen_is_no_fault() -> None:
    # A fault costs 4 s: on demand a takes 5 s; foreseen it pays the page alone, behind slice 2 (3 s).
    machine = pages_per_second(fault_latency_s=4.0)
    assert in_pages(_run(A_STEPS_ASIDE, _Scripted(ahead={2: (0, 1)}), machine, faults=True)).stall_s == 0
    assert in_pages(_run(A_STEPS_ASIDE, _Scripted(), machine, faults=True)).stall_s == 5


def test_a_miss_goes_before_a_prefetch() -> None:
    # p (4 pages) is fetched from slice 0 on for slice 2; b is given up after its use and missed in every slice 1.
    # Slice 0: p1 comes. Slice 1: p2 is under way, then b comes: 2 s; p3 while it computes. Slice 2: 1 s for p4.
    # Were p first, slice 1 would wait 4 s, for p2, p3, p4 and b.
    timeline = step(["a:r", "b:r", "p:r"], pages={"a": 1, "b": 1, "p": 4}, fast_pages=6)
    result = _run(timeline, _Scripted(ahead={0: (2, 2)}, leave={1: 1, 2: 2}), pages_per_second())
    assert in_pages(result) == SteadyStep(pages_in=5, pages_out=0, step_s=6, stall_s=3)
    assert result.series.stall_s.tolist() == [0, 2, 1]


def test_a_guess_whose_slice_has_passed_is_forgotten() -> None:
    # q (4 pages) is guessed for slice 1, which makes no use of it: q1 and q2 come while slices 0 and 1 compute, q3 is under
    # way when slice 2 misses b: 1 s for q3, 1 s for b. q4 is not in the way, and slice 3 misses it: 1 s.
    timeline = step(["a:r", "a:r", "b:r", "q:r"], pages={"a": 1, "b": 1, "q": 4}, fast_pages=6)
    result = _run(timeline, _Scripted(ahead={0: (2, 1)}, leave={2: 1, 3: 2}), pages_per_second())
    assert in_pages(result) == SteadyStep(pages_in=5, pages_out=0, step_s=7, stall_s=3)
    assert result.series.stall_s.tolist() == [0, 0, 2, 1]


def test_a_prefetch_takes_no_room_that_the_slice_at_hand_needs() -> None:
    # Slice 0 (0.25 s) updates a (2 pages); p1 is under way until 1 s. Slice 1 makes x (3 pages) where 1 is free: a is
    # written until 1.25 and 2.25 s. At 1 s p2 finds a free page, but it is meant for x, which gets its three at 2.25 s.
    # Slice 2 begins when p2 has come after all: 1 s. The next step fetches a: 2 s. With 2.25 s of compute: 7.25 s.
    timeline = step(
        ["a:rw", "x:new", "p:r"],
        pages={"a": 2, "x": 3, "p": 2},
        fast_pages=4,
        frees={1: "x"},
        duration_s=[0.25, 1, 1],
    )
    result = _run(timeline, _Scripted(ahead={0: (2, 2)}, leave={2: 2}), pages_per_second())
    assert in_pages(result) == SteadyStep(pages_in=4, pages_out=2, step_s=7.25, stall_s=5)
    assert result.series.stall_s.tolist() == pytest.approx([2, 2, 1])


def test_what_is_late_gets_its_room_at_once() -> None:
    # d (updated) is given up after slice 1 and takes 10 s to write. p (2 pages), fetched for slice 2, has found no room:
    # when slice 2 needs it, c gives up the page that is short (clean), p1 comes, and p2 after d has gone: 11 s, not 12.
    # Before that, slice 0 fetches d (1 s, for a page of c) and slice 1 c (2 s, for p).
    timeline = step(["d:rw", "c:r", "p:r"], pages={"d": 1, "c": 2, "p": 2}, fast_pages=3)
    result = _run(timeline, _Scripted(ahead={1: (2, 1)}, leave={1: 0}), pages_per_second(write=0.1))
    assert in_pages(result) == SteadyStep(pages_in=5, pages_out=1, step_s=17, stall_s=14)
    assert result.series.stall_s.tolist() == pytest.approx([1, 2, 11])


def test_what_leaves_early_is_written_behind_compute() -> None:
    # a is written (2 s) while slice 1 computes (2 s), so b comes at once: 1 s; a comes back: 1 s. Without, the 2 s show.
    timeline = step(["a:rw", "", "b:r"], pages={"a": 1, "b": 1}, fast_pages=1, duration_s=[1, 2, 1])
    machine = pages_per_second(write=0.5)
    assert in_pages(_run(timeline, _Scripted(leave={0: 0}), machine)) == SteadyStep(
        pages_in=2, pages_out=1, step_s=6, stall_s=2
    )
    assert in_pages(_run(timeline, _Scripted(), machine)).step_s == 8


def test_a_miss_does_not_share_the_channel_with_what_leaves_early() -> None:
    # One channel of a page per second. After slice 0 d (2 pages, updated) is given up, and slice 1 misses b: the miss is
    # due, the write is not, so b comes in 1 s. Then d goes while slices 1 and 2 compute, and comes back: 2 s.
    timeline = step(["d:rw", "b:r", "a:r"], pages={"d": 2, "b": 1, "a": 1}, fast_pages=4)
    result = _run(timeline, _Scripted(leave={0: 0, 2: 1}), pages_per_second(shared=1.0))
    assert in_pages(result) == SteadyStep(pages_in=3, pages_out=2, step_s=6, stall_s=3)
    assert result.series.stall_s.tolist() == pytest.approx([2, 1, 0])
