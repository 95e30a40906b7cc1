"""The certificate: a bound whoever found the prices, computed from the problem and never from a plan."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.formulations import dense_optimum
from tests.support.instances import crowded_timeline, middle_timeline, tiny_timelines
from tests.support.machines import narrow_machine

from tmtrain.lower.timeline import Timeline
from tmtrain.plan.certificate import lower_bound
from tmtrain.plan.objective import make_objective
from tmtrain.plan.planner import certify, lower_bound_of, make_plan, plan
from tmtrain.plan.problem import build_problem
from tmtrain.plan.solve import Prices, solve

objectives = st.sampled_from(["energy", "time", "bytes", "writes"])
seeds = st.integers(0, 2**32 - 1)


def random_prices(slices: int, seed: int, *, scale: float) -> Prices:
    rng = np.random.default_rng(seed)
    capacity = rng.exponential(scale, slices) * (rng.random(slices) < rng.random())
    read, write, shared = rng.exponential(scale, 3) * (rng.random(3) < rng.random())
    return Prices(capacity=capacity, read=read, write=write, shared=shared)


@settings(max_examples=200, deadline=None)
@given(timeline=tiny_timelines(), seed=seeds, objective=objectives, scale=st.sampled_from([0.1, 1.0, 30.0]))
def test_any_prices_give_a_bound(timeline: Timeline, seed: int, objective: str, scale: float) -> None:
    machine = narrow_machine(seed)
    goal = make_objective(objective, timeline=timeline, machine=machine)
    prices = random_prices(len(timeline.slices), seed, scale=scale)
    bound = lower_bound(build_problem(timeline), prices, timeline=timeline, machine=machine, objective=goal)
    truth = dense_optimum(timeline, machine=machine, objective=goal)
    assert bound <= truth + 1e-6 * abs(truth) + 1e-6


@settings(max_examples=25, deadline=None)
@given(seed=seeds)
def test_the_best_prices_of_another_objective_give_a_bound(seed: int) -> None:
    """Shrewder than random ones: every price in its place, but too high, too low, or in another unit."""
    timeline, machine = crowded_timeline(seed), narrow_machine(seed)
    problem = build_problem(timeline)
    names = ("energy", "time", "bytes", "writes")
    goals = [make_objective(name, timeline=timeline, machine=machine) for name in names]
    truths = [dense_optimum(timeline, machine=machine, objective=goal) for goal in goals]
    for foreign in goals:
        best = solve(problem, timeline=timeline, machine=machine, objective=foreign).prices
        for factor in (0.3, 1.0, 3.0):
            prices = scaled(best, factor)
            for goal, truth in zip(goals, truths, strict=True):
                bound = lower_bound(problem, prices, timeline=timeline, machine=machine, objective=goal)
                assert bound <= truth + 1e-6 * abs(truth) + 1e-6


def scaled(prices: Prices, factor: float) -> Prices:
    return Prices(
        capacity=prices.capacity * factor,
        read=prices.read * factor,
        write=prices.write * factor,
        shared=prices.shared * factor,
    )


def test_a_bound_is_worth_something() -> None:
    """Random prices reach a part of the optimum, the solver's reach all of it."""
    timeline, machine = middle_timeline(5), narrow_machine(5)
    goal = make_objective("bytes", timeline=timeline, machine=machine)
    problem = build_problem(timeline)
    best = solve(problem, timeline=timeline, machine=machine, objective=goal)
    bounds = [
        lower_bound(
            problem, replace(best.prices, capacity=best.prices.capacity * share),
            timeline=timeline, machine=machine, objective=goal,
        )
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]  # fmt: skip
    assert bounds[0] == 0.0
    assert bounds == sorted(bounds), "prices nearer to the best ones bound tighter"
    assert bounds[2] >= 0.5 * bounds[4], "a bound is concave in its prices"
    assert bounds[4] == pytest.approx(best.optimum, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(timeline=tiny_timelines(), seed=seeds, objective=objectives)
def test_a_plan_is_never_better_than_its_bound(timeline: Timeline, seed: int, objective: str) -> None:
    proof = plan(timeline, machine=narrow_machine(seed), objective=objective).certificate
    assert proof is not None
    assert proof.bound <= proof.value * (1 + 1e-9) + 1e-9


@settings(max_examples=30, deadline=None)
@given(seed=seeds, objective=objectives)
def test_middle_plans_are_close_to_their_bound(seed: int, objective: str) -> None:
    """Rounding costs at most a page per gap; here far less, because few gaps are split."""
    timeline, machine = middle_timeline(seed), narrow_machine(seed)
    proof = plan(timeline, machine=machine, objective=objective).certificate
    assert proof is not None
    assert proof.bound <= proof.value * (1 + 1e-9)
    assert proof.gap < 0.05


def test_the_bound_does_not_look_at_the_plan() -> None:
    timeline, machine = middle_timeline(3), narrow_machine(3)
    goal = make_objective("energy", timeline=timeline, machine=machine)
    problem = build_problem(timeline)
    best = solve(problem, timeline=timeline, machine=machine, objective=goal)
    everything = make_plan(
        problem, problem.gaps.pages, timeline=timeline, machine=machine, objective="energy"
    )
    proof = certify(
        problem, best.prices, everything.prediction, timeline=timeline, machine=machine, objective=goal
    )
    assert proof.value > 1.1 * best.optimum, "the worst plan there is"
    assert proof.bound == lower_bound_of(timeline, machine=machine, objective="energy")
    assert proof.bound == pytest.approx(best.optimum, rel=1e-4)
