"""Planning by whole tensors: all extents of a storage between the same two operators, or none of them."""

import numpy as np
from tests.support.proposals import proposed
from tests.support.simulated import pages_per_second, step

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.whole import plan_whole, to_whole_tensors

MACHINE = pages_per_second()

ONE_PAGE_SHORT = step(
    ["w/0:r w/1:r", "t:new", "", "w/0:r w/1:r"],
    pages={"w/0": 2, "w/1": 2, "t": 3},
    fast_pages=6,
    frees={1: "t"},
)
"""A page of w has to be away in slice 1; w has four, in two extents."""


def _away(timeline: Timeline, whole: bool) -> list[tuple[int, int]]:
    make = plan_whole if whole else proposed
    moves = make(timeline, machine=MACHINE, objective="bytes").transfers
    pages: dict[int, int] = {}
    for extent, piece in zip(moves.extent.tolist(), moves.pages.tolist(), strict=True):
        pages[extent] = pages.get(extent, 0) + piece
    return sorted(pages.items())


def test_a_page_too_many_takes_the_whole_tensor_along() -> None:
    assert sum(pages for _, pages in _away(ONE_PAGE_SHORT, whole=False)) == 1
    assert _away(ONE_PAGE_SHORT, whole=True) == [(0, 2), (1, 2)]


def test_a_tensor_stays_whole_where_another_one_makes_the_room() -> None:
    # a (3 pages) and b (1 page) may both step aside for t, which lacks one page: splitting would do with either.
    timeline = step(
        ["a:r b:r", "t:new", "", "a:r b:r"], pages={"a": 3, "b": 1, "t": 2}, fast_pages=5, frees={1: "t"}
    )
    moved = np.zeros(len(build_problem(timeline).gaps), np.int64)
    problem = build_problem(timeline)
    inside = problem.gaps.start == 0
    moved[inside & (problem.gaps.extent == 0)] = 1
    chosen = to_whole_tensors(problem, moved, timeline=timeline)
    assert chosen[inside].tolist() == [3, 0], "the one with the larger share of its pages gone"
    moved[inside] = [1, 1]
    assert to_whole_tensors(problem, moved, timeline=timeline)[inside].tolist() == [0, 1]


def test_what_rounding_chose_for_nothing_stays() -> None:
    # Both shares are rounded up to whole tensors; one of them alone makes enough room.
    timeline = step(
        ["a:r b:r", "t:new", "", "a:r b:r"], pages={"a": 2, "b": 2, "t": 2}, fast_pages=4, frees={1: "t"}
    )
    problem = build_problem(timeline)
    half = np.where(problem.gaps.start == 0, 1, 0)
    assert sorted(to_whole_tensors(problem, half, timeline=timeline).tolist()) == [0, 2]


def test_nothing_moves_where_everything_fits() -> None:
    assert _away(step(["a:r", "", "a:r"], pages={"a": 2}, fast_pages=2), whole=True) == []
