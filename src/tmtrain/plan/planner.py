"""`plan`: Timeline -> Plan, with its prediction and its certificate."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan.certificate import lower_bound
from tmtrain.plan.objective import Objective, make_objective
from tmtrain.plan.plan import Certificate, Plan, Prediction
from tmtrain.plan.problem import Problem, build_problem
from tmtrain.plan.realise import realise
from tmtrain.plan.solve import Prices, solve


def plan(timeline: Timeline, *, machine: Machine, objective: str = "energy") -> Plan:
    """Compute the placement of every page at every moment of the step that minimises `objective`.

    Args:
        timeline: The step on `machine` with its fast capacity.
        machine: Rates and energies.
        objective: "energy" (joules), "time" (seconds), "bytes" or "writes" (bytes) of one step.

    Raises:
        InputError: unknown objective.
        InfeasibleError: a slice touches more than the fast tier holds.
        SolverError: the linear programme was not solved.
    """
    goal = make_objective(objective, timeline=timeline, machine=machine)
    problem = build_problem(timeline)
    placement = solve(problem, timeline=timeline, machine=machine, objective=goal)
    made = make_plan(problem, placement.moved, timeline=timeline, machine=machine, objective=goal.name)
    proof = certify(
        problem, placement.prices, made.prediction, timeline=timeline, machine=machine, objective=goal
    )
    return replace(made, certificate=proof)


def lower_bound_of(timeline: Timeline, *, machine: Machine, objective: str) -> float:
    """Return the certified lower bound on `objective` for every policy in this setting, in the objective's unit.

    Raises: as `plan`.
    """
    goal = make_objective(objective, timeline=timeline, machine=machine)
    problem = build_problem(timeline)
    prices = solve(problem, timeline=timeline, machine=machine, objective=goal).prices
    return lower_bound(problem, prices, timeline=timeline, machine=machine, objective=goal)


def make_plan(
    problem: Problem, moved: NDArray[np.int64], *, timeline: Timeline, machine: Machine, objective: str
) -> Plan:
    """Turn a feasible placement, ours or a rival's, into a plan without certificate."""
    return Plan(
        trace_fingerprint=timeline.trace_fingerprint,
        machine=machine.name,
        fast_bytes=timeline.fast_bytes,
        objective=objective,
        transfers=realise(problem, moved, timeline=timeline, machine=machine),
        prediction=predict(problem, moved, timeline=timeline, machine=machine),
        certificate=None,
    )


def predict(
    problem: Problem, moved: NDArray[np.int64], *, timeline: Timeline, machine: Machine
) -> Prediction:
    """Predict one steady step of a placement that moves `moved[g]` pages in gap g."""
    gaps = problem.gaps
    written = np.zeros(problem.num_epochs, np.int64)
    dirty = gaps.epoch >= 0
    np.maximum.at(written, gaps.epoch[dirty], moved[dirty])
    bytes_in = int(moved.sum()) * timeline.page_bytes
    bytes_out = int(written.sum()) * timeline.page_bytes
    step_time_s = max(timeline.compute_s, channel_seconds(machine, bytes_in=bytes_in, bytes_out=bytes_out))
    energy = make_objective("energy", timeline=timeline, machine=machine)
    return Prediction(
        bytes_in=bytes_in,
        bytes_out=bytes_out,
        step_time_s=step_time_s,
        energy_j=energy.value(step_time_s=step_time_s, bytes_in=bytes_in, bytes_out=bytes_out),
    )


def channel_seconds(machine: Machine, *, bytes_in: int, bytes_out: int) -> float:
    """Return the seconds that the busiest of the read, the write and the shared channel needs."""
    return max(
        bytes_in / machine.read_bytes_per_s,
        bytes_out / machine.write_bytes_per_s,
        (bytes_in + bytes_out) / machine.shared_bytes_per_s,
    )


def certify(
    problem: Problem,
    prices: Prices,
    prediction: Prediction,
    *,
    timeline: Timeline,
    machine: Machine,
    objective: Objective,
) -> Certificate:
    """Bound the objective from below by `prices` and put the plan's own value beside it."""
    return Certificate(
        objective=objective.name,
        bound=lower_bound(problem, prices, timeline=timeline, machine=machine, objective=objective),
        value=objective.value(
            step_time_s=prediction.step_time_s,
            bytes_in=prediction.bytes_in,
            bytes_out=prediction.bytes_out,
        ),
        capacity_price=prices.capacity,
        read_price=prices.read,
        write_price=prices.write,
        shared_price=prices.shared,
    )
