"""What a Result needed of an objective: the one number that policies are ranked by."""

from tmtrain.planning.problem.objective import Objective
from tmtrain.simulation.result import Result


def objective_of(result: Result, objective: Objective) -> float:
    """Return what `result` needed of `objective`, in its unit."""
    return objective.measured(
        energy_j=result.energy_j,
        step_time_s=result.step_time_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
    )
