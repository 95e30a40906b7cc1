"""What steps write to flash and read from it, on the flash device event by event: wear, time, energy."""

from tmtrain.simulate.swapping.device import flash_device, join, joinable
from tmtrain.simulate.swapping.groups import death_groups
from tmtrain.simulate.swapping.serve import serve_steps
from tmtrain.simulate.swapping.served import Pace, Served, Wear
from tmtrain.simulate.swapping.swaps import Copies, Swaps, swaps_of
from tmtrain.simulate.swapping.workload import Workload, make_workload

__all__ = [
    "Copies",
    "Pace",
    "Served",
    "Swaps",
    "Wear",
    "Workload",
    "death_groups",
    "flash_device",
    "join",
    "joinable",
    "make_workload",
    "serve_steps",
    "swaps_of",
]
