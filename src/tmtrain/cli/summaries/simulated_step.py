"""What the simulator says of the step that a real run recorded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tmtrain.lowering.recomputation import places_of_slices
from tmtrain.policies import follow
from tmtrain.simulation import simulate

if TYPE_CHECKING:
    from tmtrain.runtime.following.planned_step import PlannedStep


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStep:
    """What the simulator says of a route on the measured drive."""

    step_time_s: float
    bytes_in: int
    bytes_out: int
    """With what dead content writes that the program still holds."""


def simulated_step(planned_step: "PlannedStep") -> SimulatedStep:
    """Simulate the recorded step under its plan."""
    from tmtrain.runtime.following.held import held_bytes_out

    decision = follow(planned_step.plan, planned_step.timeline, machine=planned_step.machine)
    result = simulate(decision, machine=planned_step.machine, policy="tmtrain")
    taken = result.series.resident_bytes.sum(axis=1) + result.series.in_flight_bytes
    place = places_of_slices(decision.timeline, of=planned_step.timeline)
    held = held_bytes_out(planned_step, taken_bytes=taken[place])
    return SimulatedStep(
        step_time_s=result.step_time_s, bytes_in=result.bytes_in, bytes_out=result.bytes_out + held
    )
