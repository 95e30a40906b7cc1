"""What a placement promises: the prediction of one steady step, and the plan that carries the placement out."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.recomputation import Recomputations, no_recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.placing.realise import realise
from tmtrain.planning.problem.objective import Objective, make_objective
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.programme.pace import Pace
from tmtrain.plans.plan import Bound, Plan, Prediction, Transfers


def make_plan(
    problem: Problem,
    moved: NDArray[np.int64],
    *,
    timeline: Timeline,
    machine: Machine,
    objective: str,
    pace: Pace | None = None,
    stall_s: float = 0.0,
    recomputations: Recomputations | None = None,
    recompute_s: float = 0.0,
    transfers: Transfers | None = None,
) -> Plan:
    """Turn a feasible placement, ours or a rival's, into a plan without a certificate.

    Args:
        problem: The gaps of `timeline`.
        moved: Whole pages per gap.
        timeline: The step, with the recomputations in it.
        machine: Rates and energies.
        objective: What the placement is good for.
        pace: How the link was planned.
        stall_s: Seconds of waiting that the planner foresees.
        recomputations: What was put into the step.
        recompute_s: Seconds that they take.
        transfers: The placement as a rival schedules it; by default it is scheduled like ours.
    """
    if transfers is None:
        transfers = realise(problem, moved, timeline=timeline, machine=machine, pace=pace)
    return Plan(
        trace_fingerprint=timeline.trace_fingerprint,
        machine=timeline.machine,
        machine_fingerprint=timeline.machine_fingerprint,
        fast_bytes=timeline.fast_bytes,
        objective=objective,
        recomputations=no_recomputations() if recomputations is None else recomputations,
        transfers=transfers,
        prediction=predict(
            problem, moved, timeline=timeline, machine=machine, stall_s=stall_s, recompute_s=recompute_s
        ),
        certificate=None,
    )


def predict(
    problem: Problem,
    moved: NDArray[np.int64],
    *,
    timeline: Timeline,
    machine: Machine,
    stall_s: float = 0.0,
    recompute_s: float = 0.0,
) -> Prediction:
    """Predict one steady step of a placement that moves `moved[g]` pages in gap g and waits `stall_s` seconds."""
    gaps = problem.gaps
    written = np.zeros(problem.num_epochs, np.int64)
    dirty = gaps.epoch >= 0
    # What leaves an extent is its front, so of all gaps of an epoch the one that moves most says how much is written.
    np.maximum.at(written, gaps.epoch[dirty], moved[dirty])
    bytes_in = int(moved.sum()) * timeline.page_bytes
    bytes_out = int(written.sum()) * timeline.page_bytes
    busy_s = channel_seconds(machine, bytes_in=bytes_in, bytes_out=bytes_out)
    step_time_s = max(timeline.compute_s + stall_s, busy_s)
    energy = make_objective("energy", timeline=timeline, machine=machine)
    return Prediction(
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        step_time_s=step_time_s,
        energy_j=energy.value(step_time_s=step_time_s, bytes_in=bytes_in, bytes_out=bytes_out),
        recompute_s=recompute_s,
    )


def at_best(
    prediction: Prediction, bound: Bound, *, objective: Objective, timeline: Timeline, machine: Machine
) -> Prediction:
    """Return the prediction, slower where it promises more than the bound allows.

    Waiting is foreseen bin by bin: what the slices inside a bin wait for one another is not in it.

    Args:
        prediction: Of a plan of the bound's class.
        bound: On the objective.
        objective: With the computation of the step as it runs.
        timeline: For its energy.
        machine: Likewise.
    """
    short = bound.value - objective.predicted(prediction)
    if short <= 0 or not objective.per_second:
        return prediction
    more_s = short / objective.per_second
    watts = make_objective("energy", timeline=timeline, machine=machine).per_second
    return replace(
        prediction,
        step_time_s=prediction.step_time_s + more_s,
        energy_j=prediction.energy_j + watts * more_s,
    )


def channel_seconds(machine: Machine, *, bytes_in: int, bytes_out: int) -> float:
    """Return the seconds that the busiest of the read, the write and the shared channel needs."""
    return max(
        bytes_in / machine.read_bytes_per_s,
        bytes_out / machine.write_bytes_per_s,
        (bytes_in + bytes_out) / machine.shared_bytes_per_s,
    )
