"""Gaps, epochs and the memory each slice lacks, against a walk round the step; messages; predictions by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gaps import lacking, walk_gaps
from tests.support.instances import middle_timeline, tiny_timelines
from tests.support.machines import toy_machine
from tests.support.thoroughness import examples
from tests.support.timelines import make_timeline

from tmtrain.errors import InfeasibleError
from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.placing.prediction import channel_seconds, predict
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem, cover, framework_peak_pages


def check_problem(timeline: Timeline) -> None:
    problem, walked = build_problem(timeline), walk_gaps(timeline)
    gaps = problem.gaps
    columns = (gaps.extent, gaps.start, gaps.end, gaps.pages, gaps.last_write)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    expected = [(g.extent, g.start, g.end, g.pages, -1 if g.made_by is None else g.made_by) for g in walked]
    assert sorted(rows) == sorted(expected)
    np.testing.assert_array_equal(problem.over_pages, lacking(timeline, walked))
    made_by = {(g.extent, g.start): g.made_by for g in walked}
    epochs: dict[int, set[tuple[int, int | None]]] = {}
    for extent, start, epoch in zip(
        gaps.extent.tolist(), gaps.start.tolist(), gaps.epoch.tolist(), strict=True
    ):
        assert (epoch < 0) == (made_by[extent, start] is None)
        epochs.setdefault(epoch, set()).add((extent, made_by[extent, start]))
    epochs.pop(-1, None)
    assert all(len(contents) == 1 for contents in epochs.values()), "an epoch is one content"
    assert len(set().union(*epochs.values())) == len(epochs), "a content is one epoch"
    assert all(epoch < problem.num_epochs for epoch in epochs)


@examples(200)
@given(timeline=tiny_timelines())
def test_gaps_and_epochs_are_those_of_a_walk(timeline: Timeline) -> None:
    check_problem(timeline)


@pytest.mark.parametrize("seed", range(5))
def test_gaps_and_epochs_of_middle_steps_are_those_of_a_walk(seed: int) -> None:
    check_problem(middle_timeline(seed))


@examples(100)
@given(timeline=tiny_timelines(), seed=st.integers(0, 2**32 - 1))
def test_absent_pages_are_counted_slice_by_slice(timeline: Timeline, seed: int) -> None:
    problem = build_problem(timeline)
    moved = np.random.default_rng(seed).integers(0, problem.gaps.pages + 1)
    inside = {(g.extent, g.start): g.inside for g in walk_gaps(timeline)}
    absent = np.zeros(problem.num_slices, np.int64)
    for extent, start, pages in zip(
        problem.gaps.extent.tolist(), problem.gaps.start.tolist(), moved, strict=True
    ):
        absent[list(inside[extent, start])] += pages
    np.testing.assert_array_equal(problem.absent_pages(moved), absent)


def test_a_step_of_one_slice_has_no_gaps() -> None:
    timeline = make_timeline(["a:rw b:r"], pages={"a": 1, "b": 2}, fast_pages=3)
    problem = build_problem(timeline)
    assert len(problem.gaps) == 0
    assert problem.over_pages.tolist() == [0]


def test_one_access_a_step_leaves_a_gap_all_round() -> None:
    problem = build_problem(make_timeline(["a:r", "b:r", "b:r"], pages={"a": 4, "b": 1}, fast_pages=9))
    moved = np.where(problem.gaps.extent == 0, 3, 0)
    assert problem.absent_pages(moved).tolist() == [0, 3, 3]


def test_cover_takes_empty_input() -> None:
    none = np.zeros(0, np.int32)
    assert cover(none, none, none.astype(np.int64), num_slices=3).tolist() == [0, 0, 0]


def test_a_slice_that_does_not_fit_is_named_with_need_and_have() -> None:
    timeline = make_timeline(["a:r", "a:r b:r"], pages={"a": 2, "b": 3}, fast_pages=4)
    with pytest.raises(
        InfeasibleError,
        match=r"slice 1 \(operator 1, aten.slice1.default\) touches 20\.00 KiB, the fast tier has 16\.00 KiB",
    ):
        build_problem(timeline)


def test_a_prediction_worked_out_by_hand() -> None:
    """`a` (made at 0) moves 3 of its pages in one gap and 2 in the other: 5 pages in, 3 out; `b` is clean."""
    timeline = make_timeline(
        ["a:new b:r", "c:r", "a:r", "c:r", "a:r b:r"],
        pages={"a": 3, "b": 2, "c": 1},
        fast_pages=9,
        page_bytes=8,
    )
    machine = toy_machine(
        read_bytes_per_s=4.0,
        write_bytes_per_s=2.0,
        shared_bytes_per_s=5.0,
        read_j_per_byte=1.0,
        write_j_per_byte=10.0,
        static_power_w=100.0,
    )
    problem = build_problem(timeline)
    gaps = problem.gaps
    moved = np.where(gaps.extent == 0, np.where(gaps.start == 0, 3, 2), np.where(gaps.extent == 1, 2, 0))
    prediction = predict(problem, moved, timeline=timeline, machine=machine)
    assert (prediction.bytes_in, prediction.bytes_out) == (8 * 7, 8 * 3)
    assert prediction.step_time_s == 16.0 == 80 / 5, (
        "the shared channel is the busiest: 14, 12 and 16 seconds"
    )
    assert prediction.energy_j == 100 * 16 + 56 + 240


@pytest.mark.parametrize(
    ("bytes_in", "bytes_out", "seconds"), [(40, 0, 10.0), (0, 40, 20.0), (40, 20, 12.0), (0, 0, 0.0)]
)
def test_the_busiest_channel_sets_the_time(bytes_in: int, bytes_out: int, seconds: float) -> None:
    machine = toy_machine(read_bytes_per_s=4.0, write_bytes_per_s=2.0, shared_bytes_per_s=5.0)
    assert channel_seconds(machine, bytes_in=bytes_in, bytes_out=bytes_out) == seconds


def test_objectives_price_what_they_say() -> None:
    timeline = make_timeline(["a:r", "b:r"], pages={"a": 1, "b": 1}, fast_pages=2)
    machine = toy_machine(read_j_per_byte=2.0, write_j_per_byte=3.0, static_power_w=7.0)
    values = {
        name: make_objective(name, timeline=timeline, machine=machine).value(
            step_time_s=5.0, bytes_in=11, bytes_out=13
        )
        for name in ("energy", "time", "bytes", "writes")
    }
    assert values == {"energy": 7 * 5 + 2 * 11 + 3 * 13, "time": 5.0, "bytes": 24, "writes": 13}


@pytest.mark.parametrize(
    ("slices", "frees", "peak"),
    [
        pytest.param(["a:new", "b:new a:r", "c:new b:r"], {1: "a", 2: "b c"}, 5, id="born and freed"),
        pytest.param(["a:r", "b:new", "a:rw"], {1: "b"}, 4, id="what outlives the step is always there"),
        pytest.param(["a:r", "b:new", "a:new"], {0: "a", 1: "b"}, 2, id="round the end of the step"),
        pytest.param(["a:new", "a:r", "b:new"], {2: "a b"}, 4, id="freed long after its last use"),
    ],
)
def test_the_framework_needs_what_is_born_and_not_yet_freed(
    slices: list[str], frees: dict[int, str], peak: int
) -> None:
    """`a` has 2 pages, `b` 2, `c` 3."""
    used = " ".join(slices)
    pages = {name: size for name, size in {"a": 2, "b": 2, "c": 3}.items() if name in used}
    timeline = make_timeline(slices, pages=pages, fast_pages=9, frees=frees)
    assert framework_peak_pages(timeline) == peak
