"""Searches over many plans: the Pareto front, and the smallest fast memory within a limit."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from tests.support.instances import middle_timeline
from tests.support.machines import narrow_machine
from tests.support.proposals import proposed
from tests.support.thoroughness import rest_slow
from tests.support.traces import tiny_trace

from tmtrain import load_machine
from tmtrain.errors import InfeasibleError, InputError
from tmtrain.lowering import lower
from tmtrain.machine import Machine
from tmtrain.planning import bound_of
from tmtrain.questions.min_fast import (
    Limit,
    energy_limit,
    life_limit,
    min_fast,
    predicted,
    slowdown_limit,
    whole_step_bytes,
)
from tmtrain.questions.pareto import Front, pareto
from tmtrain.reporting.figures.pareto import certified_time
from tmtrain.trace import Trace, example_trace

ROUNDING = 0.01
"""Relative: whole pages, of which these steps have few."""


@pytest.fixture(scope="module", params=rest_slow([1, 0, 2]))
def front(request: pytest.FixtureRequest) -> Front:
    seed: int = request.param
    return pareto(middle_timeline(seed), machine=narrow_machine(seed))


def test_no_point_of_the_front_beats_another_and_each_of_the_rest_is_beaten(front: Front) -> None:
    for one, other in itertools.permutations(front.points, 2):
        assert not one.dominates(other)
    for one in front.dominated:
        nearly = [
            all(a <= b or np.isclose(a, b, rtol=2e-3) for a, b in zip(p.costs, one.costs, strict=True))
            for p in front.points
        ]
        assert any(nearly)


def test_each_point_is_at_or_above_its_bound_and_within_its_budget(front: Front) -> None:
    for point in front.all:
        assert point.value >= point.bound * (1 - ROUNDING)
        assert point.write_budget_bytes is None or point.bytes_out <= point.write_budget_bytes


def test_no_point_lies_where_the_figure_says_that_none_can(front: Front) -> None:
    for point in front.all:
        least = certified_time(front, np.array([point.energy_j * (1 + ROUNDING)]))[0]
        assert point.step_time_s >= least * (1 - ROUNDING)


def _example() -> tuple[Trace, Machine]:
    return example_trace(), load_machine("v4-slc")


def _trace() -> tuple[Trace, Machine]:
    return tiny_trace("gpt2-tiny"), load_machine("v4-slc")


def _meets(trace: Trace, machine: Machine, limit: Limit, fast_bytes: int) -> bool:
    try:
        timeline = lower(trace, machine=machine, fast_bytes=fast_bytes)
    except InfeasibleError:
        return False
    result = proposed(timeline, machine=machine, objective=limit.objective)
    return predicted(result, timeline, limit.objective, machine=machine) <= limit.value


def _limits(trace: Trace, machine: Machine) -> list[Limit]:
    return [
        slowdown_limit(trace, machine=machine, slowdown=2.0),
        energy_limit(trace, machine=machine, text="1.5x"),
        life_limit(trace, machine=machine, life_s=3600.0 * 24 * 365, words="1y"),
    ]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("make", rest_slow([_example, _trace]))
def test_the_answer_is_an_interval_that_holds(make: object, number: int) -> None:
    trace, machine = make()  # pyright: ignore[reportCallIssue]
    limit = _limits(trace, machine)[number]
    least = min_fast(trace, machine=machine, limit=limit)
    assert least.impossible_bytes < least.achieved.fast_bytes
    assert _meets(trace, machine, limit, least.achieved.fast_bytes)
    page = machine.slow.page_bytes
    enough = least.achieved.fast_bytes
    below = [p for p in least.probes if enough - max(0.02 * enough, page) <= p.fast_bytes < enough]
    assert enough <= page or below, "minimal to the tolerance: the next one down was tried"
    assert all(probe.value > limit.value for probe in below)
    for probe in least.probes:
        assert probe.bound <= probe.value * (1 + ROUNDING)
        if probe.fast_bytes <= least.impossible_bytes:
            assert probe.bound > limit.value
    if least.impossible_bytes and least.probes[0].plan is not None:
        timeline = lower(trace, machine=machine, fast_bytes=least.impossible_bytes)
        assert bound_of(timeline, machine=machine, objective=limit.objective).value > limit.value


def test_everything_in_fast_memory_is_always_enough_for_no_slowdown() -> None:
    trace, machine = _trace()
    limit = slowdown_limit(trace, machine=machine, slowdown=1.0)
    assert _meets(trace, machine, limit, whole_step_bytes(trace, machine))


@pytest.mark.parametrize("make", rest_slow([_example, _trace]))
def test_a_judge_that_finds_plans_worse_asks_for_more_memory(
    make: Callable[[], tuple[Trace, Machine]],
) -> None:
    trace, machine = make()
    limit = slowdown_limit(trace, machine=machine, slowdown=2.0)
    easy = min_fast(trace, machine=machine, limit=limit)
    hard = min_fast(
        trace,
        machine=machine,
        limit=limit,
        judge=lambda result, timeline, objective: (
            1.5 * predicted(result, timeline, objective, machine=machine)
        ),
    )
    assert hard.achieved.fast_bytes >= easy.achieved.fast_bytes


def test_a_limit_that_nothing_meets_says_what_comes_closest() -> None:
    trace, machine = _trace()
    limit = energy_limit(trace, machine=machine, text="0.5x")
    with pytest.raises(
        InfeasibleError, match=r"no fast memory is enough for 0\.5 x .* proved by the bound: the least is"
    ):
        min_fast(trace, machine=machine, limit=limit)


@pytest.mark.parametrize("text", ["", "x", "-1", "0x", "many", "inf"])
def test_an_energy_that_is_none_is_refused(text: str) -> None:
    trace, machine = _trace()
    with pytest.raises(InputError, match="is not an energy"):
        energy_limit(trace, machine=machine, text=text)


def test_faster_than_ideal_is_refused() -> None:
    trace, machine = _trace()
    with pytest.raises(InputError, match="at least 1"):
        slowdown_limit(trace, machine=machine, slowdown=0.9)
