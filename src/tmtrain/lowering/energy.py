"""Joules of one step by component: what computing costs, what standing by costs, what moving costs."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.cost import SliceWork
from tmtrain.lowering.timeline import Slices
from tmtrain.machine import Machine

WORK_COMPONENTS = ("matrix", "vector", "sram", "fast access")
"""Energy of computing."""
TRANSFER_COMPONENTS = ("flash read", "flash write", "link", "fast side of transfers")
"""Energy of moving bytes between the tiers."""
COMPONENTS = (*WORK_COMPONENTS, "fast background", "static", *TRANSFER_COMPONENTS, "flash idle")
"""Names and order of the energy components, as in results and figures."""


def work_energy_j(work: Slices | SliceWork, *, machine: Machine) -> NDArray[np.float64]:
    """Return the joules of computing each row of `work`."""
    matrix, vector, sram, fast = work_components_j(work, machine=machine)
    return matrix + vector + sram + fast


def work_components_j(work: Slices | SliceWork, *, machine: Machine) -> list[NDArray[np.float64]]:
    """Return the joules of computing each row of `work`, one array per component of `WORK_COMPONENTS`."""
    return [amount * joules for amount, joules in _work_parts(work, machine)]


def compute_energy(slices: Slices, *, machine: Machine) -> dict[str, float]:
    """Return the joules of the computation itself, by component, for one step."""
    parts = zip(WORK_COMPONENTS, _work_parts(slices, machine), strict=True)
    return {name: float(amount.sum()) * joules for name, (amount, joules) in parts}


def _work_parts(work: Slices | SliceWork, machine: Machine) -> list[tuple[NDArray[np.float64], float]]:
    """Return what is counted of each component of `WORK_COMPONENTS`, and the joules of one."""
    compute = machine.compute
    return [
        (work.matrix_flops, compute.matrix_energy_j_per_flop),
        (work.vector_ops, compute.vector_energy_j_per_op),
        (work.sram_bytes, compute.sram_energy_j_per_byte),
        (work.fast_bytes, machine.fast.energy_j_per_byte),
    ]


def compute_energy_j(slices: Slices, *, machine: Machine) -> float:
    """Return the joules of the computation itself for one step."""
    return sum(compute_energy(slices, machine=machine).values())


def standing_power(machine: Machine, *, fast_bytes: int, has_flash: bool = True) -> dict[str, float]:
    """Return the watts drawn whatever happens, by component, with `fast_bytes` of fast memory installed."""
    power = {
        "static": machine.compute.static_power_w,
        "fast background": machine.fast.background_w_per_byte * fast_bytes,
    }
    return power | ({"flash idle": machine.slow.idle_power_w} if has_flash else {})


def power_w(machine: Machine, *, fast_bytes: int) -> float:
    """Return the watts drawn whatever happens, flash tier included."""
    return sum(standing_power(machine, fast_bytes=fast_bytes).values())


def transfer_energy(machine: Machine, *, bytes_in: float, bytes_out: float) -> dict[str, float]:
    """Return the joules of moving so many bytes between the tiers, by component.

    Sums to ``bytes_in * machine.read_j_per_byte + bytes_out * machine.write_j_per_byte``.
    """
    slow = machine.slow
    program = (slow.program_energy_j_per_byte + slow.erase_energy_j_per_byte) * slow.write_amplification
    return {
        "flash read": bytes_in * slow.read_energy_j_per_byte,
        "flash write": bytes_out * program,
        "link": (bytes_in + bytes_out) * machine.link.energy_j_per_byte,
        "fast side of transfers": (bytes_in + bytes_out) * machine.fast.energy_j_per_byte,
    }
