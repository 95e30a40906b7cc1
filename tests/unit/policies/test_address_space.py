"""The allocator that pagers live under, and the step as they see it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.support.simulated import SteadyStep, pages_per_second, steady_step, step
from tests.support.thoroughness import examples
from tests.support.timelines import make_timeline

from tmtrain.policies.pagers.paging import by_address
from tmtrain.policies.shared.best_fit import BestFit
from tmtrain.trace import Role

Orders = list[tuple[str, int]]


class _Bitmap:
    """Best fit by looking at every page."""

    def __init__(self) -> None:
        self.used: list[bool] = []

    def take(self, pages: int) -> int:
        holes = [(end - start, start) for start, end in self._holes() if end - start >= pages]
        start = min(holes)[1] if holes else len(self.used)
        self.used += [False] * (start + pages - len(self.used))
        assert not any(self.used[start : start + pages])
        self.used[start : start + pages] = [True] * pages
        return start

    def give(self, start: int, pages: int) -> None:
        self.used[start : start + pages] = [False] * pages

    def _holes(self) -> list[tuple[int, int]]:
        edges = np.flatnonzero(np.diff([1, *self.used, 1])).tolist()
        return list(zip(edges[::2], edges[1::2], strict=True))


@given(st.lists(st.tuples(st.sampled_from(["take", "take", "give"]), st.integers(0, 9)), max_size=40))
@examples(300)
def test_best_fit_is_the_best_fit(orders: Orders) -> None:
    space, oracle = BestFit(), _Bitmap()
    held: list[tuple[int, int]] = []
    for order, number in orders:
        if order == "take":
            pages = number % 5 + 1
            start = space.take(pages)
            assert start == oracle.take(pages)
            held.append((start, pages))
        elif held:
            start, pages = held.pop(number % len(held))
            space.give(start, pages)
            oracle.give(start, pages)
        assert space.top == len(oracle.used)


def test_the_smallest_hole_that_fits_is_taken_and_the_rest_stays_free() -> None:
    space = BestFit()
    starts = [space.take(pages) for pages in (4, 1, 2, 1)]
    space.give(starts[0], 4)
    space.give(starts[2], 2)
    assert (space.take(1), space.take(3), space.take(1)) == (
        5,
        0,
        3,
    )  # of the 2, of the 4, what is left of the 4
    assert (space.take(1), space.top) == (6, 8)


def test_neighbours_merge() -> None:
    space = BestFit()
    for pages in (2, 3, 2):
        space.take(pages)
    space.give(0, 2)
    space.give(5, 2)
    space.give(2, 3)
    assert (space.take(7), space.top) == (0, 7)


def test_freed_addresses_serve_again_so_a_pager_keeps_them_in_memory() -> None:
    # x dies, y gets its address: with one page of room nothing ever moves.
    timeline = step(
        ["x:new", "x:r", "y:new", "y:r"], pages={"x": 1, "y": 1}, fast_pages=1, frees={1: "x", 3: "y"}
    )
    assert len(by_address(timeline).extents) == 1
    assert steady_step("paging", timeline, pages_per_second()) == SteadyStep(
        pages_in=0, pages_out=0, step_s=4, stall_s=0
    )


def test_a_hole_is_split_and_merged_again() -> None:
    # y and z share the hole of x (2 pages); v (2 pages) gets it back whole.
    timeline = step(
        ["x:new", "y:new", "z:new y:r", "v:new"],
        pages={"x": 2, "y": 1, "z": 1, "v": 2},
        fast_pages=2,
        frees={0: "x", 2: "y z", 3: "v"},
    )
    seen = by_address(timeline)
    assert seen.extents.pages.tolist() == [1, 1]
    assert [
        seen.accesses.extent[a:b].tolist()
        for a, b in zip(seen.accesses.ptr, seen.accesses.ptr[1:], strict=False)
    ] == [
        [0, 1],
        [0],
        [0, 1],
        [0, 1],
    ]
    assert steady_step("paging", timeline, pages_per_second()).pages_in == 0


def test_without_a_death_in_between_there_is_no_reuse() -> None:
    # x is freed after slice 2 only, y needs an address of its own: with one page of room both are written and faulted in.
    timeline = step(["x:new", "y:new", "x:r"], pages={"x": 1, "y": 1}, fast_pages=1, frees={2: "x y"})
    assert len(by_address(timeline).extents) == 2
    # x for slice 2, kept till slice 0; y (stale) for slice 1; x is written before slice 1, y before slice 2.
    assert steady_step("paging", timeline, pages_per_second()) == SteadyStep(
        pages_in=2, pages_out=2, step_s=7, stall_s=4
    )


def test_what_outlives_the_step_has_an_address_of_its_own() -> None:
    timeline = step(
        ["w:r x:new", "x:r", "y:new w:r"],
        pages={"w": 3, "x": 2, "y": 2},
        fast_pages=9,
        frees={1: "x", 2: "y"},
    )
    seen = by_address(timeline)
    assert sorted(seen.extents.pages.tolist()) == [2, 3]
    assert seen.extents.persistent.all()
    assert seen.accesses.needs_content.all()
    assert (seen.accesses.next_slice >= 0).all()
    assert len(seen.frees.extent) == 0


def test_a_gradient_that_lives_round_the_end_of_the_step_keeps_its_address() -> None:
    # g is read and freed in slice 0 and born again in slice 2. The pager's step begins with g in place: t goes elsewhere.
    timeline = step(["g:r", "t:new", "g:new"], pages={"g": 1, "t": 1}, fast_pages=2, frees={0: "g", 1: "t"})
    assert by_address(timeline).extents.pages.tolist() == [1, 1]


def test_extents_of_one_storage_lie_side_by_side() -> None:
    # x is one storage of two extents; with x/0 first it takes 3 pages in one piece.
    timeline = make_timeline(
        ["x/0:new", "x/1:new", "x/0:r x/1:r", "y:new"],
        pages={"x/0": 1, "x/1": 2, "y": 3},
        fast_pages=3,
        frees={2: "x/0 x/1", 3: "y"},
    )
    seen = by_address(timeline)
    assert seen.extents.pages.tolist() == [1, 2]
    assert seen.accesses.extent.tolist() == [0, 1, 0, 1, 0, 1]


def test_a_place_in_memory_has_the_role_of_what_outlives_the_step_if_anything_does() -> None:
    timeline = make_timeline(
        ["w:r x:new", "y:new"],
        pages={"w": 1, "x": 1, "y": 1},
        fast_pages=3,
        frees={0: "x", 1: "y"},
        roles={"w": Role.PARAMETER, "x": Role.ACTIVATION, "y": Role.GRADIENT},
    )
    roles = by_address(timeline).extents.role.tolist()
    assert roles[0] == Role.PARAMETER
    assert roles[1] in (Role.ACTIVATION, Role.GRADIENT)
