"""Our plan against every rival: fewest bytes, and no policy below the certified bounds."""

from itertools import product

import pytest
from hypothesis import given
from tests.support.simulated import BASIC_POLICIES
from tests.support.steps import links, steps
from tests.support.thoroughness import examples, rest_slow
from tests.support.traces import tiny_trace

from tmtrain.lowering import lower
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, load_machine
from tmtrain.planning import bound_of
from tmtrain.policies import make_policy
from tmtrain.simulation import Result, simulate

OURS = ("tmtrain-move", "tmtrain")
RIVALS = tuple(name for name in BASIC_POLICIES if name not in {"all-fast", *OURS})
OBJECTIVES = ("bytes", "writes", "time", "energy")


def _result(policy: str, timeline: Timeline, machine: Machine, objective: str = "bytes") -> Result:
    decision = make_policy(policy, objective=objective).decide(timeline, machine=machine)
    return simulate(decision, machine=machine, policy=policy)


def _bounds_hold(results: list[Result], timeline: Timeline, machine: Machine) -> None:
    """No policy below the bound of its class; what may recompute is bounded by less."""
    bounds = {
        recompute: {
            name: bound_of(timeline, machine=machine, objective=name, recompute=recompute).value
            for name in OBJECTIVES
        }
        for recompute in (False, True)
    }
    for name, bound in bounds[False].items():
        slack = 5e-3 * abs(bound) + (1.0 if name in {"bytes", "writes"} else 1e-9)
        assert bounds[True][name] <= bound + slack, "another freedom costs nothing"
    for result in results:
        got = {
            "bytes": result.traffic_bytes,
            "writes": result.bytes_out,
            "time": result.step_time_s,
            "energy": result.energy_j,
        }
        for name, bound in bounds[result.policy == "tmtrain"].items():
            assert got[name] >= bound * (1 - 1e-9) - 1e-12, (result.policy, name)


@given(timeline=steps(), machine=links())
@examples(250)
def test_no_policy_goes_below_a_certified_bound(timeline: Timeline, machine: Machine) -> None:
    _bounds_hold([_result(p, timeline, machine) for p in (*RIVALS, *OURS)], timeline, machine)


@given(timeline=steps(unit=6, max_slices=8, max_extents=5, max_pages=3), machine=links())
@examples(250)
def test_no_rival_moves_fewer_bytes(timeline: Timeline, machine: Machine) -> None:
    # Sizes are multiples of 6 pages, so that halves and thirds of an extent are whole pages and rounding costs nothing.
    ours = _result("tmtrain-move", timeline, machine).traffic_bytes
    assert {p: _result(p, timeline, machine).traffic_bytes >= ours for p in RIVALS} == dict.fromkeys(
        RIVALS, True
    )


@given(timeline=steps(), machine=links())
@examples(250)
def test_rounding_costs_less_than_a_page_per_transfer_and_write(timeline: Timeline, machine: Machine) -> None:
    decision = make_policy("tmtrain-move", objective="bytes").decide(timeline, machine=machine)
    assert decision.plan is not None
    ours = simulate(decision, machine=machine, policy="tmtrain-move").traffic_bytes
    bound = bound_of(timeline, machine=machine, objective="bytes", recompute=False).value
    assert ours <= bound + 2 * len(decision.plan.transfers) * timeline.page_bytes + 1e-6


def _compare(name: str, *, fraction: float, machine: Machine) -> None:
    trace = tiny_trace(name)
    timeline = lower(trace, machine=machine, fast_bytes=int(fraction * trace.footprint_bytes))
    ours = _result("tmtrain-move", timeline, machine)
    results = [_result(p, timeline, machine) for p in RIVALS]
    assert [r.policy for r in results if r.traffic_bytes < ours.traffic_bytes] == []
    best = {name: _result("tmtrain-move", timeline, machine, name) for name in ("energy", "time", "writes")}
    joint = [_result("tmtrain", timeline, machine, name) for name in OBJECTIVES]
    _bounds_hold([*results, ours, *best.values(), *joint], timeline, machine)
    assert best["writes"].bytes_out <= min(r.bytes_out for r in results)
    predicted = make_policy("tmtrain-move", objective="bytes").decide(timeline, machine=machine).plan
    assert predicted is not None
    assert (ours.bytes_in, ours.bytes_out) == (predicted.prediction.bytes_in, predicted.prediction.bytes_out)


@pytest.mark.parametrize(
    ("name", "fraction"),
    rest_slow(product(["gpt2-tiny", "gpt2-tiny eager fp32"], [0.125, 0.3, 0.7]), quick=0),
)
def test_on_real_steps_too(name: str, fraction: float) -> None:
    _compare(name, fraction=fraction, machine=load_machine("v4-slc"))


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["v4-slc", "znvme-g10", "v5p-hbf"])
@pytest.mark.parametrize("fraction", [0.1, 0.125, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("name", ["bert", "resnet", "gpt2-tiny", "gpt2-tiny eager fp32"])
def test_on_more_real_steps(name: str, fraction: float, machine: str) -> None:
    _compare(name, fraction=fraction, machine=load_machine(machine))
