"""What a plan minimises, as prices: objective units per second of the step, per byte in, per byte out."""

from dataclasses import dataclass
from typing import Literal, get_args

from tmtrain.errors import InputError
from tmtrain.lower.energy import compute_energy_j, power_w
from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine

ObjectiveName = Literal["energy", "time", "bytes", "writes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A weighted sum of the step's time and traffic, plus a constant.

    Units are joules for "energy", seconds for "time", bytes for "bytes" and "writes".
    """

    name: ObjectiveName
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


def make_objective(name: str, *, timeline: Timeline, machine: Machine) -> Objective:
    """Price time and bytes for the objective called `name`.

    Raises:
        InputError: no such objective.
    """
    check_objective(name)
    if name == "energy":
        return Objective(
            name="energy",
            per_second=power_w(machine, fast_bytes=timeline.fast_bytes),
            per_byte_in=machine.read_j_per_byte,
            per_byte_out=machine.write_j_per_byte,
            per_joule=1.0,
            constant=compute_energy_j(timeline.slices, machine=machine),
        )
    if name == "time":
        return Objective(
            name="time", per_second=1.0, per_byte_in=0.0, per_byte_out=0.0, per_joule=0.0, constant=0.0
        )
    if name == "bytes":
        return Objective(
            name="bytes", per_second=0.0, per_byte_in=1.0, per_byte_out=1.0, per_joule=0.0, constant=0.0
        )
    return Objective(
        name="writes", per_second=0.0, per_byte_in=0.0, per_byte_out=1.0, per_joule=0.0, constant=0.0
    )


def check_objective(name: str) -> None:
    """Refuse a name that is no objective.

    Raises:
        InputError: lists the objectives.
    """
    if name not in get_args(ObjectiveName):
        raise InputError(f"unknown objective {name!r}: choose one of {', '.join(get_args(ObjectiveName))}")
