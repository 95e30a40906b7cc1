"""What the simulator says of the step that a real run recorded."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tmtrain.cli.decision import simulate_plan
from tmtrain.lowering.recomputation import positions_of_slices

if TYPE_CHECKING:
    from tmtrain.runtime.following.planned_step import PlannedStep


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedStep:
    """What the simulator says of a recorded step with its plan, on the measured drive."""

    step_time_s: float
    bytes_in: int
    bytes_out: int
    """With what is written of dead content, because the program still holds it."""


def simulated_step(planned_step: "PlannedStep") -> SimulatedStep:
    """Simulate the recorded step under its plan."""
    from tmtrain.runtime.following.held import held_bytes_out

    step = simulate_plan(planned_step.plan, planned_step.timeline, machine=planned_step.machine)
    series = step.result.series
    taken_bytes = series.resident_bytes.sum(axis=1) + series.in_flight_bytes
    # The recorded step has no recomputations in it: only its own slices are asked what dead content takes.
    own_slices = positions_of_slices(step.decision.timeline, of=planned_step.timeline)
    held = held_bytes_out(planned_step, taken_bytes=taken_bytes[own_slices])
    return SimulatedStep(
        step_time_s=step.result.step_time_s,
        bytes_in=step.result.bytes_in,
        bytes_out=step.result.bytes_out + held,
    )
