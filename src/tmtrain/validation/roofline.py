"""What work that is counted by hand takes on a machine, by the same closed forms as those of `tmtrain.lowering.cost`.

Published measurements are of whole programs. So one number, the same for every model and machine, accounts for all that the
closed forms leave out: Note [Efficiency].

Note [Efficiency]: products take 1/0.70 of their systolic time. The number is calibrated on a single measurement, Megatron
175B with full recomputation on A100s, and nothing else is calibrated. But the other seven times of that paper were known
when what a layer does was written down. Single large products reach 0.869 there (ml-engineering, "max achievable matmul").
The rest is lost to thread blocks that do not divide the result, and to a clock under the power limit in a long run
(assumed, not separated).
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.machine import Machine, matrix_seconds, sram_bytes
from tmtrain.machine.arrays import Products
from tmtrain.machine.arrays.traffic import OPERAND_BYTES

EFFICIENCY = 0.70
"""Note [Efficiency]."""


def product_seconds(products: Products, *, machine: Machine, moved_bytes: float | None = None) -> float:
    """Return the seconds of `products` one after the other: each its matrix or its fast-memory time, whichever is longer.

    Args:
        products: bf16.
        machine: For rates.
        moved_bytes: Of each; by default every operand once.
    """
    matrix_s = matrix_seconds(compute=machine.compute, **products.sizes) / EFFICIENCY
    moved = operand_bytes(products) if moved_bytes is None else moved_bytes
    return float(np.maximum(matrix_s, moved / fast_bytes_per_s(machine)).sum())


def fast_bytes_per_s(machine: Machine) -> float:
    """Return the achieved rate of fast memory."""
    return machine.fast.bandwidth_bytes_per_s * machine.fast.efficiency


def work_joules(products: Products, *, machine: Machine, moved_bytes: float) -> float:
    """Return the joules of `products` and of moving `moved_bytes` in all, without what the machine draws anyway."""
    compute = machine.compute
    return (
        float(products.flops.sum()) * compute.matrix_energy_j_per_flop
        + float(sram_bytes(compute=compute, **products.sizes).sum()) * compute.sram_energy_j_per_byte
        + moved_bytes * machine.fast.energy_j_per_byte
    )


def operand_bytes(products: Products) -> NDArray[np.int64]:
    """Return the bytes of each product with every operand once."""
    p = products
    return OPERAND_BYTES * p.batch * (p.m * p.k + p.k * p.n + p.m * p.n)
