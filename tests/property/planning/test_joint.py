"""Whole plans with recomputation on the engine: never below the bound, within the memory, no worse for more freedom."""

import random
from dataclasses import replace

import numpy as np
import pytest
from tests.support.execution import execute
from tests.support.gaps import lacking, walk_gaps
from tests.support.proposals import proposed
from tests.support.row_steps import RowStep, lowered, random_step, row_machine
from tests.support.simulated import BASIC_POLICIES
from tests.support.thoroughness import seeds

from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import bound_of
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.solve import Placement, solve
from tmtrain.planning.recomputation.partitions import find_partitions
from tmtrain.plans import Plan
from tmtrain.policies import make_policy
from tmtrain.simulation import simulate

OBJECTIVES = ("bytes", "writes", "time", "energy")
SLACK = 1e-4
"""Relative: the tie-break."""


def make_step(seed: int, *, pages_per_s: float | None = None) -> tuple[RowStep, Timeline, Machine]:
    """A random step on a random link, operators whole or cut."""
    rng = random.Random(seed)
    step = random_step(seed)
    rate = rng.choice((0.3, 1.0, 4.0)) if pages_per_s is None else pages_per_s
    machine = row_machine(seed=seed, pages_per_s=rate)
    share = 0.26 if step.rows != 3 and rng.random() < 0.5 else 1.0
    spare = rng.randint(0, step.most_touched() // 2)
    return step, lowered(step, machine=machine, spare_pages=spare, slice_share=share), machine


def check_policies(seed: int) -> int:
    """Simulate every policy for every objective; return how many recomputations the plans for energy had."""
    _, timeline, machine = make_step(seed)
    bounds = {
        (name, recompute): bound_of(timeline, machine=machine, objective=name, recompute=recompute).value
        for name in OBJECTIVES
        for recompute in (False, True)
    }
    recomputations = 0
    for policy in BASIC_POLICIES:
        if policy == "all-fast":
            continue
        for objective in OBJECTIVES if policy.startswith("tmtrain") else ("energy",):
            decision = make_policy(policy, objective=objective).decide(timeline, machine=machine)
            recomputations += len(decision.plan.recomputations) if decision.plan is not None else 0
            result = simulate(decision, machine=machine, policy=policy)
            got = {
                "bytes": result.traffic_bytes,
                "writes": result.bytes_out,
                "time": result.step_time_s,
                "energy": result.energy_j,
            }
            for name, value in got.items():
                bound = bounds[name, policy == "tmtrain"]
                assert value >= bound * (1 - 1e-6) - 1e-6, (seed, policy, objective, name)
    return recomputations


def test_no_policy_goes_below_the_bound_of_its_class() -> None:
    tried = seeds(40)
    assert sum(check_policies(seed) > 0 for seed in tried) > len(tried) / 4


@pytest.mark.slow
def test_no_policy_goes_below_the_bound_of_its_class_in_thousands_of_steps() -> None:
    for seed in range(1000, 3000):
        check_policies(seed)


def optimum(timeline: Timeline, machine: Machine, objective: str, *, recompute: bool) -> Placement:
    goal, problem = make_objective(objective, timeline=timeline, machine=machine), build_problem(timeline)
    candidates = find_partitions(timeline, problem)[0].candidates if recompute else None
    return solve(problem, timeline=timeline, machine=machine, objective=goal, candidates=candidates)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_another_freedom_and_another_page_cost_nothing(objective: str) -> None:
    """Joint optimum <= move-only optimum; more fast memory <= less, with the same slices, blocks and no power for it."""
    for seed in seeds(40):
        _, timeline, machine = make_step(seed)
        move = optimum(timeline, machine, objective, recompute=False).optimum
        joint = optimum(timeline, machine, objective, recompute=True).optimum
        assert joint <= move + SLACK * abs(move) + 1.0 * (objective in {"bytes", "writes"}) + 1e-6, seed
        roomier = replace(timeline, fast_bytes=timeline.fast_bytes + timeline.page_bytes)
        less = optimum(roomier, machine, objective, recompute=False).optimum
        assert less <= move + SLACK * abs(move) + 1.0 * (objective in {"bytes", "writes"}) + 1e-6, seed


def check_plan(step: RowStep, timeline: Timeline, machine: Machine, ours: Plan) -> None:
    """Pieces follow one another, the memory holds at every slice, and the numbers are those of the step."""
    longer_step = insert_recomputations(timeline, ours.recomputations, machine=machine)
    T, moves, gaps = len(longer_step.slices), ours.transfers, walk_gaps(longer_step)
    pages = lacking(longer_step, gaps) + longer_step.fast_pages
    by_start = {(gap.extent, gap.start): gap for gap in gaps}
    reached: dict[tuple[int, int], int] = {}
    order = np.lexsort((moves.first_page, moves.leave_slice, moves.extent))
    for i in order.tolist():
        leave, fetch, back = int(moves.leave_slice[i]), int(moves.fetch_slice[i]), int(moves.return_slice[i])
        key = int(moves.extent[i]), (leave - 1) % T
        assert int(moves.write_slice[i]) <= leave <= fetch <= back
        assert back % T == by_start[key].end
        assert int(moves.first_page[i]) == reached.get(key, 0), "the front leaves, piece behind piece"
        reached[key] = reached.get(key, 0) + int(moves.pages[i])
        assert reached[key] <= by_start[key].pages
        for t in range(leave, fetch):
            pages[t % T] -= int(moves.pages[i])
    assert (pages <= longer_step.fast_pages).all()
    before, after = execute(step, timeline), execute(step, longer_step)
    for name, values in before.gradients.items():
        np.testing.assert_array_equal(after.gradients[name], values)


def test_every_plan_holds_the_memory_and_computes_the_same() -> None:
    recomputed = 0
    for seed in seeds(150):
        step, timeline, machine = make_step(seed)
        ours = proposed(timeline, machine=machine, objective=OBJECTIVES[seed % 4])
        check_plan(step, timeline, machine, ours)
        recomputed += len(ours.recomputations) > 0
    assert recomputed > len(seeds(150)) / 5


def test_a_plan_with_recomputations_is_close_to_its_bound() -> None:
    """Rows and pages are coarse here (2 to 4 rows), so rounding shows; the mean says that it is right on the whole."""
    gaps = []
    for seed in range(60):
        _, timeline, machine = make_step(seed)
        proof = proposed(timeline, machine=machine).certificate
        assert proof is not None
        gaps.append(proof.predicted / proof.bound.value - 1)
    assert np.mean(gaps) < 0.08
    assert np.median(gaps) < 0.03


def test_a_plan_with_the_blocks_of_a_certificate_is_the_same_plan_and_with_others_another() -> None:
    others = 0
    for seed in range(8):
        _, timeline, machine = make_step(seed)
        free = proposed(timeline, machine=machine, objective="energy")
        assert free.certificate is not None
        repeated = proposed(timeline, machine=machine, objective="energy", cuts=free.certificate.cuts)
        assert repeated.certificate is not None
        assert repeated.certificate.bound.value == free.certificate.bound.value
        assert repeated.certificate.cuts.tolist() == free.certificate.cuts.tolist()
        assert repeated.prediction.bytes_in == free.prediction.bytes_in
        one_block = free.certificate.cuts[[0, -1]]
        coarse = proposed(timeline, machine=machine, objective="energy", cuts=one_block)
        assert coarse.certificate is not None
        assert coarse.certificate.cuts.tolist() == one_block.tolist()
        others += len(free.certificate.cuts) > 2
    assert others > 0
