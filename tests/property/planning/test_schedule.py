"""What every plan keeps, recomputed from its transfers and the step alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.gaps import WalkedGap, lacking, touches, walk_gaps
from tests.support.instances import crowded_timeline, middle_timeline, tiny_timelines
from tests.support.machines import narrow_machine, toy_machine
from tests.support.proposals import proposed
from tests.support.thoroughness import examples
from tests.support.timelines import make_timeline

from tmtrain.errors import InfeasibleError, InputError
from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.solve import solve
from tmtrain.plans import Plan

objectives = st.sampled_from(["energy", "time", "bytes", "writes"])
seeds = st.integers(0, 2**32 - 1)


def rows(ours: Plan) -> list[tuple[int, ...]]:
    """Transfers as (extent, first page, pages, write, leave, fetch, return)."""
    moves = ours.transfers
    columns = (
        moves.extent,
        moves.first_page,
        moves.pages,
        moves.write_slice,
        moves.leave_slice,
        moves.fetch_slice,
        moves.return_slice,
    )
    return [tuple(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


def occupancy(timeline: Timeline, ours: Plan) -> np.ndarray:
    """Pages in fast memory at each slice: what the step keeps, less what the transfers take away from leave to fetch."""
    T = len(timeline.slices)
    pages = lacking(timeline, walk_gaps(timeline)) + timeline.fast_pages
    for _, _, moved, _, leave, fetch, _ in rows(ours):
        for t in range(leave, fetch):
            pages[t % T] -= moved
    return pages


def check_schedule(timeline: Timeline, ours: Plan) -> None:
    T, gaps = len(timeline.slices), {(gap.extent, gap.start): gap for gap in walk_gaps(timeline)}
    pieces: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
    for extent, first, moved, write, leave, fetch, back in rows(ours):
        assert 0 <= write <= leave <= fetch <= back < 3 * T
        gap = gaps[extent, (leave - 1) % T]  # KeyError: leaves in no gap
        assert back % T == gap.end
        assert back - leave == len(gap.inside), "it is absent in this gap and not one step longer"
        check_write(gap, write, leave, T=T)
        pieces.setdefault((extent, gap.start), []).append((first, moved, fetch))
    for key, parts in pieces.items():
        check_pieces(sorted(parts), whole=gaps[key].pages)
    assert (occupancy(timeline, ours) <= timeline.fast_pages).all()


def check_write(gap: WalkedGap, write: int, leave: int, *, T: int) -> None:
    """After the write that made the content; not at all, that is at once, where flash has it."""
    assert write >= (leave if gap.made_by is None else leave - (gap.start - gap.made_by) % T)


def check_pieces(parts: list[tuple[int, int, int]], *, whole: int) -> None:
    """The front of the extent, piece behind piece; the last one comes back first."""
    reached, comes = 0, None
    for first, moved, fetch in parts:
        assert first == reached
        assert moved > 0
        assert comes is None or fetch <= comes
        reached, comes = reached + moved, fetch
    assert reached <= whole


@examples(150)
@given(timeline=tiny_timelines(), seed=seeds, objective=objectives)
def test_transfers_keep_order_and_capacity(timeline: Timeline, seed: int, objective: str) -> None:
    check_schedule(timeline, proposed(timeline, machine=narrow_machine(seed), objective=objective))


@examples(100)
@given(seed=seeds, objective=objectives)
def test_transfers_of_crowded_steps_keep_order_and_capacity(seed: int, objective: str) -> None:
    timeline = crowded_timeline(seed)
    check_schedule(timeline, proposed(timeline, machine=narrow_machine(seed), objective=objective))


@examples(15)
@given(seed=seeds, objective=objectives)
def test_transfers_of_middle_steps_keep_order_and_capacity(seed: int, objective: str) -> None:
    timeline = middle_timeline(seed)
    check_schedule(timeline, proposed(timeline, machine=narrow_machine(seed), objective=objective))


@examples(60)
@given(timeline=tiny_timelines(), seed=seeds, objective=objectives)
def test_the_placement_is_whole_pages_and_at_most_one_page_per_gap_above_the_programme(
    timeline: Timeline, seed: int, objective: str
) -> None:
    machine = narrow_machine(seed)
    goal = make_objective(objective, timeline=timeline, machine=machine)
    problem = build_problem(timeline)
    placement = solve(problem, timeline=timeline, machine=machine, objective=goal)
    assert (placement.moved >= 0).all()
    assert (placement.moved <= problem.gaps.pages).all()
    assert (problem.absent_pages(placement.moved) >= problem.over_pages).all()
    proof = proposed(timeline, machine=machine, objective=objective).certificate
    assert proof is not None
    page = timeline.page_bytes
    slowest = min(machine.read_bytes_per_s, machine.write_bytes_per_s, machine.shared_bytes_per_s / 2)
    per_gap = page * (goal.per_byte_in + goal.per_byte_out + goal.per_second / slowest)
    assert proof.predicted <= placement.optimum * (1 + 1e-9) + per_gap * len(problem.gaps)


@examples(60)
@given(timeline=tiny_timelines(), seed=seeds, objective=objectives)
def test_the_prediction_counts_the_transfers(timeline: Timeline, seed: int, objective: str) -> None:
    """Bytes in: every transfer. Bytes out: per content the largest of its transfers, and only if the step made it."""
    machine = narrow_machine(seed)
    ours = proposed(timeline, machine=machine, objective=objective)
    T, page = len(timeline.slices), timeline.page_bytes
    made_by = {(gap.extent, gap.start): gap.made_by for gap in walk_gaps(timeline)}
    written: dict[tuple[int, int], int] = {}
    for extent, first, moved, _, leave, _, _ in rows(ours):
        maker = made_by[extent, (leave - 1) % T]
        if maker is not None:
            written[extent, maker] = max(first + moved, written.get((extent, maker), 0))
    bytes_in = page * sum(row[2] for row in rows(ours))
    bytes_out = page * sum(written.values())
    assert (ours.prediction.bytes_in, ours.prediction.bytes_out) == (bytes_in, bytes_out)
    assert ours.prediction.step_time_s >= max(
        timeline.compute_s,
        bytes_in / machine.read_bytes_per_s,
        bytes_out / machine.write_bytes_per_s,
        (bytes_in + bytes_out) / machine.shared_bytes_per_s,
    )


@examples(40)
@given(timeline=tiny_timelines(), objective=objectives, spare=st.integers(0, 3))
def test_nothing_moves_when_everything_fits(timeline: Timeline, objective: str, spare: int) -> None:
    machine = narrow_machine(0)
    most = int(lacking(timeline, walk_gaps(timeline)).max()) + timeline.fast_pages
    roomy = resized(timeline, max(most, 1) + spare)
    ours = proposed(roomy, machine=machine, objective=objective)
    assert len(ours.transfers) == 0
    assert ours.prediction.step_time_s == roomy.compute_s
    assert ours.certificate is not None
    assert ours.certificate.predicted == pytest.approx(ours.certificate.bound.value, abs=1e-12)


@examples(40)
@given(timeline=tiny_timelines())
def test_a_page_less_than_the_largest_slice_needs_is_refused(timeline: Timeline) -> None:
    machine = narrow_machine(0)
    need = max(sum(int(timeline.extents.pages[e]) for e in accesses) for accesses in touches(timeline))
    proposed(resized(timeline, need), machine=machine)
    with pytest.raises(InfeasibleError, match=rf"touches {8 * need} B, the fast tier has {8 * (need - 1)} B"):
        proposed(resized(timeline, need - 1), machine=machine)


def test_an_unknown_objective_is_refused_with_those_there_are() -> None:
    timeline = make_timeline(["a:r"], pages={"a": 1}, fast_pages=1)
    with pytest.raises(InputError, match=r"'joules'.*energy, time, bytes, writes"):
        proposed(timeline, machine=narrow_machine(0), objective="joules")


@pytest.mark.parametrize(
    ("read_bytes_per_s", "fetch"),
    [
        pytest.param(1e18, 4, id="an instant channel: a slice ahead"),
        pytest.param(8.0, 3, id="a page a second: twice that ahead"),
        pytest.param(1.0, 2, id="a slow one: as early as there is room"),
    ],
)
def test_a_fetch_starts_when_it_is_useful_and_there_is_room(read_bytes_per_s: float, fetch: int) -> None:
    """`a` is crowded out of slice 1 and has room again from slice 2 on; slice 5 is slice 0 of the next step."""
    timeline = make_timeline(
        ["a:r", "b:new", "c:new", "c:r", "c:r"], pages={"a": 1, "b": 2, "c": 1}, fast_pages=2, page_bytes=8
    )
    ours = proposed(timeline, machine=toy_machine(read_bytes_per_s=read_bytes_per_s), objective="bytes")
    assert rows(ours) == [(0, 0, 1, 1, 1, fetch, 5)]


def test_early_fetches_share_the_room_there_is() -> None:
    """Slice 2 has room for one of the two pages that slice 1 crowds out."""
    timeline = make_timeline(
        ["a:r b:r", "c:new", "d:new", "a:r b:r"],
        pages={"a": 1, "b": 1, "c": 2, "d": 1},
        fast_pages=2,
        page_bytes=8,
    )
    ours = proposed(timeline, machine=toy_machine(read_bytes_per_s=0.1), objective="bytes")
    away = {(extent, leave): fetch for extent, _, _, _, leave, fetch, _ in rows(ours)}
    assert sorted(away.values()) == [2, 3]
    check_schedule(timeline, ours)


def resized(timeline: Timeline, fast_pages: int) -> Timeline:
    return replace(timeline, fast_bytes=fast_pages * timeline.page_bytes)
