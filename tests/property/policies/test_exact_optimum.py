"""Plans and bounds against the exact optimum of tiny steps, latencies included, for every objective.

The optimum is the least mean over all cycles of a graph of states (`tests.support.exact`). It shares no code with planner,
solver or engine, and leaves open even what is done in vain: nothing that the engine runs needs less, and no bound is above
it. How far our plans are from it is in benchmarks/exact_optimum.md.
"""

import random
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from tests.support.exact.least_cycle import CycleGraph
from tests.support.exact.optimum import Schedules, TooManyStatesError
from tests.support.exact.tick_step import TickStep, random_tick_step
from tests.support.rivals import tried_rivals
from tests.support.thoroughness import rest_slow

from tmtrain.policies import plan

OBJECTIVES = ("time", "energy", "bytes", "writes")
ROUNDING = 1e-9


def tick_step(
    *touched: Mapping[int, str], pages: tuple[int, ...], fast_pages: int, half_duplex: bool = False
) -> TickStep:
    """Make slices of 4 ticks on a drive that reads a page in 2 ticks after 5, and writes one in 3 after 7."""
    return TickStep(
        pages=pages,
        touched=touched,
        ticks=(4,) * len(touched),
        fast_pages=fast_pages,
        read_ticks=2,
        read_latency=5,
        write_ticks=2 if half_duplex else 3,
        write_latency=7,
        half_duplex=half_duplex,
    )


def at_once(step: TickStep) -> TickStep:
    return replace(step, read_latency=0, write_latency=0)


@pytest.mark.parametrize(
    ("step", "ticks"),
    [
        # All fits.
        (tick_step({0: "w"}, {1: "w"}, {0: "r", 1: "r"}, pages=(2, 2), fast_pages=4), 3 * 4),
        # Two extents of two pages in turn where two fit: each slice waits for 5 + 2 + 2.
        (tick_step({0: "r"}, {1: "r"}, pages=(2, 2), fast_pages=2), 2 * (4 + 5 + 2 + 2)),
        # One of them is changed: its first page is written after 7 + 3, and the reads begin there.
        (tick_step({0: "rw"}, {1: "r"}, pages=(2, 2), fast_pages=2), 4 + 7 + 3 + 5 + 2 + 2 + 4 + 5 + 2 + 2),
        # One page: nothing goes on at once, whether or not the channel can do both.
        (tick_step({0: "rw"}, {1: "rw"}, pages=(1, 1), fast_pages=1), 2 * (4 + 7 + 3 + 5 + 2)),
        (
            tick_step({0: "rw"}, {1: "rw"}, pages=(1, 1), fast_pages=1, half_duplex=True),
            2 * (4 + 7 + 2 + 5 + 2),
        ),
        # The channel is the bottleneck, in both directions: 2 * 4 pages take 2 each.
        (
            at_once(tick_step({0: "rw"}, {1: "rw"}, pages=(2, 2), fast_pages=2, half_duplex=True)),
            2 * (4 + 4 * 2),
        ),
        # Nothing but a write needs room first: 7 + 3, then it goes on while a page comes in, then the other one.
        (at_once(tick_step({0: "rw"}, {1: "rw"}, pages=(2, 2), fast_pages=2)), 2 * (4 + 3 + 3 + 2)),
        # A page must be written before slice 1 and read after it, 3 * 4 + 7 + 3 + 5 + 2. But extent 0 can be written in
        # vain while slice 0 changes it: through as slice 0 ends, and the lane goes on.
        (tick_step({0: "w"}, {1: "w"}, {0: "r"}, pages=(2, 2), fast_pages=3), 3 * 4 + 3 + 5 + 2),
        # Slice 1 leaves room for one page of extent 0, the other one is read after it: 5 + 2. But if that one leaves too,
        # and is read so that it is through as slice 1 ends, the lane goes on.
        (replace(tick_step({0: "r"}, {1: "w"}, pages=(2, 1), fast_pages=2), ticks=(4, 8)), 4 + 8 + 2),
    ],
)
def test_the_optimum_of_steps_that_can_be_worked_out_by_hand(step: TickStep, ticks: float) -> None:
    assert Schedules(step).least("time").value == ticks


def test_who_does_nothing_in_vain_waits_for_a_drive_that_sleeps() -> None:
    """The last two of the steps above."""
    written = tick_step({0: "w"}, {1: "w"}, {0: "r"}, pages=(2, 2), fast_pages=3)
    read = replace(tick_step({0: "r"}, {1: "w"}, pages=(2, 1), fast_pages=2), ticks=(4, 8))
    least = [Schedules(step, frugal=True).least("time").value for step in (written, read)]
    assert least == [3 * 4 + 7 + 3 + 5 + 2, 4 + 8 + 5 + 2]


def cycles_from(start: int, edges: list[tuple[int, int]]) -> list[list[int]]:
    """Find the simple cycles through `start` and larger nodes."""
    found: list[list[int]] = []
    paths = [[i] for i, (source, _) in enumerate(edges) if source == start]
    while paths:
        path = paths.pop()
        seen = {edges[i][0] for i in path}
        head = edges[path[-1]][1]
        if head == start:
            found.append(path)
        elif head > start and head not in seen:
            paths += [[*path, i] for i, (source, _) in enumerate(edges) if source == head]
    return found


def test_the_least_mean_is_that_of_all_simple_cycles() -> None:
    rng = random.Random(0)
    for _ in range(100):
        edges = [(node, (node + 1) % 6) for node in range(6)]
        edges += [(rng.randrange(6), rng.randrange(6)) for _ in range(8)]
        cost, count = (
            np.array([float(rng.randint(0, 9)) for _ in edges]),
            np.array([rng.randint(0, 1) for _ in edges]),
        )
        count[0] = 1
        means = [
            cost[cycle].sum() / count[cycle].sum()
            for start in range(6)
            for cycle in cycles_from(start, edges)
            if count[cycle].sum()
        ]
        graph = CycleGraph(*np.array(edges).T)
        mean, cycle = graph.least_mean(cost, count)
        assert mean == pytest.approx(min(means))
        assert cost[cycle].sum() == pytest.approx(mean * count[cycle].sum())


@pytest.mark.parametrize("seed", rest_slow(range(400), quick=8))
def test_no_bound_is_above_the_optimum_and_nothing_that_runs_below_it(seed: int) -> None:
    step = random_tick_step(seed)
    try:
        schedules = Schedules(step)
    except TooManyStatesError:
        pytest.skip("its states are too many to look at")
    timeline, machine = step.timeline(), step.machine()
    for objective in OBJECTIVES:
        least = schedules.least(objective).value
        proof = plan(timeline, machine=machine, objective=objective).certificate
        assert proof is not None
        assert proof.measured is not None
        assert proof.bound.value <= least * (1 + ROUNDING), objective
        tried = tried_rivals(timeline, machine=machine, objective=objective)
        needs = {"ours": proof.measured} | {name: need for name, _, need in tried}
        assert {name: need for name, need in needs.items() if need < least * (1 - ROUNDING)} == {}, objective
