"""`flash`: a device of channels, dies and planes, run event by event."""

from tmtrain.simulation.flash.closed_forms import Estimate, Lifetime, estimate_flash, flash_lifetime
from tmtrain.simulation.flash.device import (
    Commands,
    Endurance,
    Energies,
    FlashDevice,
    Geometry,
    HostLink,
    Layout,
    Timing,
    Translation,
)
from tmtrain.simulation.flash.requests import RequestKind, Requests, concatenate, make_requests
from tmtrain.simulation.flash.result import FlashOutcome, FlashResult, Latency, Operations, Waiting
from tmtrain.simulation.flash.simulate import simulate_flash

__all__ = [
    "Commands",
    "Endurance",
    "Energies",
    "Estimate",
    "FlashDevice",
    "FlashOutcome",
    "FlashResult",
    "Geometry",
    "HostLink",
    "Latency",
    "Layout",
    "Lifetime",
    "Operations",
    "RequestKind",
    "Requests",
    "Timing",
    "Translation",
    "Waiting",
    "concatenate",
    "estimate_flash",
    "flash_lifetime",
    "make_requests",
    "simulate_flash",
]
