"""An NPU with fast memory and flash, its constants, and the closed forms of its parts. Knows no step and no torch."""

from tmtrain.machine.arrays import matrix_cycles, matrix_seconds, sram_bytes
from tmtrain.machine.calibration import Calibration, read_calibration
from tmtrain.machine.constants.constant import Constant
from tmtrain.machine.constants.load import describe_machine, load_machine
from tmtrain.machine.constants.sheet import DEFAULT_MACHINE, list_machines
from tmtrain.machine.constants.vary import value_of, with_constant
from tmtrain.machine.fast_memory import fast_seconds, with_whole_stacks
from tmtrain.machine.machine import (
    Compute,
    Dataflow,
    FastTier,
    FlashParts,
    Fusion,
    Link,
    Machine,
    Paging,
    Price,
    SlowTier,
    WeightLoad,
)
from tmtrain.machine.upkeep import lifetime_s, memory_cost_usd, wear_usd

__all__ = [
    "DEFAULT_MACHINE",
    "Calibration",
    "Compute",
    "Constant",
    "Dataflow",
    "FastTier",
    "FlashParts",
    "Fusion",
    "Link",
    "Machine",
    "Paging",
    "Price",
    "SlowTier",
    "WeightLoad",
    "describe_machine",
    "fast_seconds",
    "lifetime_s",
    "list_machines",
    "load_machine",
    "matrix_cycles",
    "matrix_seconds",
    "memory_cost_usd",
    "read_calibration",
    "sram_bytes",
    "value_of",
    "wear_usd",
    "with_constant",
    "with_whole_stacks",
]
