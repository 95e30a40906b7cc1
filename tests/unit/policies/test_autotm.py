"""AutoTM's programmes: the optimum of whole tensors by enumeration, and steps small enough for paper."""

from itertools import product
from unittest.mock import patch

import numpy as np
import pytest
from tests.support.instances import layered_timeline
from tests.support.simulated import SteadyStep, decided, in_pages, pages_per_second, steady_step, step

from tmtrain.errors import PolicyError, TimeLimitError
from tmtrain.planning.placing.prediction import predict
from tmtrain.planning.programme.programme import Programme
from tmtrain.policies.planners import autotm
from tmtrain.policies.planners.autotm import AutoTmAsync, AutoTmChoice
from tmtrain.policies.shared import placement
from tmtrain.policies.shared.placement import add_placement, solve_placement
from tmtrain.policies.shared.tensors import Tensors, find_tensors
from tmtrain.simulation import simulate

MACHINE = pages_per_second()

A_LARGE_OR_A_SMALL_TENSOR = step(
    ["a:r b:r", "t:new", "t:r", "", "a:r b:r"], pages={"a": 3, "b": 1, "t": 1}, fast_pages=4, frees={2: "t"}
)
"""While t lives, in slices 1 and 2, one page too many is there."""


def _cost(tensors: Tensors, chosen: np.ndarray) -> float:
    """Pages in, and twice the pages out."""
    prediction = predict(
        tensors.problem, tensors.moved_pages(chosen), timeline=tensors.timeline, machine=tensors.machine
    )
    return (prediction.bytes_in + 2 * prediction.bytes_out) / tensors.timeline.page_bytes


def test_no_choice_of_whole_tensors_moves_less() -> None:
    """Every choice that fits is enumerated; writing costs twice what reading costs, and once per content."""
    seen = 0
    for seed in range(60):
        timeline = layered_timeline(seed, layers=2)
        tensors = find_tensors(timeline, machine=MACHINE)
        count = len(tensors.periods)
        if not 2 <= count <= 10:
            continue
        programme = Programme()
        placed = add_placement(programme, tensors, read_cost=1.0, write_cost=2.0)
        with patch.object(placement, "GAP", 0.0):
            chosen = solve_placement(programme, placed.moved, name="test")[placed.moved] > 0.5
        fitting = [
            _cost(tensors, np.array(choice, bool))
            for choice in product((False, True), repeat=count)
            if (tensors.room(np.array(choice, bool)) >= 0).all()
        ]
        assert (tensors.room(chosen) >= 0).all(), seed
        assert _cost(tensors, chosen) == min(fitting), seed
        seen += min(fitting) > 0
    assert seen > 10


def test_synchronous_moves_are_as_few_as_can_be_and_come_right_before_the_use() -> None:
    # Without b, for one page, the step fits. It is fetched when slice 4 asks for it: 1 s.
    assert steady_step("autotm-sync", A_LARGE_OR_A_SMALL_TENSOR, MACHINE) == SteadyStep(
        pages_in=1, pages_out=0, step_s=6, stall_s=1
    )


def test_asynchronous_moves_run_beside_kernels() -> None:
    # Beside slice 3, one node before its use, b is fetched for nothing.
    assert steady_step("autotm-async", A_LARGE_OR_A_SMALL_TENSOR, MACHINE) == SteadyStep(
        pages_in=1, pages_out=0, step_s=5, stall_s=0
    )


def test_an_asynchronous_move_needs_room_beside_the_kernel() -> None:
    # a (1 page) gives way to t and u in slices 1 and 2; one node before its use there is no room, so it comes at its use.
    timeline = step(
        ["a:r", "t:new", "u:new", "a:r"], pages={"a": 1, "t": 1, "u": 1}, fast_pages=1, frees={1: "t", 2: "u"}
    )
    plan = decided("autotm-async", timeline, MACHINE).plan
    assert plan is not None
    assert plan.transfers.fetch_slice.tolist() == plan.transfers.return_slice.tolist() == [3]
    assert steady_step("autotm-async", timeline, MACHINE) == SteadyStep(
        pages_in=1, pages_out=0, step_s=5, stall_s=1
    )


def test_an_asynchronous_move_goes_where_it_costs_least() -> None:
    # a is 4 pages, 4 s of transfer. Slice 4, 1 node before its use, lasts 1 s; slice 3, 2 nodes before, lasts 5 s.
    timeline = step(
        ["a:r", "t:new", "", "", "", "a:r"],
        pages={"a": 4, "t": 4},
        fast_pages=4,
        frees={1: "t"},
        duration_s=[1, 1, 1, 5, 1, 1],
    )
    plan = decided("autotm-async", timeline, MACHINE).plan
    assert plan is not None
    assert plan.transfers.fetch_slice.tolist() == [3]
    assert steady_step("autotm-async", timeline, MACHINE) == SteadyStep(
        pages_in=4, pages_out=0, step_s=10, stall_s=0
    )


@pytest.mark.parametrize("choice", AutoTmChoice)
def test_every_way_to_choose_finds_the_hidden_move(choice: AutoTmChoice) -> None:
    # b, for one page, is away and comes beside slice 3 for nothing; a would be three times as much.
    decision = AutoTmAsync(choice=choice).decide(A_LARGE_OR_A_SMALL_TENSOR, machine=MACHINE)
    assert in_pages(simulate(decision, machine=MACHINE, policy="autotm-async")) == SteadyStep(
        pages_in=1, pages_out=0, step_s=5, stall_s=0
    )


def test_without_time_to_hide_moves_they_begin_as_early_as_there_is_room() -> None:
    # b is chosen by the synchronous programme; t leaves in slice 2, and from slice 3 on there is room for b.
    with patch.object(autotm, "LINEAR_TIME_LIMIT_S", 0.0):
        plan = decided("autotm-async", A_LARGE_OR_A_SMALL_TENSOR, MACHINE).plan
        assert plan is not None
        assert plan.transfers.fetch_slice.tolist() == [3]
        with pytest.raises(PolicyError, match="autotm-async: the step is too large"):
            AutoTmAsync(choice=AutoTmChoice.ROUNDED).decide(A_LARGE_OR_A_SMALL_TENSOR, machine=MACHINE)


def test_integers_are_for_few_periods() -> None:
    with patch.object(autotm, "FEW_PERIODS", 1), pytest.raises(PolicyError, match="2 periods are too many"):
        AutoTmAsync(choice=AutoTmChoice.TOGETHER).decide(A_LARGE_OR_A_SMALL_TENSOR, machine=MACHINE)


def test_a_step_that_is_too_large_for_the_solver_is_refused() -> None:
    out_of_time = patch.object(Programme, "solve_integral", side_effect=TimeLimitError("out of time"))
    with out_of_time, pytest.raises(PolicyError, match="autotm-sync: the step is too large for its solver"):
        decided("autotm-sync", layered_timeline(1, layers=2), MACHINE)


def test_a_solver_without_time_says_so() -> None:
    programme = Programme()
    placed = add_placement(programme, find_tensors(layered_timeline(1, layers=8), machine=MACHINE))
    with pytest.raises(TimeLimitError, match="within 0 s"):
        programme.solve_integral(placed.moved, gap=0.0, time_limit_s=0.0)


def test_the_synchronous_solution_of_a_step_is_found_once_and_never_taken_for_another_step() -> None:
    one, other = layered_timeline(0, layers=2), layered_timeline(1, layers=2)
    with patch.object(autotm, "_choose_synchronous", wraps=autotm._choose_synchronous) as choose:
        for timeline in (one, one, other, one):
            for policy in (autotm.AutoTmSync(), AutoTmAsync(choice=AutoTmChoice.SYNCHRONOUS)):
                policy.decide(timeline, machine=MACHINE)
        solved = [call.args[0].timeline for call in choose.call_args_list]
    assert [timeline is one for timeline in solved] == [True, False, True]
