"""The certificate: a bound whoever found the multipliers, computed from the programme and never from a plan."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.instances import crowded_timeline, middle_timeline, tiny_timelines
from tests.support.machines import narrow_machine
from tests.support.memory_flow import flow_of_pages
from tests.support.proposals import proposed
from tests.support.thoroughness import examples

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning import bound_of
from tmtrain.planning.placing.prediction import make_plan
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.programme.certificate import certify
from tmtrain.planning.programme.model import Model, build_model
from tmtrain.planning.programme.solve import bound_of as proven_by
from tmtrain.planning.programme.solve import solve

OBJECTIVES = ("energy", "time", "bytes", "writes")
objectives = st.sampled_from(OBJECTIVES)
seeds = st.integers(0, 2**32 - 1)


def model_of(timeline: Timeline, machine: Machine, objective: str) -> Model:
    goal = make_objective(objective, timeline=timeline, machine=machine)
    return build_model(build_problem(timeline), timeline=timeline, machine=machine, objective=goal)


def truth_of(timeline: Timeline, machine: Machine, objective: str) -> float:
    goal = make_objective(objective, timeline=timeline, machine=machine)
    return flow_of_pages(timeline, machine=machine, objective=goal)


def never_above(bound: float, truth: float) -> None:
    assert bound <= truth + 1e-6 * abs(truth) + 1e-5


def random_multipliers(rows: int, seed: int, *, scale: float) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, scale, rows) * (rng.random(rows) < rng.random())


@examples(150)
@given(
    timeline=tiny_timelines(), seed=seeds, objective=objectives, scale=st.sampled_from([0.01, 0.1, 1.0, 30.0])
)
def test_any_multipliers_give_a_bound(timeline: Timeline, seed: int, objective: str, scale: float) -> None:
    machine = narrow_machine(seed)
    model = model_of(timeline, machine, objective)
    y = random_multipliers(model.programme.num_rows, seed, scale=scale)
    truth = truth_of(timeline, machine, objective)
    never_above(proven_by(model, y).value, truth)
    best = model.programme.solve().y
    for noise in (0.01, 0.3):
        never_above(proven_by(model, best + noise * np.abs(best).max(initial=0.0) * y).value, truth)


@examples(15)
@given(seed=seeds)
def test_the_best_multipliers_of_another_objective_give_a_bound(seed: int) -> None:
    """Shrewder than random ones: every price in its place, but too high, too low, or in another unit."""
    timeline, machine = crowded_timeline(seed), narrow_machine(seed)
    models = [model_of(timeline, machine, name) for name in OBJECTIVES]
    truths = [truth_of(timeline, machine, name) for name in OBJECTIVES]
    for foreign in models:
        best = foreign.programme.solve().y
        for factor in (0.3, 1.0, 3.0):
            for model, truth in zip(models, truths, strict=True):
                never_above(proven_by(model, factor * best).value, truth)


def test_a_bound_is_worth_something() -> None:
    """The solver's multipliers reach the optimum; what is nearer to them bounds tighter."""
    timeline, machine = middle_timeline(5), narrow_machine(5)
    model = model_of(timeline, machine, "bytes")
    best = model.programme.solve()
    bounds = [model.programme.bound(best.y * share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert bounds[0] == 0.0
    assert bounds == sorted(bounds)
    assert bounds[2] >= 0.5 * bounds[4], "a bound is concave in its multipliers"
    assert bounds[4] == pytest.approx(best.value, rel=1e-3)


@examples(60)
@given(timeline=tiny_timelines(), seed=seeds, objective=objectives)
def test_a_plan_moves_no_less_than_its_bound_says(timeline: Timeline, seed: int, objective: str) -> None:
    machine = narrow_machine(seed)
    ours = proposed(timeline, machine=machine, objective=objective)
    bounds = {name: bound_of(timeline, machine=machine, objective=name).value for name in ("bytes", "writes")}
    assert ours.prediction.bytes_in + ours.prediction.bytes_out >= bounds["bytes"] - 1e-6
    assert ours.prediction.bytes_out >= bounds["writes"] - 1e-6


@examples(30)
@given(seed=seeds, objective=objectives)
def test_middle_plans_are_close_to_their_bound(seed: int, objective: str) -> None:
    """Rounding costs at most a page per gap; here far less, because few gaps are split. Of 30 pages, 3 may be that."""
    timeline, machine = middle_timeline(seed), narrow_machine(seed)
    proof = proposed(timeline, machine=machine, objective=objective).certificate
    assert proof is not None
    bound, page = proof.bound.value, timeline.page_bytes if objective in {"bytes", "writes"} else 0
    assert bound * (1 - 1e-9) <= proof.predicted <= 1.05 * bound + 3 * page


def test_the_bound_does_not_look_at_the_plan() -> None:
    timeline, machine = middle_timeline(3), narrow_machine(3)
    goal = make_objective("energy", timeline=timeline, machine=machine)
    problem = build_problem(timeline)
    best = solve(problem, timeline=timeline, machine=machine, objective=goal)
    everything = make_plan(
        problem, problem.gaps.pages, timeline=timeline, machine=machine, objective="energy"
    )
    proof = certify(best.bound, everything.prediction, objective=goal)
    assert proof.predicted > 1.1 * best.optimum, "the worst plan there is"
    assert proof.bound.value == bound_of(timeline, machine=machine, objective="energy", recompute=False).value
    assert proof.bound.value == pytest.approx(best.optimum, rel=1e-4)


@examples(40)
@given(seed=seeds)
def test_a_page_more_saves_no_more_than_its_price_says(seed: int) -> None:
    """`capacity_price` adds up to what a further page of fast memory would save, or more: the optimum is convex in it."""
    timeline, machine = crowded_timeline(seed, unit=6), narrow_machine(seed)
    goal = make_objective("energy", timeline=timeline, machine=machine)
    model = build_model(build_problem(timeline), timeline=timeline, machine=machine, objective=goal)
    now = model.programme.solve()
    price = proven_by(model, now.y).capacity_price
    assert (price >= 0).all()
    roomier = np.array(timeline.fast_pages + 1)
    problem = build_problem(with_room(timeline, int(roomier)))
    # Same prices of seconds and bytes: only the room differs (background power would charge for it).
    then = build_model(problem, timeline=timeline, machine=machine, objective=goal).programme.solve()
    assert now.value - then.value <= price.sum() + 1e-4 * abs(now.value) + 1e-6


def with_room(timeline: Timeline, pages: int) -> Timeline:
    from dataclasses import replace

    return replace(timeline, fast_bytes=pages * timeline.page_bytes)
