"""Joules of a step by component, against the closed form with the machine's own constants."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.simulated import BASIC_POLICIES, PAGE, decided, step

from tmtrain.lowering.energy import COMPONENTS, power_w
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import load_machine
from tmtrain.simulation import simulate, step_energy

MACHINE = load_machine("v4-slc")


def _working_step() -> Timeline:
    idle = step(["a:rw", "t:new", "a:r"], pages={"a": 2, "t": 1}, fast_pages=2, frees={1: "t"})
    work = replace(
        idle.slices,
        matrix_flops=np.array([1e12, 2e12, 0.0]),
        vector_ops=np.array([0.0, 3e9, 1e9]),
        sram_bytes=np.array([1e9, 0.0, 5e9]),
        fast_bytes=np.array([2e9, 2e9, 3e9]),
    )
    return replace(idle, slices=work, machine=MACHINE.name)


def test_each_component_is_its_amount_times_its_constant() -> None:
    timeline = _working_step()
    decision = decided("lru", timeline, MACHINE)
    parts = step_energy(decision, machine=MACHINE, step_time_s=4.0, bytes_in=1000, bytes_out=200)
    assert tuple(parts) == COMPONENTS
    assert parts == pytest.approx(
        {
            "matrix": 3e12 * 0.30e-12,
            "vector": 4e9 * 0.85e-12,
            "sram": 6e9 * 1.75e-12,
            "fast access": 7e9 * 8 * 5.8e-12,
            "fast background": 0.2e-9 * 2 * PAGE * 4.0,
            "static": 90 * 4.0,
            "flash read": 1000 * 8 * 28e-12,
            "flash write": 200 * 8 * (100 + 4) * 1e-12 * 1.02,
            "link": 1200 * 8 * 0.5e-12,
            "fast side of transfers": 1200 * 8 * 5.8e-12,
            "flash idle": 6 * 4.0,
        }
    )


@pytest.mark.parametrize("policy", BASIC_POLICIES)
def test_the_components_add_up_to_the_closed_form(policy: str) -> None:
    timeline = _working_step()
    decision = decided(policy, timeline, MACHINE)
    result = simulate(decision, machine=MACHINE, policy=policy)
    standing = power_w(MACHINE, fast_bytes=result.fast_bytes) - (6.0 if policy == "all-fast" else 0.0)
    computing = 3e12 * 0.30e-12 + 4e9 * 0.85e-12 + 6e9 * 1.75e-12 + 7e9 * 8 * 5.8e-12
    moving = result.bytes_in * MACHINE.read_j_per_byte + result.bytes_out * MACHINE.write_j_per_byte
    assert result.energy_j == pytest.approx(standing * result.step_time_s + computing + moving, rel=1e-12)
    assert result.energy_j == sum(result.energy_by_component_j.values())
