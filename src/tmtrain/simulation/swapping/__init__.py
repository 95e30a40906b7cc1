"""What steps write to flash and read from it, on the flash device event by event: wear, time, energy."""

from tmtrain.simulation.swapping.device import flash_device, join, joinable
from tmtrain.simulation.swapping.groups import death_groups
from tmtrain.simulation.swapping.serve import serve_steps
from tmtrain.simulation.swapping.served import Served, ServedPace, Wear
from tmtrain.simulation.swapping.swaps import Copies, Swaps, swaps_of
from tmtrain.simulation.swapping.workload import Workload, make_workload

__all__ = [
    "Copies",
    "Served",
    "ServedPace",
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
