"""Note [Blocks]: where forward is cut, against every set of cuts; when a block is recomputed; bins of slices."""

from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from tests.support.instances import middle_timeline
from tests.support.row_steps import Op, RowStep, lowered, row_machine

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.bins import bin_edges
from tmtrain.planning.recomputation import blocks as blocks_module
from tmtrain.planning.recomputation.blocks import find_blocks, storage_life
from tmtrain.trace import Phase


def cost_of(cuts: list[int], crossing: np.ndarray, saved: np.ndarray, weight: float) -> float:
    """The sum of Note [Blocks], term by term."""
    inner = sum(crossing[c] for c in cuts[1:-1])
    return float(inner + weight * sum((saved[b] - saved[a]) ** 2 for a, b in pairwise(cuts)))


@pytest.mark.parametrize("seed", range(150))
def test_the_cuts_are_the_cheapest_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 9))
    crossing = rng.integers(0, 20, n).astype(float)
    saved = np.cumsum(rng.integers(0, 10, n)).astype(float)
    forced = rng.random(n) < 0.2
    forced[[0, -1]] = False
    weight = float(rng.choice([0.0, 0.05, 0.5, 5.0]))
    sites = np.sort(rng.choice(100, n, replace=False))
    cuts = blocks_module._cheapest(sites, crossing, saved, forced, weight=weight).tolist()
    indices = [sites.tolist().index(p) for p in cuts]
    assert indices[0] == 0
    assert indices[-1] == n - 1
    assert set(np.flatnonzero(forced).tolist()) <= set(indices)
    choices = (
        [0, *inner, n - 1]
        for k in range(n - 1)
        for inner in combinations(range(1, n - 1), k)
        if set(np.flatnonzero(forced).tolist()) <= set(inner)
    )
    best = min(cost_of(list(c), crossing, saved, weight) for c in choices)
    assert cost_of(indices, crossing, saved, weight) == pytest.approx(best)


def accumulating() -> RowStep:
    """Forward, backward, forward, backward: two micro-batches, one optimizer step not shown."""
    ops: list[Op] = []
    for half in "pq":
        ops += [
            Op(reads=("x",), makes=(f"{half}a",)),
            Op(reads=(f"{half}a",), makes=(f"{half}b",)),
            Op(reads=(f"{half}b",), makes=(f"{half}c",), phase=Phase.LOSS),
            Op(reads=(f"{half}c", f"{half}b"), makes=(f"{half}g",), phase=Phase.BACKWARD),
            Op(reads=(f"{half}g", f"{half}a"), makes=(f"{half}h",), phase=Phase.BACKWARD),
        ]
    names = dict.fromkeys(name for op in ops for name in op.touches)
    return RowStep(rows=2, ops=tuple(ops), pages=dict.fromkeys(names, 4))


def timeline_of(step: RowStep) -> Timeline:
    return lowered(step, machine=row_machine(), spare_pages=4)


@pytest.mark.parametrize("holding", [0.0, 0.25, 100.0])
def test_no_block_spans_a_backward(holding: float) -> None:
    """Gradient accumulation: what the first forward made is wanted by the first backward, before the second forward."""
    step = accumulating()
    timeline = timeline_of(step)
    blocks = find_blocks(timeline, storage_life(timeline), holding=holding)
    cuts = blocks.cuts.tolist()
    assert {0, 3, 5, 8} <= set(cuts)
    assert cuts == sorted(cuts)
    for (first, end), point in zip(pairwise(cuts), blocks.point.tolist(), strict=True):
        phases = {step.ops[t].phase == Phase.BACKWARD for t in range(first, end)}
        assert len(phases) == 1, "a block is of forward or of backward"
        assert point == -1 or end <= point
        if first < 3 and point >= 0:
            assert point < 5, "the first half is recomputed in the first backward"


def test_a_point_is_the_first_need_of_what_is_made_and_used_up_in_the_block() -> None:
    step = accumulating()
    timeline = timeline_of(step)
    blocks = find_blocks(timeline, storage_life(timeline), holding=0.0)
    points = {
        first: point
        for (first, _), point in zip(pairwise(blocks.cuts.tolist()), blocks.point.tolist(), strict=True)
    }
    assert (points[0], points[5]) == (3, 8)
    assert (blocks.of_producer >= 0).all()


def test_more_weight_on_holding_makes_more_blocks() -> None:
    names = [f"s{i}" for i in range(12)]
    ops = [Op(reads=(before,), makes=(name,)) for before, name in pairwise(("x", *names))]
    ops += [
        Op(reads=(f"g{i}",) * (i > 0) + (name,), makes=(f"g{i + 1}",), phase=Phase.BACKWARD)
        for i, name in enumerate(reversed(names))
    ]
    every = dict.fromkeys(n for op in ops for n in op.touches)
    timeline = timeline_of(RowStep(rows=2, ops=tuple(ops), pages=dict.fromkeys(every, 2)))
    life = storage_life(timeline)
    counts = [len(find_blocks(timeline, life, holding=h)) for h in (0.0, 0.1, 1.0, 10.0)]
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert counts[-1] > 4


def test_lives_are_read_off_the_accesses() -> None:
    step = accumulating()
    life, names = storage_life(timeline_of(step)), list(step.pages)
    lives = {
        n: (int(life.born[i]), int(life.last_forward[i]), int(life.needed[i])) for i, n in enumerate(names)
    }
    assert lives["pa"] == (0, 1, 4)
    assert lives["pb"] == (1, 2, 3)
    assert lives["qa"] == (5, 6, 9)
    assert lives["pg"] == (3, -1, 4), "backward made it: forward never touches it"


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 7, 50, 200, 1000])
def test_bins_tile_the_step(seed: int, count: int) -> None:
    timeline = middle_timeline(seed)
    edges = bin_edges(timeline, build_problem(timeline).over_pages, count=count)
    assert (edges[0], edges[-1]) == (0, len(timeline.slices))
    assert (np.diff(edges) > 0).all()
    assert len(edges) - 1 <= min(count, len(timeline.slices))


def test_bins_are_alike_in_compute_and_bytes_touched() -> None:
    """No bin has more than twice its share and two slices; a long forward does not swallow a short optimizer."""
    timeline = middle_timeline(1, extents=200)
    edges = bin_edges(timeline, build_problem(timeline).over_pages, count=20)
    seconds = np.add.reduceat(timeline.slices.duration_s, edges[:-1]) / timeline.compute_s
    pages = np.add.reduceat(
        timeline.extents.pages[timeline.accesses.extent], timeline.accesses.ptr[edges[:-1]]
    )
    assert (seconds / 2 + pages / pages.sum() / 2 < 2 / 20 + 0.02).all()


def test_steps_of_no_seconds_and_of_no_accesses_have_bins() -> None:
    timeline = middle_timeline(0)
    still = replace(timeline, slices=replace(timeline.slices, duration_s=np.zeros(len(timeline.slices))))
    assert bin_edges(still, build_problem(still).over_pages, count=10)[-1] == len(timeline.slices)
