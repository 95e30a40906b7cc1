"""Gaps that are shorter by what their transfers take."""

import numpy as np
import pytest
from tests.support.instances import crowded_timeline
from tests.support.machines import toy_machine
from tests.support.timelines import make_timeline

from tmtrain.errors import InfeasibleError
from tmtrain.machine import Machine
from tmtrain.planning.placing.lead import LeadProblem, with_lead
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.problem import Problem, build_problem
from tmtrain.planning.programme.rounding import to_whole_pages

STEP = make_timeline(
    ["a:w", "b:rw", "b:rw", "b:rw", "b:rw", "a:r"], pages={"a": 2, "b": 1}, fast_pages=2, duration_s=[1.0] * 6
)
"""a is made, waits for four seconds, and is read."""


def _machine(*, read_s: float, write_s: float) -> Machine:
    return toy_machine(read_latency_s=read_s, write_latency_s=write_s, static_power_w=2.0, page_bytes=8)


def _short(read_s: float, write_s: float, *, factor: float = 1.0) -> tuple[Problem, LeadProblem]:
    machine, problem = _machine(read_s=read_s, write_s=write_s), build_problem(STEP)
    goal = make_objective("energy", timeline=STEP, machine=machine)
    return problem, with_lead(problem, timeline=STEP, machine=machine, objective=goal, factor=factor)


def _row_of_a(problem: Problem) -> int:
    (row,) = np.flatnonzero(problem.gaps.extent == 0)
    return int(row)


def _gap_of_a(problem: Problem) -> tuple[int, int]:
    row = _row_of_a(problem)
    return int(problem.gaps.start[row]), int(problem.gaps.end[row])


@pytest.mark.parametrize(
    ("read_s", "write_s", "factor", "gap"),
    [
        (0.0, 0.0, 1.0, (0, 5)),
        (0.5, 0.0, 1.0, (0, 4)),  # to be there at 5 s it is fetched from 4.5 s on: in slice 4
        (1.0, 0.0, 1.0, (0, 4)),
        (1.0, 1.0, 1.0, (1, 4)),  # made by 1 s, written by 2 s: slice 2 has its room
        (0.5, 0.5, 2.0, (1, 4)),
        (9.0, 9.0, 0.0, (0, 5)),
    ],
)
def test_a_gap_begins_when_it_is_written_and_ends_when_it_is_fetched(
    read_s: float, write_s: float, factor: float, gap: tuple[int, int]
) -> None:
    problem, short = _short(read_s, write_s, factor=factor)
    assert _gap_of_a(problem) == (0, 5)
    assert _gap_of_a(short.problem) == gap
    assert short.extra_cost[_row_of_a(problem)] == 0


def test_a_gap_too_short_to_hide_its_transfers_costs_what_is_waited() -> None:
    problem, short = _short(2.0, 2.0)
    assert _gap_of_a(short.problem) == _gap_of_a(problem)
    # 2 W for a share of 2 s, over its two pages.
    assert short.extra_cost[_row_of_a(problem)] == pytest.approx(0.3 * 2.0 * 2.0 / 2)


@pytest.mark.parametrize("seed", range(20))
def test_all_shorter_gaps_together_make_the_room_that_is_asked_for(seed: int) -> None:
    timeline, machine = crowded_timeline(seed), _machine(read_s=0.7, write_s=0.9)
    problem = build_problem(timeline)
    goal = make_objective("time", timeline=timeline, machine=machine)
    short = with_lead(problem, timeline=timeline, machine=machine, objective=goal, factor=1.0).problem
    assert short.fits(short.gaps.pages)
    assert (short.over_pages <= problem.over_pages).all()


def test_what_no_gap_can_give_is_refused_and_not_looked_for_for_ever() -> None:
    problem = build_problem(STEP)
    nothing_may_leave = problem.hold(np.ones(len(problem.gaps), bool))
    with pytest.raises(InfeasibleError, match=r"lacks 1 pages that no gap can give"):
        to_whole_pages(nothing_may_leave, np.zeros(0))
