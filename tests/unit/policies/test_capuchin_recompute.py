"""Capuchin's choice between swapping and recomputing, on steps small enough for paper; a second per page computed on."""

import numpy as np
import pytest
from tests.support.row_steps import IDLE_STEP, PAGE, Op, RowStep, lowered, random_step, row_machine

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.planners.capuchin import Capuchin, choose
from tmtrain.policies.shared.tensors import find_tensors
from tmtrain.simulation import Result, simulate
from tmtrain.trace import Phase

CHAIN = RowStep(
    rows=2,
    ops=(
        Op(reads=("x",), makes=("a",)),
        Op(reads=("a",), makes=("b",)),
        Op(makes=("t",)),
        Op(reads=("t",), makes=("u",)),
        Op(reads=("b",), makes=("g",), phase=Phase.BACKWARD),
        Op(reads=("a", "g"), makes=("h",), phase=Phase.BACKWARD),
    ),
    pages={"x": 2, "a": 2, "b": 2, "t": 6, "u": 2, "g": 2, "h": 2},
)
"""b is made from a, a from x. In backward b is read before a."""


def _run(timeline: Timeline, machine: Machine, *, link_steps: float) -> Result:
    decision = Capuchin(lead=1.0, link_steps=link_steps).decide(timeline, machine=machine)
    return simulate(decision, machine=machine, policy="capuchin")


@pytest.mark.parametrize(
    ("pages_per_s", "link_steps", "recompute_s", "pages_moved"),
    # Room for 8: beside t and u (6 pages) there is room for one of x and a. To recompute a is to read 2 pages and to write
    # 2: 4 s. To swap it is 2 pages in and, at 0.75 of that rate, 2 out: 2.3 s or 9.4 s. Of swaps x has the most free time;
    # it is clean: 2 pages in.
    [
        pytest.param(2.0, 0.0, 0.0, 2, id="swapping is quicker"),
        pytest.param(0.5, 0.0, 4.0, 0, id="recomputing is quicker"),
        pytest.param(0.5, np.inf, 0.0, 2, id="swaps alone"),
    ],
)
def test_what_takes_less_time_is_done(
    pages_per_s: float, link_steps: float, recompute_s: float, pages_moved: int
) -> None:
    machine = row_machine(pages_per_s=pages_per_s)
    result = _run(lowered(IDLE_STEP, machine=machine, spare_pages=2), machine, link_steps=link_steps)
    assert result.recompute_s == pytest.approx(recompute_s)
    assert result.traffic_bytes == pages_moved * PAGE


def test_what_a_recomputation_reads_is_recomputed_with_it() -> None:
    # t and u take 8 of 10 pages: x stays, a and b go. At first a is to be back for slice 5 and b for slice 4. b is made
    # from a, so a is recomputed before slice 4, too, and stays. Each takes 4 s.
    machine = row_machine(pages_per_s=0.1)
    timeline = lowered(CHAIN, machine=machine, spare_pages=2)
    choice = choose(find_tensors(timeline, machine=machine), link_steps=0.0)
    assert not choice.swapped.any()
    assert [each.before for each in choice.recomputed] == [4, 4]
    result = _run(timeline, machine, link_steps=0.0)
    assert (result.traffic_bytes, result.recompute_s) == (0, pytest.approx(8.0))
    assert result.step_time_s == pytest.approx(result.ideal_step_time_s + 8.0)


def test_recomputations_find_their_inputs_in_any_step() -> None:
    """The engine refutes a recomputation that reads what is gone; some steps recompute in chains, some swap as well."""
    recomputed = swapped = 0
    for seed in range(60):
        machine = row_machine(pages_per_s=0.3)
        result = _run(lowered(random_step(seed), machine=machine, spare_pages=1), machine, link_steps=0.0)
        recomputed += result.recompute_s > 0
        swapped += result.traffic_bytes > 0
    assert recomputed > 5
    assert swapped > 5
