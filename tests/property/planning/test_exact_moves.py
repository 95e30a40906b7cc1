"""Keep or move against a programme in continuous time, by another formulation and another solver (`memory_flow`).

Exact for bytes and writes, which no waiting changes, and for every objective where the link is never in the way. Else the
planner's programme is a relaxation. What makes it loose is that it knows a slice as a whole (Note [Relaxations] in
`tmtrain.planning.programme.model`): a page that a slice makes may be written while that slice runs, and pages of one
class of patience take one another's turn. The fewer slices a step has, the more that is: bound / truth is on average 0.97
(energy) and 0.96 (time) in steps of 4 to 8 slices, 0.99 and 0.98 in steps of 16, above 0.99 in steps of 24.
"""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from tests.support.instances import crowded_timeline, layered_timeline, middle_timeline
from tests.support.machines import narrow_machine, toy_machine
from tests.support.memory_flow import flow_of_pages
from tests.support.thoroughness import seeds
from tests.support.timelines import make_timeline

from tmtrain.errors import InfeasibleError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.solve import Limits, Placement, solve

EXACT = 1e-6
"""Relative: what the two solvers leave."""
PROVEN = 5e-4
"""Relative: what the tie-breaks take from the bound that the multipliers prove (Note [Longest gaps])."""
OBJECTIVES = ("energy", "time", "bytes", "writes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What the planner says and what is true."""

    ours: Placement
    truth: float


def compared(
    timeline: Timeline, machine: Machine, objective: str, *, write_budget_bytes: float | None = None
) -> Pair:
    goal = make_objective(objective, timeline=timeline, machine=machine)
    ours = solve(
        build_problem(timeline),
        timeline=timeline,
        machine=machine,
        objective=goal,
        limits=Limits(write_budget_bytes=write_budget_bytes),
    )
    truth = flow_of_pages(timeline, machine=machine, objective=goal, write_budget_bytes=write_budget_bytes)
    return Pair(ours=ours, truth=truth)


def check_is_bound(pair: Pair) -> None:
    slack = EXACT * abs(pair.truth) + 1e-6
    assert pair.ours.optimum <= pair.truth + slack, "the programme must be a relaxation of what can be done"
    assert pair.ours.bound.value <= pair.truth + slack
    assert pair.ours.bound.value >= pair.ours.optimum * (1 - PROVEN) - 1e-2, (
        "the multipliers prove the optimum"
    )


def check_is_exact(pair: Pair) -> None:
    assert pair.ours.optimum == pytest.approx(pair.truth, rel=EXACT, abs=1e-5)
    check_is_bound(pair)


def check_bytes_and_writes(seeds: range, *, page_bytes: int = 8) -> None:
    for seed in seeds:
        timeline = with_pages_of(crowded_timeline(seed), page_bytes)
        objective = ("bytes", "writes")[seed % 2]
        pair = compared(timeline, narrow_machine(seed), objective)
        assert pair.ours.optimum == pytest.approx(pair.truth, rel=EXACT, abs=1e-5 * page_bytes), seed
        assert pair.ours.bound.value == pytest.approx(pair.truth, rel=PROVEN, abs=1e-3 * page_bytes), seed


def with_pages_of(timeline: Timeline, page_bytes: int) -> Timeline:
    return replace(timeline, page_bytes=page_bytes, fast_bytes=timeline.fast_pages * page_bytes)


def test_bytes_and_writes_are_exact() -> None:
    check_bytes_and_writes(seeds(100))


def test_the_size_of_a_page_does_not_matter_to_what_is_proven() -> None:
    """The tie-break is relative to prices: with pages of a real size it must not drown them."""
    check_bytes_and_writes(range(20), page_bytes=4096)


def test_any_objective_is_exact_where_the_link_is_never_in_the_way() -> None:
    for seed in seeds(60):
        timeline, slow = crowded_timeline(seed), narrow_machine(seed)
        machine = toy_machine(
            read_j_per_byte=slow.read_j_per_byte,
            write_j_per_byte=slow.write_j_per_byte,
            static_power_w=30.0,
            read_bytes_per_s=1e9,
            write_bytes_per_s=1e9,
            shared_bytes_per_s=1e9,
        )
        check_is_exact(compared(timeline, machine, ("energy", "time")[seed % 2]))


def tightness(timelines: list[Timeline], *, seed: int) -> dict[str, float]:
    """Return the mean of bound / truth, per objective, over steps in which something moves."""
    ratios_of: dict[str, list[float]] = {"energy": [], "time": []}
    for number, timeline in enumerate(timelines):
        machine = narrow_machine(seed + number)
        for objective, ratios in ratios_of.items():
            pair = compared(timeline, machine, objective)
            check_is_bound(pair)
            ratios.append(pair.ours.bound.value / pair.truth)
    return {name: float(np.mean(ratios)) for name, ratios in ratios_of.items()}


def test_steps_of_a_few_slices_never_beat_the_bound() -> None:
    mean = tightness([crowded_timeline(seed) for seed in seeds(100)], seed=0)
    assert mean["energy"] > 0.96
    assert mean["time"] > 0.94


def test_longer_steps_come_close_to_the_bound() -> None:
    mean = tightness([layered_timeline(seed, layers=6) for seed in range(6)], seed=0)
    assert mean["energy"] > 0.985
    assert mean["time"] > 0.98


def test_a_write_budget_is_exact_too() -> None:
    """Reading is dear and writing is cheap, but no more than a little above the fewest writes there are."""
    dear_to_read = toy_machine(read_j_per_byte=5.0, write_j_per_byte=0.25)
    bound_by_it = 0
    for seed in range(30):
        timeline = middle_timeline(seed, extents=7)
        least = compared(timeline, dear_to_read, "writes").truth
        free = compared(timeline, dear_to_read, "energy")
        budget = least * 1.1 + 1e-3
        tight = compared(timeline, dear_to_read, "energy", write_budget_bytes=budget)
        check_is_exact(free)
        check_is_exact(tight)
        check_is_bound(compared(timeline, narrow_machine(seed), "energy", write_budget_bytes=budget))
        bound_by_it += tight.truth > free.truth * (1 + 1e-6) + 1e-6
    assert bound_by_it >= 3, "no instance in which the budget costs anything"


def test_a_write_budget_below_the_least_is_refused() -> None:
    timeline = make_timeline(
        ["a:new", "b:new", "a:r b:r"], pages={"a": 2, "b": 2}, fast_pages=4, page_bytes=8
    )
    tight = replace(timeline, fast_bytes=4 * 8)
    timeline = make_timeline(["a:new", "b:new", "a:r"], pages={"a": 2, "b": 4}, fast_pages=4, page_bytes=8)
    compared(tight, toy_machine(), "bytes", write_budget_bytes=0.0)
    compared(timeline, toy_machine(), "bytes", write_budget_bytes=16.0)
    with pytest.raises(InfeasibleError, match="write budget of 15 B"):
        compared(timeline, toy_machine(), "bytes", write_budget_bytes=15.0)


def test_content_of_a_slice_that_fills_the_memory_may_be_written_after_it() -> None:
    """Slice 0 makes 10 pages, which is all there is; they leave during slice 1, which lasts long enough: no waiting."""
    timeline = make_timeline(
        ["a:new", "", "b:new", "a:r"],
        pages={"a": 10, "b": 10},
        fast_pages=10,
        duration_s=[0.5, 100, 100, 0.5],
    )
    machine = toy_machine(write_bytes_per_s=4096.0, read_bytes_per_s=1e12, shared_bytes_per_s=2e12)
    pair = compared(timeline, machine, "time")
    assert pair.ours.optimum == pytest.approx(201)
    check_is_bound(pair)


@pytest.mark.slow
def test_thousands_of_steps() -> None:
    for seed in range(1000, 3000):
        timeline, machine = crowded_timeline(seed), narrow_machine(seed)
        for objective in OBJECTIVES:
            pair = compared(timeline, machine, objective)
            check_is_bound(pair)
            if objective in {"bytes", "writes"}:
                assert pair.ours.optimum == pytest.approx(pair.truth, rel=EXACT, abs=1e-5), (seed, objective)


@pytest.mark.slow
def test_hundreds_of_longer_steps() -> None:
    tightness([layered_timeline(seed, layers=10) for seed in range(100, 200)], seed=0)
