"""What paging, LRU and Belady's MIN do on steps small enough for paper; pages are a, b, ..., one second per slice."""

import pytest
from tests.support.simulated import BASIC_POLICIES, SteadyStep, decided, pages_per_second, steady_step, step
from tests.support.timelines import make_timeline

from tmtrain.deciding import Decision, Knowledge
from tmtrain.errors import InputError, PlanRefutedError
from tmtrain.policies import DEFAULT_POLICIES, POLICIES, make_policy
from tmtrain.policies.pagers.lru import LruPager
from tmtrain.simulation import simulate

ROUND_AND_ROUND = step(["a:r", "b:r", "c:r"] * 2, pages={"a": 1, "b": 1, "c": 1}, fast_pages=2)


def test_lru_misses_every_page_of_a_loop_one_page_too_long() -> None:
    # Each of the six accesses evicts the page that is needed next: 6 pages in, one exposed second each, clean.
    assert steady_step("lru", ROUND_AND_ROUND, pages_per_second()) == SteadyStep(
        pages_in=6, pages_out=0, step_s=12, stall_s=6
    )


def test_belady_misses_every_other_page_of_it() -> None:
    # MIN evicts what was used just before, which is furthest: a b C a B c A b C ... misses half of the accesses.
    assert steady_step("belady", ROUND_AND_ROUND, pages_per_second()) == SteadyStep(
        pages_in=3, pages_out=0, step_s=9, stall_s=3
    )


def test_a_dirty_page_is_written_before_it_leaves_and_a_clean_one_is_not() -> None:
    # One page of room. Slice 0: b leaves at once, a comes in (1 s). Slice 1: a is written (2 s), then b comes in (1 s).
    timeline = step(["a:rw", "b:r"], pages={"a": 1, "b": 1}, fast_pages=1)
    expected = SteadyStep(pages_in=2, pages_out=1, step_s=6, stall_s=4)
    assert steady_step("lru", timeline, pages_per_second(write=0.5)) == expected
    assert steady_step("belady", timeline, pages_per_second(write=0.5)) == expected


def test_only_as_much_of_an_extent_leaves_as_is_needed() -> None:
    # a (4 pages) and b (2) in 5 pages of room: one page is missing each time, one leaves each time.
    timeline = step(["a:r", "b:r"], pages={"a": 4, "b": 2}, fast_pages=5)
    expected = SteadyStep(pages_in=2, pages_out=0, step_s=4, stall_s=2)
    assert steady_step("lru", timeline, pages_per_second()) == expected
    assert steady_step("belady", timeline, pages_per_second()) == expected


def test_the_written_part_of_an_extent_is_not_written_again() -> None:
    # a (2 pages) is made in slice 0 and read in slices 2 and 4; b and c (1 page each) need the room of one of its pages. It
    # leaves for b (written, 1 s) and comes back for slice 2, leaves for c (still valid on flash: free) and comes back.
    timeline = step(
        ["a:new", "b:r", "a:r", "c:r", "a:r"], pages={"a": 2, "b": 1, "c": 1}, fast_pages=2, frees={4: "a"}
    )
    # In: b, a, c, a: 4 pages; out: 1 page; 5 s of compute + 4 s in + 1 s out.
    assert steady_step("lru", timeline, pages_per_second()) == SteadyStep(
        pages_in=4, pages_out=1, step_s=10, stall_s=5
    )


@pytest.mark.parametrize("policy", ["lru", "belady"])
def test_dead_content_leaves_for_nothing(policy: str) -> None:
    # x is made and dies in slice 0; v takes its room. Slice 0: v (clean) makes room for x. Slice 1: v comes back: 1 s.
    timeline = step(["x:new w:r", "v:r w:r"], pages={"x": 1, "w": 1, "v": 1}, fast_pages=2, frees={0: "x"})
    assert steady_step(policy, timeline, pages_per_second(write=0.5)) == SteadyStep(
        pages_in=1, pages_out=0, step_s=3, stall_s=1
    )


def test_paging_writes_dead_content_and_faults_it_back_before_it_is_overwritten() -> None:
    # The same step. Slice 0: v makes room, the stale page of x is faulted in (1 s). Slice 1: x is dirty: written (2 s),
    # then v is faulted in (1 s).
    timeline = step(["x:new w:r", "v:r w:r"], pages={"x": 1, "w": 1, "v": 1}, fast_pages=2, frees={0: "x"})
    assert steady_step("paging", timeline, pages_per_second(write=0.5)) == SteadyStep(
        pages_in=2, pages_out=1, step_s=6, stall_s=4
    )


def test_lru_learns_of_a_death_only_when_the_framework_frees() -> None:
    # x is last used in slice 0 but freed after slice 1 only: LRU writes it (2 s) to make room for v, Belady does not.
    timeline = step(["x:new w:r", "v:r w:r"], pages={"x": 1, "w": 1, "v": 1}, fast_pages=2, frees={1: "x"})
    machine = pages_per_second(write=0.5)
    assert steady_step("lru", timeline, machine) == SteadyStep(pages_in=1, pages_out=1, step_s=5, stall_s=3)
    assert steady_step("belady", timeline, machine) == SteadyStep(
        pages_in=1, pages_out=0, step_s=3, stall_s=1
    )


def test_a_fault_costs_its_handler_once_per_batch_of_pages() -> None:
    # a and b (3 pages each) swap places, in chunks of one page here, so each page is a batch of its own: 3 x (2 s + 1 s),
    # twice, and 2 s of compute; the first of three pays the latency of the device too (0.5 s). LRU pays that alone.
    timeline = step(["a:r", "b:r"], pages={"a": 3, "b": 3}, fast_pages=3)
    machine = pages_per_second(read_latency_s=0.5, fault_latency_s=2.0, fault_batch_pages=4)
    assert steady_step("paging", timeline, machine) == SteadyStep(
        pages_in=6, pages_out=0, step_s=21, stall_s=19
    )
    assert steady_step("lru", timeline, machine) == SteadyStep(pages_in=6, pages_out=0, step_s=9, stall_s=7)


def test_min_is_not_optimal_where_writing_costs() -> None:
    # Room for 2. In slice 1 t needs a page: MIN gives up d, whose next use is further than that of c; but d is dirty (2 s)
    # and has to come back (1 s). The optimum gives up c, which is clean and comes back (1 s).
    timeline = step(
        ["d:rw c:r", "t:new", "c:r"], pages={"d": 1, "c": 1, "t": 1}, fast_pages=2, frees={1: "t"}
    )
    machine = pages_per_second(write=0.5)
    assert steady_step("belady", timeline, machine) == SteadyStep(
        pages_in=1, pages_out=1, step_s=6, stall_s=3
    )
    assert steady_step("tmtrain", timeline, machine) == SteadyStep(
        pages_in=1, pages_out=0, step_s=4, stall_s=1
    )


def test_reads_wait_for_the_writes_that_make_their_room() -> None:
    # a and b (2 pages each, both updated) swap places on a channel of one page a second for both directions. The first page
    # of a is written (1 s); then its second and the first of b share the channel (2 s); the second of b comes in (1 s).
    timeline = step(["a:rw", "b:rw"], pages={"a": 2, "b": 2}, fast_pages=2)
    assert steady_step("lru", timeline, pages_per_second(shared=1.0)) == SteadyStep(
        pages_in=4, pages_out=4, step_s=10, stall_s=8
    )


class _Careless(LruPager):
    """Gives up what the current slice uses."""

    def victims(self, pages: int, *, held: object) -> list[tuple[int, int]]:
        return [(0, pages)]


class _Lavish(LruPager):
    """Gives up more than there is."""

    def victims(self, pages: int, *, held: object) -> list[tuple[int, int]]:
        return [(0, pages + 1)]


class _Stingy(LruPager):
    """Gives up nothing."""

    def victims(self, pages: int, *, held: object) -> list[tuple[int, int]]:
        return []


@pytest.mark.parametrize(
    ("pager", "slices", "message"),
    [
        pytest.param(
            _Careless(),
            ["a:r c:r", "a:r b:r"],
            "touches extent 0, which was made to give up 1 of its 1 pages",
            id="careless",
        ),
        pytest.param(
            _Careless(),
            ["a:r", "a:r b:r", "c:r"],
            "gives up 1 pages of extent 0, of which 0 are there to give up",
            id="careless again",
        ),
        pytest.param(
            _Lavish(),
            ["a:r", "a:r b:r", "c:r"],
            "gives up 2 pages of extent 0, of which 1 are there to give up",
            id="lavish",
        ),
        pytest.param(_Stingy(), ["a:r b:r", "c:r"], r"slice 1 \(operator 1\) can never start", id="stingy"),
    ],
)
def test_a_pager_that_breaks_the_rules_is_refuted(pager: LruPager, slices: list[str], message: str) -> None:
    timeline = make_timeline(slices, pages={"a": 1, "b": 1, "c": 1}, fast_pages=2)
    decision = Decision(timeline=timeline, knowledge=Knowledge.FREED, pager=pager)
    with pytest.raises(PlanRefutedError, match=message):
        simulate(decision, machine=pages_per_second(), policy="broken")


@pytest.mark.parametrize("policy", ["paging", "lru", "belady"])
def test_a_slice_larger_than_fast_memory_is_refused(policy: str) -> None:
    timeline = make_timeline(["a:r b:r", "c:r"], pages={"a": 2, "b": 1, "c": 1}, fast_pages=2)
    with pytest.raises(PlanRefutedError, match="slice 0"):
        steady_step(policy, timeline, pages_per_second())


def test_policies_have_the_names_that_they_are_made_by() -> None:
    assert [make_policy(name).name for name in POLICIES] == list(POLICIES)
    with pytest.raises(InputError, match="unknown policy 'mru': choose one of all-fast, paging"):
        make_policy("mru")


def test_a_comparison_shows_by_default_what_people_would_name() -> None:
    published = ("checkpoint-lru", "zero-infinity", "g10", "flashneuron", "capuchin")
    assert ("all-fast", *published, "tmtrain") == DEFAULT_POLICIES


def test_a_decision_of_a_basic_policy_has_either_a_plan_or_a_pager() -> None:
    decisions = [decided(name, ROUND_AND_ROUND, pages_per_second()) for name in BASIC_POLICIES]
    assert all((decision.plan is None) != (decision.pager is None) for decision in decisions)
    assert [decision.has_flash for decision in decisions] == [name != "all-fast" for name in BASIC_POLICIES]
