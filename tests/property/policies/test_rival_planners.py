"""Laws of the rivals that plan ahead: within the capacity, never below a bound, the same every time, for any step."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.support.instances import layered_timeline
from tests.support.machines import narrow_machine
from tests.support.shadow_memory import ShadowedEngine, ShadowMemory
from tests.support.simulated import ANY_STEP, BASIC_POLICIES
from tests.support.steps import links, steps
from tests.support.thoroughness import examples, rest_slow
from tests.support.traces import tiny_trace

from tmtrain.lowering import lower
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, load_machine
from tmtrain.planning import bound_of
from tmtrain.policies import make_policy
from tmtrain.simulation import Result, engine, run, simulate

PLANNERS = tuple(name for name in ANY_STEP if name not in (*BASIC_POLICIES, "vdnn-dyn"))
"""All but vdnn-dyn, whose variants are the others of its family."""
SOLVERS = ("autotm-sync", "autotm-async", "poet")
"""Integer programmes: seconds to a minute on a real step."""
every_planner = pytest.mark.parametrize("policy", PLANNERS)


@pytest.fixture(autouse=True, scope="module")
def shadow() -> Iterator[None]:
    """Every simulation of this module is shadowed: it fails when a page is lost, stale, or in memory twice."""
    with patch.object(run, "Engine", ShadowedEngine), patch.object(engine, "Memory", ShadowMemory):
        yield


def _run(policy: str, timeline: Timeline, machine: Machine) -> list[Result]:
    """Run every variant."""
    return [
        simulate(variant.decide(timeline, machine=machine), machine=machine, policy=policy)
        for variant in make_policy(policy).variants()
    ]


def _bounds(timeline: Timeline, machine: Machine) -> dict[str, float]:
    return {
        objective: bound_of(timeline, machine=machine, objective=objective, recompute=False).value
        for objective in ("time", "bytes", "energy")
    }


def _check(result: Result, timeline: Timeline, bounds: dict[str, float]) -> None:
    resident = result.series.resident_bytes.sum(axis=1) + result.series.in_flight_bytes
    assert (resident <= timeline.fast_bytes).all()
    if result.recompute_s:
        return  # what is recomputed needs not be moved
    needed = {"time": result.step_time_s, "bytes": result.traffic_bytes, "energy": result.energy_j}
    for objective, got in needed.items():
        assert got >= bounds[objective] * (1 - 1e-9) - 1e-9, objective


@every_planner
@given(timeline=steps(), machine=links())
@examples(40)
def test_no_variant_exceeds_the_capacity_or_beats_a_bound(
    policy: str, timeline: Timeline, machine: Machine
) -> None:
    bounds = _bounds(timeline, machine)
    for result in _run(policy, timeline, machine):
        _check(result, timeline, bounds)


@every_planner
@given(seed=st.integers(0, 10_000), layers=st.integers(2, 8))
@example(seed=609, layers=2)  # under ial its steps never repeat
@examples(10)
def test_the_same_step_gets_the_same_decision(policy: str, seed: int, layers: int) -> None:
    timeline, machine = layered_timeline(seed, layers=layers), narrow_machine(seed)
    for first, second in zip(*(_run(policy, timeline, machine) for _ in range(2)), strict=True):
        assert (first.step_time_s, first.bytes_in, first.bytes_out) == (
            second.step_time_s,
            second.bytes_in,
            second.bytes_out,
        )


@pytest.mark.parametrize("policy", rest_slow(sorted(PLANNERS, key=lambda policy: policy in SOLVERS), quick=4))
def test_on_a_real_step_too(policy: str) -> None:
    trace, machine = tiny_trace("gpt2-tiny"), load_machine("v4-slc")
    timeline = lower(trace, machine=machine, fast_bytes=int(0.3 * trace.footprint_bytes))
    bounds = _bounds(timeline, machine)
    for result in _run(policy, timeline, machine):
        _check(result, timeline, bounds)
