"""Power over a step: the integral is the energy, component by component, and the hours are the right ones."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.simulated import BASIC_POLICIES, PAGE, decided, step

from tmtrain.lowering.energy import WORK_COMPONENTS
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import load_machine
from tmtrain.reporting.example import example_result
from tmtrain.simulation import Result, Traffic, simulate
from tmtrain.simulation.power import power_over_time

MACHINE = load_machine("v4-slc")


def _working_step() -> Timeline:
    idle = step(
        ["a:rw", "t:new", "b:rw", "t:r", "a:r"],
        pages={"a": 3, "b": 3, "t": 2},
        fast_pages=5,
        frees={3: "t"},
        duration_s=[1e-6, 2e-6, 4e-6, 1e-6, 3e-6],
    )
    work = replace(
        idle.slices,
        matrix_flops=np.array([1e8, 2e8, 0.0, 1e7, 3e6]),
        vector_ops=np.array([0.0, 3e5, 1e5, 0.0, 0.0]),
        sram_bytes=np.array([1e5, 0.0, 5e5, 0.0, 1e3]),
        fast_bytes=np.array([2e5, 2e5, 3e5, 1e5, 0.0]),
    )
    return replace(idle, slices=work, machine=MACHINE.name)


def _assert_conserved(result: Result, *, stretches: int | None) -> None:
    power = power_over_time(result, stretches=stretches)
    assert power.edges_s[0] == 0
    assert power.edges_s[-1] == result.step_time_s
    assert (np.diff(power.edges_s) > 0).all()
    assert list(power.watts) == list(result.energy_by_component_j)
    for name, watts in power.watts.items():
        joules = float((watts * np.diff(power.edges_s)).sum())
        assert joules == pytest.approx(result.energy_by_component_j[name], rel=1e-9), name
        assert watts.min() >= 0
    assert power.average_w * result.step_time_s == pytest.approx(result.energy_j, rel=1e-9)
    assert power.peak_w >= power.average_w * (1 - 1e-9)


@pytest.mark.parametrize("stretches", [None, 1, 7, 400])
@pytest.mark.parametrize("policy", BASIC_POLICIES)
def test_the_integral_over_the_step_is_the_energy_of_each_component(
    policy: str, stretches: int | None
) -> None:
    decision = decided(policy, _working_step(), MACHINE)
    result = simulate(decision, machine=MACHINE, policy=policy)
    assert result.series.work_j.sum(axis=0) == pytest.approx(
        [result.energy_by_component_j[name] for name in WORK_COMPONENTS], rel=1e-12
    )
    moved = result.traffic
    assert moved.bytes[~moved.is_write].sum() == result.bytes_in
    assert moved.bytes[moved.is_write].sum() == result.bytes_out
    _assert_conserved(result, stretches=stretches)


@pytest.mark.parametrize("stretches", [None, 400])
@pytest.mark.parametrize("policy", ["tmtrain", "lru", "all-fast"])
def test_a_long_step_conserves_energy_too(policy: str, stretches: int | None) -> None:
    _assert_conserved(example_result(policy, slices=20_000), stretches=stretches)


def test_each_component_draws_when_its_work_is_done() -> None:
    """Two slices of 1 and 2 s with a wait of 1 s between them; a read of the first 2 s, a write at 3 to 4 s."""
    result = _by_hand(
        start_s=[0.0, 2.0],
        end_s=[1.0, 4.0],
        matrix_j=[50.0, 40.0],
        traffic=[(0.0, 2.0, False, PAGE), (3.0, 4.0, True, 2 * PAGE)],
        joules={"matrix": 90.0, "static": 360.0, "flash read": 20.0, "flash write": 7.0, "link": 3.0},
    )
    power = power_over_time(result)
    assert power.edges_s.tolist() == [0, 1, 2, 3, 4]
    assert power.watts["matrix"].tolist() == [50, 0, 20, 20]
    assert power.watts["static"].tolist() == [90] * 4
    assert power.watts["flash read"].tolist() == [10, 10, 0, 0]
    assert power.watts["flash write"].tolist() == [0, 0, 0, 7]
    assert power.watts["link"].tolist() == [0.5, 0.5, 0, 2]
    assert (power.average_w, power.peak_w) == (120, 150.5)
    halves = power_over_time(result, stretches=2)
    assert (halves.total_w.tolist(), halves.peak_w) == ([125.5, 114.5], 125.5)


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"), [(-1.0, 1.0, [6.0, 0.0, 0.0, 6.0]), (-6.0, 2.0, [3.0, 3.0, 3.0, 3.0])]
)
def test_what_wraps_round_the_step_draws_where_it_is_under_way(
    start_s: float, end_s: float, expected: list[float]
) -> None:
    """A read of 12 J in a step of 4 s; the second one is under way for two steps."""
    result = _by_hand(
        start_s=[0.0],
        end_s=[4.0],
        matrix_j=[0.0],
        traffic=[(start_s, end_s, False, PAGE)],
        joules={"flash read": 12.0},
    )
    power = power_over_time(result, stretches=4)
    assert power.watts["flash read"] == pytest.approx(expected)


def _by_hand(
    *,
    start_s: list[float],
    end_s: list[float],
    matrix_j: list[float],
    traffic: list[tuple[float, float, bool, int]],
    joules: dict[str, float],
) -> Result:
    toy = example_result("all-fast", slices=len(start_s))
    begin, end, is_write, size = zip(*traffic, strict=True)
    work_j = np.zeros((len(start_s), len(WORK_COMPONENTS)))
    work_j[:, 0] = matrix_j
    series = replace(toy.series, start_s=np.array(start_s), end_s=np.array(end_s), work_j=work_j)
    moves = Traffic(
        start_s=np.array(begin),
        end_s=np.array(end),
        is_write=np.array(is_write),
        bytes=np.array(size),
        extent=np.zeros(len(size), np.int32),
    )
    return replace(toy, step_time_s=end_s[-1], energy_by_component_j=joules, series=series, traffic=moves)
