"""POET on steps small enough for paper: what is kept, paged, recomputed; a second and a joule per page computed on."""

from dataclasses import replace

import pytest
from tests.support.row_steps import IDLE_STEP, PAGE, lowered, random_step, row_machine

from tmtrain.deciding import Decision
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies import make_policy
from tmtrain.simulation import Result, simulate


def _machine(*, joules_per_page_moved: float) -> Machine:
    """Return a machine on which computing costs a joule per page read or written, and moving costs so much."""
    machine = row_machine()
    compute = replace(machine.compute, vector_energy_j_per_op=1.0 / (PAGE / 4), static_power_w=0.0)
    slow = replace(
        machine.slow,
        read_energy_j_per_byte=joules_per_page_moved / PAGE,
        program_energy_j_per_byte=joules_per_page_moved / PAGE,
    )
    return replace(machine, compute=compute, slow=slow)


def _run(timeline: Timeline, machine: Machine) -> tuple[Decision, Result]:
    decision = make_policy("poet").decide(timeline, machine=machine)
    return decision, simulate(decision, machine=machine, policy="poet")


@pytest.mark.parametrize(
    ("joules_per_page_moved", "pages_in", "pages_out", "recomputations"),
    # Room for 8: with t and u (6 pages) there is room for one of x and a (2 pages each). To page x, which is clean, is to
    # fetch 2 pages. To make a again is to read 2 pages and write 2: 4 joules, and x is needed for it.
    [pytest.param(1.0, 2, 0, 0, id="paging is cheap"), pytest.param(3.0, 0, 0, 1, id="computing is cheap")],
)
def test_what_costs_fewer_joules_is_done(
    joules_per_page_moved: float, pages_in: int, pages_out: int, recomputations: int
) -> None:
    machine = _machine(joules_per_page_moved=joules_per_page_moved)
    decision, result = _run(lowered(IDLE_STEP, machine=machine, spare_pages=2), machine)
    assert decision.plan is not None
    assert len(decision.plan.recomputations) == recomputations
    assert (result.bytes_in, result.bytes_out) == (pages_in * PAGE, pages_out * PAGE)
    # Making a again takes 4 s, one per page read or written.
    assert result.recompute_s == pytest.approx(4.0 * recomputations)
    assert result.ideal_step_time_s == pytest.approx(result.step_time_s - result.stall_s - result.recompute_s)


def test_nothing_is_done_where_everything_fits() -> None:
    machine = _machine(joules_per_page_moved=1.0)
    decision, result = _run(lowered(IDLE_STEP, machine=machine, spare_pages=4), machine)
    assert decision.plan is not None
    assert (len(decision.plan.recomputations), len(decision.plan.transfers), result.traffic_bytes) == (
        0,
        0,
        0,
    )


def test_recomputations_find_their_inputs_in_any_step() -> None:
    """The engine refutes a recomputation that reads what is gone; some steps recompute in chains, some page as well."""
    recomputed = paged = 0
    for seed in range(40):
        machine = _machine(joules_per_page_moved=2.0)
        decision, result = _run(lowered(random_step(seed), machine=machine, spare_pages=1), machine)
        assert decision.plan is not None
        recomputed += len(decision.plan.recomputations) > 0
        paged += result.traffic_bytes > 0
    assert recomputed > 5
    assert paged > 5
