"""What a second, a byte and a joule cost under each objective.

A mix such as ``energy:1,time:0.5`` is a sum of objectives, each divided by what the step needs of it with fast memory for
everything: its joules (standing power of that memory included), its seconds, its footprint in bytes.
"""

from dataclasses import dataclass
from math import isfinite

from tmtrain.errors import InputError
from tmtrain.lowering.energy import compute_energy_j, power_w
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine

OBJECTIVES = ("energy", "time", "bytes", "writes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Objective units (joules, seconds or bytes of one step; none for a mix) per unit of each cause."""

    second: float
    byte_in: float
    byte_out: float
    joule: float
    """Of computation."""


def prices_of(objective: str, timeline: Timeline, *, machine: Machine) -> Prices:
    """Return the prices of an objective.

    Args:
        objective: One of `OBJECTIVES`, or a mix of them.
        timeline: The step without recomputations.
        machine: Powers and energies.

    Raises:
        InputError: there is no such objective.

    >>> from tmtrain.checking.example import example_step
    >>> from tmtrain.machine import load_machine
    >>> prices_of("time", example_step(), machine=load_machine("v4-slc")).second
    1.0
    """
    weights = _weights(objective)
    if objective not in OBJECTIVES:
        needs = _all_fast(timeline, machine)
        weights = {name: weight / needs[name] for name, weight in weights.items()}
    joule, second, byte, write = (weights.get(name, 0.0) for name in OBJECTIVES)
    return Prices(
        second=joule * power_w(machine, fast_bytes=timeline.fast_bytes) + second,
        byte_in=joule * machine.read_j_per_byte + byte,
        byte_out=joule * machine.write_j_per_byte + byte + write,
        joule=joule,
    )


def computing(prices: Prices, timeline: Timeline, *, machine: Machine) -> float:
    """Return what the computation itself costs, but for its seconds."""
    return prices.joule * compute_energy_j(timeline.slices, machine=machine)


def _weights(objective: str) -> dict[str, float]:
    weights: dict[str, float] = {}
    for part in objective.split(","):
        name, _, number = part.strip().partition(":")
        if name not in OBJECTIVES or name in weights:
            raise InputError(f"there is no objective {objective!r}")
        try:
            weights[name] = float(number or "1")
        except ValueError:
            raise InputError(f"objective {objective!r} has a weight that is no number") from None
        if not (isfinite(weights[name]) and weights[name] >= 0):
            raise InputError(f"objective {objective!r} has a weight that is negative or not finite")
    return weights


def _all_fast(timeline: Timeline, machine: Machine) -> dict[str, float]:
    seconds, footprint = timeline.compute_s, timeline.footprint_bytes
    standing_j = power_w(machine, fast_bytes=footprint) * seconds
    return {
        "energy": compute_energy_j(timeline.slices, machine=machine) + standing_j,
        "time": seconds,
        "bytes": float(footprint),
        "writes": float(footprint),
    }
