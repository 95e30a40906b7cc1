"""`plan`: Timeline -> Plan, with its prediction and its certificate.

1. Solve the whole problem as a linear programme (`solve`): its multipliers give the bound, its shares the replays.
2. Round the replays to rows and put them into the step (`choose_replays`, `insert_replays`).
3. Solve the placement of that step, round it to pages, schedule it (`realise`).

Out of time in 1: the same without recomputation, then largest first with what the computation alone proves. Later: largest
first, with the bound of 1. A write budget that rounding exceeds: again with a tighter one, then the plan of fewest writes.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InfeasibleError, TimeLimitError
from tmtrain.lower.replay import Replays, insert_replays, no_replays
from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan.bins import bin_edges
from tmtrain.plan.blocks import Blocks, StorageLife, find_blocks, storage_life
from tmtrain.plan.certificate import certify
from tmtrain.plan.greedy import largest_first
from tmtrain.plan.objective import Objective, make_objective
from tmtrain.plan.plan import Bound, Plan, Prediction
from tmtrain.plan.problem import Problem, build_problem
from tmtrain.plan.realise import Pace, realise
from tmtrain.plan.remaking import Remaking, find_remaking
from tmtrain.plan.replaying import choose_replays
from tmtrain.plan.solve import Limits, Placement, solve
from tmtrain.plan.wear import too_few_writes
from tmtrain.units import format_bytes

WRITE_SHARES = (1.0, 0.98, 0.9, 0.75)
"""Of a write budget: rounding to whole rows and pages may write more than planned, a tighter plan leaves room for that."""


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
        objective: "energy" (joules), "time" (seconds), "bytes" or "writes" (bytes) of one step, or a mix of them such as
            "energy:1,time:0.5" (`tmtrain.plan.objective`).
        recompute: Whether operators may run again; otherwise pages are kept or moved.
        write_budget_bytes: Most bytes written to flash per step.
        time_limit_s: Seconds that the solver may take for each programme. Where that is too short, the plan recomputes
            nothing, or is found without a solver; its certificate says what is proved then, and the gap is large but true.

    Raises:
        InputError: unknown objective.
        InfeasibleError: a slice touches more than the fast tier holds, or the write budget is too small.
        SolverError: the linear programme was not solved.
    """
    task = Task(
        timeline=timeline,
        machine=machine,
        problem=build_problem(timeline),
        objective=make_objective(objective, timeline=timeline, machine=machine),
        limits=Limits(write_budget_bytes=write_budget_bytes, time_limit_s=time_limit_s),
    )
    return _plan(task, find_options(timeline, task.problem) if recompute else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What may be recomputed in a step."""

    life: StorageLife
    blocks: Blocks
    remaking: Remaking


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be planned."""

    timeline: Timeline
    """Without replays."""
    machine: Machine
    problem: Problem
    objective: Objective
    limits: Limits

    def solve(self, remaking: Remaking | None, *, write_share: float = 1.0) -> Placement:
        """Solve its programme, with so much of the write budget."""
        return solve(
            self.problem, timeline=self.timeline, machine=self.machine, objective=self.objective, remaking=remaking,
            limits=self.limits.of(write_share),
        )  # fmt: skip


def _plan(task: Task, options: Options | None) -> Plan:
    """Prove, then plan; where time is short, for a smaller class and by simpler means."""
    limited = task.limits.write_budget_bytes is not None
    try:
        relaxed = task.solve(options.remaking if options else None)
    except TimeLimitError:
        return _plan(task, None) if options else _certified(task, _greedy(task), _trivial_bound(task), None)
    except InfeasibleError as error:
        raise _too_few_writes(task, _fewest_writes(task, options)) if limited else error from error
    try:
        made = _carry_out(task, options, relaxed)
    except TimeLimitError:
        made = _greedy(task)
    except InfeasibleError:
        if not limited:
            raise
        made = _fewest_writes(task, options)
        if not _keeps_budget(made, task):
            raise _too_few_writes(task, made) from None
    return _certified(task, made, relaxed.bound, options)


def _carry_out(task: Task, options: Options | None, relaxed: Placement) -> Plan:
    """Return the plan in whole rows and pages; what rounding writes beyond the budget is saved in another try."""
    failed: InfeasibleError | None = None
    for share in WRITE_SHARES if task.limits.write_budget_bytes is not None else (1.0,):
        placement = (
            relaxed if share == 1.0 else task.solve(options.remaking if options else None, write_share=share)
        )
        try:
            return _round(task, options, placement, write_share=share)
        except InfeasibleError as error:
            failed = error
    if options and task.limits.write_budget_bytes is None:  # a replay that does not fit into so little memory
        return _round(task, None, task.solve(None), write_share=1.0)
    raise failed or AssertionError("unreachable")


def _round(task: Task, options: Options | None, placement: Placement, *, write_share: float) -> Plan:
    timeline, machine, goal, problem = task.timeline, task.machine, task.objective, task.problem
    replays = no_replays()
    if options:
        replays = choose_replays(options.remaking, placement.shares, timeline=timeline, life=options.life)
        longer = insert_replays(timeline, replays, machine=machine)
        problem, goal = build_problem(longer), goal.computing(longer.slices, machine=machine)
        limits = task.limits.of(write_share)
        placement = solve(problem, timeline=longer, machine=machine, objective=goal, limits=limits)
    else:
        longer = timeline
    made = make_plan(
        problem, placement.moved, timeline=longer, machine=machine, objective=goal.name,
        # Where seconds are free, those of the programme are of no consequence, and of no use for a schedule.
        pace=placement.pace if goal.per_second else None, stall_s=placement.stall_s if goal.per_second else 0.0,
        replays=replays, replay_s=longer.compute_s - timeline.compute_s,
    )  # fmt: skip
    return _within_budget(made, task)


def _keeps_budget(made: Plan, task: Task) -> bool:
    budget = task.limits.write_budget_bytes
    return budget is None or made.prediction.bytes_out <= budget


def _within_budget(made: Plan, task: Task) -> Plan:
    if not _keeps_budget(made, task):
        raise InfeasibleError(
            f"the plan writes {format_bytes(made.prediction.bytes_out)}, more than its budget"
        )
    return made


def _fewest_writes(task: Task, options: Options | None) -> Plan:
    """Plan for writes alone: what keeps a write budget if anything that we find does."""
    goal = make_objective("writes", timeline=task.timeline, machine=task.machine)
    limits = Limits(time_limit_s=task.limits.time_limit_s)
    return replace(
        _plan(replace(task, objective=goal, limits=limits), options), objective=task.objective.name
    )


def _too_few_writes(task: Task, fewest: Plan) -> InfeasibleError:
    budget, proof = task.limits.write_budget_bytes, fewest.certificate
    assert budget is not None
    assert proof is not None
    return too_few_writes(
        budget, timeline=task.timeline, machine=task.machine, least_bytes=proof.bound.value,
        found_bytes=fewest.prediction.bytes_out,
    )  # fmt: skip


def _greedy(task: Task) -> Plan:
    """Plan without a solver, and promise nothing of what may overlap: the prediction errs to the slow side."""
    problem, timeline, machine = task.problem, task.timeline, task.machine
    moved = largest_first(problem, timeline)
    hoped = predict(problem, moved, timeline=timeline, machine=machine)
    alone_s = hoped.bytes_in / machine.read_bytes_per_s + hoped.bytes_out / machine.write_bytes_per_s
    name = task.objective.name
    made = make_plan(problem, moved, timeline=timeline, machine=machine, objective=name, stall_s=alone_s)
    return _within_budget(made, task)


def _trivial_bound(task: Task) -> Bound:
    """No plan is faster than its computation, which needs no solver to say."""
    compute_s = task.timeline.compute_s
    return Bound(
        value=task.objective.value(step_time_s=compute_s, bytes_in=0, bytes_out=0),
        multipliers={},
        capacity_price=np.zeros(len(task.timeline.slices)),
        edges=bin_edges(task.timeline),
    )


def _certified(task: Task, made: Plan, bound: Bound, options: Options | None) -> Plan:
    longer = insert_replays(task.timeline, made.replays, machine=task.machine)
    proof = certify(
        bound, made.prediction, objective=task.objective.computing(longer.slices, machine=task.machine),
        blocks=options.blocks if options else None, write_budget_bytes=task.limits.write_budget_bytes,
    )  # fmt: skip
    return replace(made, certificate=proof)


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
