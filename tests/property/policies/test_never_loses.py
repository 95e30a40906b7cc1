"""Measured by the engine, no policy that keeps and moves is better than ours on our own objective.

What recomputes is of another class, and may do what ours may not. So may what moves pages in vain: a drive that is kept
awake answers at once, which is worth a percent or two of some tiny steps (benchmarks/small_steps.md).
"""

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from tests.support.rivals import RIVALS, tried_rivals
from tests.support.small_steps import KINDS, small_trace
from tests.support.steps import steps
from tests.support.thoroughness import examples

from tmtrain.errors import InfeasibleError
from tmtrain.lowering import lower
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, load_machine
from tmtrain.policies import plan
from tmtrain.policies.ours.imitation import imitate
from tmtrain.simulation import Tried

OBJECTIVES = ("energy", "time", "bytes", "writes")
MACHINES = ("v4-slc", "a100-tlc5", "v5p-hbf", "znvme-g10")
SOLVERS = ("autotm-sync", "autotm-async", "poet")
"""They take minutes on steps of a thousand slices."""
SAME = 1e-9


def _better(
    timeline: Timeline, *, machine: Machine, objective: str, rivals: tuple[str, ...]
) -> dict[str, float]:
    """Return what rivals need of the objective, as a share of what ours does, where that is less."""
    proof = plan(timeline, machine=machine, objective=objective).certificate
    assert proof is not None
    assert proof.measured is not None
    needs = {
        name: need
        for name, tried, need in tried_rivals(timeline, machine=machine, objective=objective, rivals=rivals)
        if not tried.decision.recompute_s and not _moves_in_vain(tried, machine=machine)
    }
    return {name: need / proof.measured for name, need in needs.items() if proof.measured > need * (1 + SAME)}


def _moves_in_vain(tried: Tried, *, machine: Machine) -> bool:
    """Whether a run moves more than what was absent in some access gap."""
    needed = imitate(tried.result, tried.decision, machine=machine).prediction
    return tried.result.bytes_in > needed.bytes_in or tried.result.bytes_out > needed.bytes_out


@pytest.mark.parametrize("objective", OBJECTIVES)
@given(timeline=steps(unit=20, max_slices=12, max_extents=8, max_pages=12))
@examples(12)
def test_on_random_steps_of_large_extents(objective: str, timeline: Timeline) -> None:
    machine = load_machine("v4-slc")
    seconds = timeline.slices.duration_s * 1e-5  # about what moving an extent takes
    timeline = replace(
        timeline,
        slices=replace(timeline.slices, duration_s=seconds),
        machine=machine.name,
        machine_fingerprint=machine.fingerprint,
    )
    assert _better(timeline, machine=machine, objective=objective, rivals=RIVALS) == {}


@pytest.mark.parametrize(
    ("kind", "objective", "machine", "fraction"),
    [
        *product(("tiny",), OBJECTIVES, ("v4-slc",), (0.25,)),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in product(KINDS, OBJECTIVES, MACHINES, (0.03, 0.12, 0.25, 0.6))
        ),
    ],
)
def test_on_small_captured_steps(kind: str, objective: str, machine: str, fraction: float) -> None:
    trace, there = small_trace(kind), load_machine(machine)
    page = there.slow.page_bytes
    try:
        timeline = lower(
            trace, machine=there, fast_bytes=int(trace.footprint_bytes * fraction) // page * page
        )
    except InfeasibleError:
        pytest.skip("its largest operator does not fit, however it is cut")
    rivals = tuple(name for name in RIVALS if name not in SOLVERS)
    assert _better(timeline, machine=there, objective=objective, rivals=rivals) == {}
