"""POET on steps small enough for paper: what is kept, paged, recomputed; a second and a joule per page computed on."""

from dataclasses import replace

import pytest
from tests.support.row_steps import IDLE_STEP, PAGE, Op, RowStep, lowered, random_step, row_machine

from tmtrain.deciding import Decision
from tmtrain.errors import PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies import make_policy
from tmtrain.policies.planners.poet import Poet, PoetProgramme
from tmtrain.simulation import Result, simulate, try_policy
from tmtrain.trace import Phase


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


CHAIN = RowStep(
    rows=2,
    ops=(
        Op(reads=("x",), makes=("a",)),
        Op(reads=("a",), makes=("d",)),
        Op(reads=("d",), makes=("b",)),
        Op(makes=("t",)),
        Op(reads=("t",), makes=("u",)),
        Op(reads=("b",), makes=("g",), phase=Phase.BACKWARD),
        Op(reads=("a", "g"), makes=("h",), phase=Phase.BACKWARD),
    ),
    pages={"x": 2, "a": 2, "d": 2, "b": 2, "t": 6, "u": 2, "g": 2, "h": 2},
)
"""b is made from d, d from a, a from x. Backward reads b, then a, and never d: d is dead by then."""


@pytest.mark.parametrize("programme", [PoetProgramme.CHAINS, PoetProgramme.ROUNDED])
def test_a_chain_goes_by_way_of_what_is_dead_and_ends_at_an_earlier_moment(programme: PoetProgramme) -> None:
    # Beside t and u (8 pages) there is room for x alone. So a and b are recomputed, by way of d, before slice 5, which
    # reads b; a then stays for slice 6. Three runs that read and write 2 pages each: 12 s, and nothing is paged.
    machine = _machine(joules_per_page_moved=50.0)
    timeline = lowered(CHAIN, machine=machine, spare_pages=2)
    decision = Poet(programme=programme).decide(timeline, machine=machine)
    result = simulate(decision, machine=machine, policy="poet")
    assert decision.plan is not None
    assert decision.plan.recomputations.before_slice.tolist() == [5, 5, 5]
    assert (result.traffic_bytes, result.recompute_s) == (0, pytest.approx(12.0))


def test_without_chains_one_of_them_is_paged() -> None:
    machine = _machine(joules_per_page_moved=50.0)
    timeline = lowered(CHAIN, machine=machine, spare_pages=2)
    decision = Poet(programme=PoetProgramme.SINGLE).decide(timeline, machine=machine)
    assert simulate(decision, machine=machine, policy="poet").traffic_bytes > 0
    tried = try_policy(Poet(), timeline, machine=machine, objective="energy")
    assert tried.result.traffic_bytes == 0


def test_a_step_with_many_recomputations_is_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tmtrain.policies.planners.poet.MANY_RECOMPUTATIONS", 2)
    timeline = lowered(CHAIN, machine=row_machine(), spare_pages=2)
    with pytest.raises(PolicyError, match=r"poet: \d+ recomputations at moments are too many"):
        Poet().decide(timeline, machine=row_machine())
    assert try_policy(Poet(), timeline, machine=row_machine()).result.policy == "poet"


def test_rounded_recomputations_find_their_inputs_in_any_step() -> None:
    """Rounded, what recomputations read may be too much to stay; then the policy says so, and the engine never refutes."""
    refusals: list[str] = []
    for seed in range(40):
        machine = _machine(joules_per_page_moved=2.0)
        timeline = lowered(random_step(seed), machine=machine, spare_pages=1)
        try:
            decision = Poet(programme=PoetProgramme.ROUNDED).decide(timeline, machine=machine)
        except PolicyError as error:
            refusals.append(str(error))
            continue
        assert simulate(decision, machine=machine, policy="poet").step_time_s > 0
    assert set(refusals) <= {"poet: no room beside the recomputations that it rounds to"}
    assert len(refusals) < 20
