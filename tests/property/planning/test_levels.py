"""Note [Levels]: solved coarse to fine, a programme has the optimum and the proof of one solved at once."""

from itertools import pairwise

import numpy as np
import pytest
from tests.support.instances import middle_timeline
from tests.support.machines import narrow_machine
from tests.support.proposals import proposed
from tests.support.row_steps import lowered, random_step, row_machine, trace_of
from tests.support.thoroughness import seeds

from tmtrain.checking import check_plan
from tmtrain.errors import InfeasibleError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.highs import BASIC, TimeLimit
from tmtrain.planning.programme.levels import grid
from tmtrain.planning.programme.levels.climb import climb
from tmtrain.planning.programme.levels.grid import Grid, make_grid
from tmtrain.planning.programme.levels.refining import refine
from tmtrain.planning.programme.levels.stage import Stage
from tmtrain.planning.programme.levels.whole import Whole
from tmtrain.planning.programme.model import Model, build_model
from tmtrain.planning.recomputation.partitions import find_partitions

OBJECTIVES = ("energy", "time", "bytes", "writes", "energy:1,time:1")


def model_of(seed: int, *, write_budget_bytes: float | None = None) -> Model:
    """Half of them can recompute."""
    timeline, machine = (recomputable if seed % 2 else crowded)(seed)
    problem = build_problem(timeline)
    candidates = find_partitions(timeline, problem)[0].candidates
    return build_model(
        problem,
        timeline=timeline,
        machine=machine,
        objective=make_objective(OBJECTIVES[seed % len(OBJECTIVES)], timeline=timeline, machine=machine),
        candidates=candidates,
        write_budget_bytes=write_budget_bytes,
    )


def crowded(seed: int) -> tuple[Timeline, Machine]:
    return middle_timeline(seed), narrow_machine(seed)


def recomputable(seed: int) -> tuple[Timeline, Machine]:
    step, machine = random_step(seed), row_machine(seed=seed, pages_per_s=(0.3, 1.0, 4.0)[seed % 3])
    spare = seed % (1 + step.most_touched() // 2)
    return lowered(step, machine=machine, spare_pages=spare, slice_share=0.26), machine


def levels_of(model: Model, *steps: int) -> tuple[Grid, ...]:
    return tuple(make_grid(len(model.edges) - 1, step=step) for step in steps)


@pytest.mark.parametrize("steps", [(1,), (3, 1), (16, 4, 1)], ids=str)
@pytest.mark.parametrize("seed", seeds(60))
def test_levels_change_neither_the_optimum_nor_what_is_proved(seed: int, steps: tuple[int, ...]) -> None:
    model = model_of(seed)
    programme = model.programme
    at_once, solution = programme.solve(), climb(model, grids=levels_of(model, *steps))
    tolerance = {"rel": 1e-7, "abs": 1e-7 * float(np.abs(programme.cost).max())}
    # The nudges may tip the one or the other to a vertex dearer by a share of themselves.
    nudged = float((programme.cost + programme.nudge) @ solution.x) + programme.constant
    assert nudged == pytest.approx(
        float((programme.cost + programme.nudge) @ at_once.x) + programme.constant, **tolerance
    )
    assert programme.bound(solution.y) >= programme.bound(at_once.y) - tolerance["abs"]
    assert programme.bound(solution.y) <= solution.value + tolerance["abs"]
    assert breach(model, solution.x) < 1e-5


def breach(model: Model, x: np.ndarray) -> float:
    programme = model.programme
    (row_lower, row_upper), (lower, upper) = programme.row_bounds, programme.column_bounds
    rows = programme.matrix() @ x
    return max(float(part.max()) for part in (row_lower - rows, rows - row_upper, lower - x, x - upper))


@pytest.mark.parametrize("seed", seeds(40))
def test_each_level_is_a_relaxation_and_hands_on_a_basis_of_the_next(seed: int) -> None:
    model = model_of(seed)
    whole, levels = Whole(model), levels_of(model, 9, 3, 1)
    cost = whole.cost
    values, stages = [], []
    for level in levels:
        stage = Stage(whole, level, slices=stages[-1].late_slices if stages else [], limit=TimeLimit())
        stage.solve()
        stages.append(stage)
        values.append(float(cost @ stage.x))
    slack = 1e-6 * max(1.0, float(np.abs(cost).max()), *np.abs(values))
    assert all(one <= next_one + slack for one, next_one in pairwise(values))
    for (coarse, fine), stage in zip(pairwise(levels), stages, strict=False):
        basis = refine(stage.basis, whole, coarse=coarse, fine=fine)
        present = basis.rows >= 0
        assert (basis.columns == BASIC).sum() + (basis.rows == BASIC).sum() == present.sum()


@pytest.mark.parametrize("seed", seeds(30))
def test_of_equal_solutions_the_one_of_least_second_cost_is_taken(seed: int) -> None:
    model = model_of(seed)
    programme = model.programme
    then = np.zeros(programme.num_columns)
    then[programme.columns["stall"]] = 1.0
    plain, settled = climb(model), climb(model, then=then, grids=levels_of(model, 4, 1))
    at_once = climb(model, then=then, grids=levels_of(model, 1))
    paid = float(programme.cost @ plain.x)
    assert programme.cost @ settled.x <= paid + 1e-6 * max(abs(paid), float(np.abs(programme.cost).max()))
    assert then @ settled.x <= then @ plain.x + 1e-5
    assert then @ settled.x == pytest.approx(then @ at_once.x, rel=1e-5, abs=1e-5)
    assert breach(model, settled.x) < 1e-5


def test_what_no_plan_keeps_is_refused_at_the_first_level() -> None:
    model = model_of(0, write_budget_bytes=0.0)
    with pytest.raises(InfeasibleError):
        climb(model, grids=levels_of(model, 4, 1))


@pytest.mark.parametrize("seed", seeds(30))
def test_the_checker_proves_the_same_bound_of_a_plan_from_several_levels(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grid, "SHORTENING", 3)
    step, machine = random_step(seed), row_machine(seed=seed, pages_per_s=(0.3, 1.0, 4.0)[seed % 3])
    timeline = lowered(step, machine=machine, spare_pages=seed % 4)
    result = proposed(timeline, machine=machine, objective=OBJECTIVES[seed % len(OBJECTIVES)])
    report = check_plan(trace_of(step), result, machine=machine, slice_share=1.0)
    assert report.ok, report.violations
    assert report.bound == pytest.approx(report.stored_bound, rel=1e-9, abs=1e-9)
