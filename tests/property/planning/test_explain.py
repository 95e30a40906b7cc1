"""The prices of fates: by complementary slackness an optimal plan has no fate that is dearer than another."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pytest
from tests.support.instances import middle_timeline
from tests.support.machines import narrow_machine
from tests.support.proposals import proposed
from tests.support.row_steps import lowered, random_step, row_machine

from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.recomputation import positions_of_slices
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.model import build_model
from tmtrain.planning.programme.solve import bound_of
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.partitions import find_partitions
from tmtrain.questions.alternatives import Alternatives, Costs
from tmtrain.questions.fates import find_fates

USED = 1e-5
"""A share above it is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """Shares of the fates of one piece in the optimum, and their costs."""

    shares: dict[str, float]
    costs: Costs


def _step(seed: int) -> tuple[Timeline, Machine]:
    rng = random.Random(seed)
    step = random_step(seed)
    machine = row_machine(seed=seed, pages_per_s=rng.choice((0.3, 1.0, 4.0)))
    return lowered(step, machine=machine, spare_pages=rng.randint(0, step.most_touched() // 2)), machine


def _priced(timeline: Timeline, machine: Machine, objective: str, *, recompute: bool) -> Iterator[Priced]:
    problem = build_problem(timeline)
    candidates = find_partitions(timeline, problem)[0].candidates if recompute else RecomputeCandidates()
    goal = make_objective(objective, timeline=timeline, machine=machine)
    model = build_model(problem, timeline=timeline, machine=machine, objective=goal, candidates=candidates)
    solution = model.programme.solve()
    prices = Alternatives(
        problem,
        timeline=timeline,
        machine=machine,
        objective=goal,
        candidates=candidates,
        bound=bound_of(model, solution.y),
    )
    x, columns = solution.x, model.programme.columns
    for gap, moved in zip(model.gaps.tolist(), x[columns["moved"]].tolist(), strict=True):
        share = moved * model.page_unit / int(problem.gaps.pages[gap])
        yield Priced(shares={"move": share, "keep": 1 - share}, costs=prices.of_gap(gap))
    recomputed, column = x[columns["recomputed"]], columns["there"].start
    maker: dict[int, int] = {result.unit: result.recomputation for result in candidates.results}
    for number, unit in enumerate(candidates.units):
        stays = float(x[column]) * model.page_unit / unit.pages
        recompute = float(recomputed[maker[number]]) if number in maker else 0.0
        column += 1 + len(unit.points)
        yield Priced(
            shares={"move": 1 - stays, "keep": stays - recompute, "recompute": recompute},
            costs=prices.of_unit(number),
        )


def _check(timeline: Timeline, machine: Machine, objective: str, *, recompute: bool) -> set[str]:
    goal = make_objective(objective, timeline=timeline, machine=machine)
    page = timeline.page_bytes
    second = page / min(machine.read_bytes_per_s, machine.write_bytes_per_s)
    scale = (goal.per_byte_in + goal.per_byte_out) * page + goal.per_second * second
    used: set[str] = set()
    for piece in _priced(timeline, machine, objective, recompute=recompute):
        least = piece.costs.total(piece.costs.cheapest)
        for fate, share in piece.shares.items():
            if share > USED:
                used.add(fate)
                assert piece.costs.total(fate) <= least + 1e-3 * scale, (fate, piece)
    return used


@pytest.mark.parametrize("objective", ["energy", "time", "energy:1,time:1"])
def test_no_fate_of_an_optimal_plan_is_dearer_than_another(objective: str) -> None:
    used: set[str] = set()
    for seed in range(12):
        timeline, machine = _step(seed)
        used |= _check(timeline, machine, objective, recompute=True)
    assert used >= {"keep", "recompute" if objective == "energy" else "move"}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("objective", ["energy", "bytes", "writes"])
def test_the_same_without_recomputation(objective: str, seed: int) -> None:
    _check(middle_timeline(seed), narrow_machine(seed), objective, recompute=False)


@pytest.mark.parametrize("seed", range(12))
def test_the_fates_of_a_plan_free_what_each_slice_lacks(seed: int) -> None:
    """What is moved or recomputed is away somewhere in its gap; all of it together is more than any slice lacks."""
    timeline, machine = _step(seed)
    result, problem = proposed(timeline, machine=machine), build_problem(timeline)
    fates = find_fates(result, timeline, problem, machine=machine)
    assert (fates.kept >= 0).all()
    assert (fates.kept + fates.moved + fates.recomputed == problem.gaps.pages).all()
    assert (problem.absent_pages(fates.moved + fates.recomputed) >= problem.over_pages).all()
    assert (
        bool(fates.recomputed.any()) == bool(len(result.recomputations))
        or not result.recomputations.rows.any()
    )


@pytest.mark.parametrize("seed", range(12))
def test_the_slices_of_the_step_are_found_again_among_recomputations(seed: int) -> None:
    timeline, machine = _step(seed)
    result = proposed(timeline, machine=machine)
    longer_step = insert_recomputations(timeline, result.recomputations, machine=machine)
    positions = positions_of_slices(longer_step, of=timeline)
    assert len(positions) == len(timeline.slices)
    assert np.array_equal(longer_step.slices.op[positions], timeline.slices.op)
    assert np.array_equal(longer_step.slices.phase[positions], timeline.slices.phase)
