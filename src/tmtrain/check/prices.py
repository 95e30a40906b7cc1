"""What a second, a byte and a joule cost under each objective."""

from dataclasses import dataclass

from tmtrain.lower.energy import compute_energy_j, power_w
from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Objective units (joules, seconds or bytes of one step) per unit of each cause."""

    second: float
    byte_in: float
    byte_out: float
    joule: float
    """Of computation."""


_BYTES = Prices(second=0.0, byte_in=1.0, byte_out=1.0, joule=0.0)
_WRITES = Prices(second=0.0, byte_in=0.0, byte_out=1.0, joule=0.0)
_TIME = Prices(second=1.0, byte_in=0.0, byte_out=0.0, joule=0.0)
OBJECTIVES = ("energy", "time", "bytes", "writes")


def prices_of(objective: str, *, machine: Machine, fast_bytes: int) -> Prices:
    """Return the prices of one of `OBJECTIVES`.

    >>> from tmtrain.machine import load_machine
    >>> prices_of("time", machine=load_machine("v4-slc"), fast_bytes=0).second
    1.0
    """
    if objective == "energy":
        return Prices(
            second=power_w(machine, fast_bytes=fast_bytes),
            byte_in=machine.read_j_per_byte,
            byte_out=machine.write_j_per_byte,
            joule=1.0,
        )
    return {"time": _TIME, "bytes": _BYTES, "writes": _WRITES}[objective]


def computing(prices: Prices, timeline: Timeline, *, machine: Machine) -> float:
    """Return what the computation itself costs, but for its seconds."""
    return prices.joule * compute_energy_j(timeline.slices, machine=machine)
