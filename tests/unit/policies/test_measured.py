"""The gap of a plan is the engine's number, or none."""

from dataclasses import replace

import pytest

from tmtrain.checking import check_plan
from tmtrain.errors import InternalError, PlanRefutedError
from tmtrain.machine import load_machine
from tmtrain.planning import propose
from tmtrain.planning.example import example_timeline
from tmtrain.planning.problem.objective import make_objective
from tmtrain.plans import PROGRAMME, Plan, optimality_gap
from tmtrain.policies import POLICIES, follow, plan
from tmtrain.policies.ours.measuring import measure
from tmtrain.policies.ours.verbs import Search
from tmtrain.simulation import objective_of, simulate
from tmtrain.trace import example_trace

STEP, MACHINE = example_timeline(), load_machine("v4-slc")


@pytest.mark.parametrize("objective", ["energy", "time", "bytes", "writes", "energy:1,time:1"])
def test_what_is_measured_is_what_the_engine_says(objective: str) -> None:
    ours = plan(STEP, machine=MACHINE, objective=objective)
    result = simulate(follow(ours, STEP, machine=MACHINE), machine=MACHINE, policy="tmtrain")
    goal = make_objective(objective, timeline=STEP, machine=MACHINE)
    assert ours.certificate is not None
    assert ours.measurement is not None
    assert ours.certificate.measured == objective_of(result, goal)
    assert ours.certificate.gap == optimality_gap(objective_of(result, goal), ours.certificate.bound.value)
    assert ours.measurement.step_time_s == result.step_time_s
    assert ours.measurement.energy_j == result.energy_j
    assert ours.origin in {PROGRAMME, *POLICIES}


def test_what_a_rival_did_keeps_every_rule_of_the_checker() -> None:
    ours = plan(STEP, machine=MACHINE)
    assert ours.origin != PROGRAMME, "the example is so small that a rule of thumb is luckier"
    report = check_plan(example_trace(), ours, machine=MACHINE)
    assert report.violations == ()


def test_where_nothing_need_move_there_is_no_gap_in_bytes() -> None:
    roomy = replace(STEP, fast_bytes=100 * STEP.page_bytes)
    proof = plan(roomy, machine=MACHINE, objective="bytes").certificate
    assert proof is not None
    assert (proof.measured, proof.bound.value, proof.gap) == (0.0, 0.0, None)


def test_an_optimality_gap_is_undefined_without_a_measurement_or_a_bound() -> None:
    assert optimality_gap(None, 1.0) is None
    assert optimality_gap(21e9, 0.0) is None
    assert optimality_gap(3.0, 2.0) == 0.5


def _proposal() -> Plan:
    return next(propose(STEP, machine=MACHINE))


def test_a_measurement_below_the_bound_is_a_bug_of_ours_and_never_a_number() -> None:
    proposal = _proposal()
    assert proposal.certificate is not None
    bound = replace(proposal.certificate.bound, value=10 * proposal.certificate.predicted)
    impossible = replace(proposal, certificate=replace(proposal.certificate, bound=bound))
    goal = make_objective("energy", timeline=STEP, machine=MACHINE)
    with pytest.raises(InternalError, match=r"bug of tmtrain: please report it"):
        measure(impossible, STEP, machine=MACHINE, objective=goal)


def test_a_plan_that_the_engine_refuses_is_a_bug_of_ours() -> None:
    proposal = _proposal()
    none = {name: getattr(proposal.transfers, name)[:0] for name in proposal.transfers.__slots__}
    nothing_moves = replace(proposal, transfers=replace(proposal.transfers, **none))
    with pytest.raises(PlanRefutedError):
        simulate(follow(nothing_moves, STEP, machine=MACHINE), machine=MACHINE, policy="x")
    with pytest.raises(InternalError, match=r"cannot run a plan that the planner made.*bug of tmtrain"):
        Search(timeline=STEP, machine=MACHINE, objective="energy").look_at(nothing_moves)
