"""`flash`: a device of channels, dies and planes, run event by event."""

from tmtrain.simulate.flash.closed_forms import Estimate, Lifetime, estimate_flash, flash_lifetime
from tmtrain.simulate.flash.device import (
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
from tmtrain.simulate.flash.requests import RequestKind, Requests, concatenate, make_requests
from tmtrain.simulate.flash.result import FlashResult, Latency, Operations, Outcome, Waiting
from tmtrain.simulate.flash.simulate import simulate_flash

__all__ = [
    "Commands",
    "Endurance",
    "Energies",
    "Estimate",
    "FlashDevice",
    "FlashResult",
    "Geometry",
    "HostLink",
    "Latency",
    "Layout",
    "Lifetime",
    "Operations",
    "Outcome",
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
