"""`plan`: Timeline -> Plan, with its prediction and its certificate.

1. Solve the whole problem as a linear programme (`solve`): its multipliers give the bound, its shares the replays.
2. Round the replays to rows and put them into the step (`choose_replays`, `insert_replays`).
3. Solve the placement of that step, round it to pages, schedule it (`realise`).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.lower.replay import Replays, insert_replays, no_replays
from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan.blocks import Blocks, StorageLife, find_blocks, storage_life
from tmtrain.plan.certificate import certify
from tmtrain.plan.objective import make_objective
from tmtrain.plan.plan import Bound, Plan, Prediction
from tmtrain.plan.problem import Problem, build_problem
from tmtrain.plan.realise import Pace, realise
from tmtrain.plan.remaking import Remaking, find_remaking
from tmtrain.plan.replaying import choose_replays
from tmtrain.plan.solve import Limits, solve


def plan(
    timeline: Timeline,
    *,
    machine: Machine,
    objective: str = "energy",
    recompute: bool = True,
    write_budget_bytes: float | None = None,
    time_limit_s: float | None = None,
) -> Plan:
    """Compute what is kept, moved and recomputed at every moment of the step, for the least `objective`.

    Args:
        timeline: The step on `machine` with its fast capacity.
        machine: Rates and energies.
        objective: "energy" (joules), "time" (seconds), "bytes" or "writes" (bytes) of one step.
        recompute: Whether operators may run again; otherwise pages are kept or moved.
        write_budget_bytes: Most bytes written to flash per step.
        time_limit_s: Seconds that the solver may take.

    Raises:
        InputError: unknown objective.
        InfeasibleError: a slice touches more than the fast tier holds, or the write budget is too small.
        SolverError: the linear programme was not solved.
    """
    goal = make_objective(objective, timeline=timeline, machine=machine)
    limits = Limits(write_budget_bytes=write_budget_bytes, time_limit_s=time_limit_s)
    problem = build_problem(timeline)
    options = find_options(timeline, problem) if recompute else None
    remaking = options.remaking if options else None
    first = solve(
        problem, timeline=timeline, machine=machine, objective=goal, remaking=remaking, limits=limits
    )
    replays = (
        choose_replays(options.remaking, first.shares, timeline=timeline, life=options.life)
        if options
        else no_replays()
    )
    longer, placement = timeline, first
    if len(replays):
        longer = insert_replays(timeline, replays, machine=machine)
        problem, goal = build_problem(longer), make_objective(objective, timeline=longer, machine=machine)
        placement = solve(problem, timeline=longer, machine=machine, objective=goal, limits=limits)
    elif options:
        placement = solve(problem, timeline=timeline, machine=machine, objective=goal, limits=limits)
    made = make_plan(
        problem, placement.moved, timeline=longer, machine=machine, objective=goal.name, pace=placement.pace,
        stall_s=placement.stall_s, replays=replays, replay_s=longer.compute_s - timeline.compute_s,
    )  # fmt: skip
    proof = certify(
        first.bound, made.prediction, objective=goal, blocks=options.blocks if options else None,
        write_budget_bytes=write_budget_bytes,
    )  # fmt: skip
    return replace(made, certificate=proof)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be recomputed in a step."""

    life: StorageLife
    blocks: Blocks
    remaking: Remaking


def find_options(timeline: Timeline, problem: Problem) -> Options:
    """Find the blocks of a step and what may be made again in them."""
    life = storage_life(timeline)
    blocks = find_blocks(timeline, life)
    return Options(
        life=life, blocks=blocks, remaking=find_remaking(timeline, problem, life=life, blocks=blocks)
    )


def bound_of(
    timeline: Timeline, *, machine: Machine, objective: str = "energy", recompute: bool = True
) -> Bound:
    """Return the lower bound on `objective` for every plan of the class, see `tmtrain.plan.certificate`.

    Raises: as `plan`.
    """
    goal = make_objective(objective, timeline=timeline, machine=machine)
    problem = build_problem(timeline)
    remaking = find_options(timeline, problem).remaking if recompute else None
    return solve(problem, timeline=timeline, machine=machine, objective=goal, remaking=remaking).bound


def make_plan(
    problem: Problem,
    moved: NDArray[np.int64],
    *,
    timeline: Timeline,
    machine: Machine,
    objective: str,
    pace: Pace | None = None,
    stall_s: float = 0.0,
    replays: Replays | None = None,
    replay_s: float = 0.0,
) -> Plan:
    """Turn a feasible placement, ours or a rival's, into a plan without certificate.

    Args:
        problem: The gaps of `timeline`.
        moved: Whole pages per gap.
        timeline: The step, with the replays in it.
        machine: Rates and energies.
        objective: What the placement is good for.
        pace: How the link was planned.
        stall_s: Seconds of waiting foreseen.
        replays: What was put into the step.
        replay_s: Seconds of them.
    """
    return Plan(
        trace_fingerprint=timeline.trace_fingerprint,
        machine=machine.name,
        fast_bytes=timeline.fast_bytes,
        objective=objective,
        replays=no_replays() if replays is None else replays,
        transfers=realise(problem, moved, timeline=timeline, machine=machine, pace=pace),
        prediction=predict(
            problem, moved, timeline=timeline, machine=machine, stall_s=stall_s, replay_s=replay_s
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
    replay_s: float = 0.0,
) -> Prediction:
    """Predict one steady step of a placement that moves `moved[g]` pages in gap g and waits `stall_s` seconds."""
    gaps = problem.gaps
    written = np.zeros(problem.num_epochs, np.int64)
    dirty = gaps.epoch >= 0
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
        replay_s=replay_s,
    )


def channel_seconds(machine: Machine, *, bytes_in: int, bytes_out: int) -> float:
    """Return the seconds that the busiest of the read, the write and the shared channel needs."""
    return max(
        bytes_in / machine.read_bytes_per_s,
        bytes_out / machine.write_bytes_per_s,
        (bytes_in + bytes_out) / machine.shared_bytes_per_s,
    )
