"""What a plan minimises, as prices: objective units per second of the step, per byte in, per byte out.

Note [Mixes]
    "energy:1,time:0.5" is a sum of objectives. Joules, seconds and bytes have no common unit, so each is first divided by
    its *reference*: what the step needs of it with fast memory for everything, without moving a byte. For energy and time
    that is the all-fast step (the standing power of all that memory included); for bytes and writes, of which it needs
    none, the footprint. A mix is a number without a unit: with weights that sum to 1, "1.2" is 20 % above all-fast.
    Prices are linear, so a mix of objectives is an objective, and the certificate bounds it like any other.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal, get_args

from tmtrain.errors import InputError
from tmtrain.lowering.energy import compute_energy_j, power_w
from tmtrain.lowering.timeline import Slices, Timeline
from tmtrain.machine import Machine
from tmtrain.plans.plan import Prediction

ObjectiveName = Literal["energy", "time", "bytes", "writes"]
NAMES: tuple[ObjectiveName, ...] = get_args(ObjectiveName)
_UNITS = {"energy": "J", "time": "s", "bytes": "B", "writes": "B"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One summand of an objective."""

    name: ObjectiveName
    factor: float
    """Objective units per joule, second or byte of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A weighted sum of the step's time and traffic, plus a constant."""

    name: str
    """As it was asked for: "energy", or "energy:1,time:0.5"."""
    unit: str
    """"J", "s" or "B"; "" for a mix."""
    terms: tuple[Term, ...]
    per_second: float
    per_byte_in: float
    per_byte_out: float
    per_joule: float
    """Price of a joule of computation, for what is recomputed."""
    constant: float
    """Paid by every policy: the energy of the computation itself."""

    def value(self, *, step_time_s: float, bytes_in: float, bytes_out: float) -> float:
        """Return the objective of a step that took so long and moved so much."""
        return (
            self.constant
            + self.per_second * step_time_s
            + self.per_byte_in * bytes_in
            + self.per_byte_out * bytes_out
        )

    def predicted(self, prediction: Prediction) -> float:
        """Return the objective of a step that is as foreseen."""
        return self.value(
            step_time_s=prediction.step_time_s, bytes_in=prediction.bytes_in, bytes_out=prediction.bytes_out
        )

    def measured(self, *, energy_j: float, step_time_s: float, bytes_in: float, bytes_out: float) -> float:
        """Return the objective of a step whose joules are known, of whatever machine."""
        amounts = {
            "energy": energy_j,
            "time": step_time_s,
            "bytes": bytes_in + bytes_out,
            "writes": bytes_out,
        }
        return sum(term.factor * amounts[term.name] for term in self.terms)

    def computing(self, slices: Slices, *, machine: Machine) -> "Objective":
        """Return the same prices for a step that computes `slices`: this one's, and what is recomputed."""
        return replace(self, constant=self.per_joule * compute_energy_j(slices, machine=machine))


def make_objective(text: str, *, timeline: Timeline, machine: Machine) -> Objective:
    """Price time and bytes for an objective or a mix of them, see Note [Mixes].

    Args:
        text: "energy", "time", "bytes", "writes", or weights such as "energy:1,time:0.5".
        timeline: The step without recomputations: the references of a mix are its own.
        machine: Energies and powers.

    Raises:
        InputError: no such objective, or weights that make no sense.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> mix = make_objective("energy:1,time:0.5", timeline=example_timeline(), machine=load_machine("v4-slc"))
    >>> mix.name, mix.unit
    ('energy:1,time:0.5', '')
    """
    weights = parse_objective(text)
    if text in NAMES:
        terms, unit = (Term(name=text, factor=1.0),), _UNITS[text]
    else:
        needs = references(timeline, machine=machine)
        terms = tuple(Term(name=name, factor=weight / needs[name]) for name, weight in weights.items())
        unit = ""
    factor = dict.fromkeys(NAMES, 0.0) | {term.name: term.factor for term in terms}
    joule, byte = factor["energy"], factor["bytes"]
    return Objective(
        name=text,
        unit=unit,
        terms=terms,
        per_second=joule * power_w(machine, fast_bytes=timeline.fast_bytes) + factor["time"],
        per_byte_in=joule * machine.read_j_per_byte + byte,
        per_byte_out=joule * machine.write_j_per_byte + byte + factor["writes"],
        per_joule=joule,
        constant=joule * compute_energy_j(timeline.slices, machine=machine),
    )


def references(timeline: Timeline, *, machine: Machine) -> dict[ObjectiveName, float]:
    """Return what an all-fast step without moving needs of each objective, see Note [Mixes].

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> references(example_timeline(), machine=load_machine("v4-slc"))["bytes"]
    28676.0
    """
    footprint, seconds = timeline.footprint_bytes, timeline.compute_s
    standing_j = power_w(machine, fast_bytes=footprint) * seconds
    return {
        "energy": compute_energy_j(timeline.slices, machine=machine) + standing_j,
        "time": seconds,
        "bytes": float(footprint),
        "writes": float(footprint),
    }


def parse_objective(text: str) -> dict[ObjectiveName, float]:
    """Read the name of an objective, or a mix, as weights.

    Raises:
        InputError: says which part cannot be used, and what can.

    >>> parse_objective("time"), parse_objective("energy:1,time:0.5")
    ({'time': 1.0}, {'energy': 1.0, 'time': 0.5})
    """
    weights: dict[ObjectiveName, float] = {}
    for part in text.split(","):
        written, colon, number = part.partition(":")
        name: ObjectiveName | None = next((one for one in NAMES if one == written.strip()), None)
        if name is None:
            known = f"{', '.join(NAMES)}, or a mix such as energy:1,time:0.5"
            raise InputError(f"unknown objective {written.strip()!r}: choose one of {known}")
        if name in weights:
            raise InputError(f"objective {text!r} names {name} twice: give it one weight")
        weights[name] = _weight(number if colon else "1", part=part)
    if not any(weights.values()):
        raise InputError(f"all weights of objective {text!r} are 0: there is nothing to minimise")
    return weights


def check_objective(text: str) -> None:
    """Refuse what is neither an objective nor a mix.

    Raises:
        InputError: as `parse_objective`.
    """
    parse_objective(text)


def _weight(text: str, *, part: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise InputError(
            f"{part.strip()!r} has no weight: write a number of at least 0 behind the colon, e.g. time:0.5"
        )
    return weight
