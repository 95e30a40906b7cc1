"""`plan`: Timeline -> Plan, with its prediction and its certificate.

1. Solve the whole problem as a linear programme (`solve`): its multipliers give the bound, its shares the recomputations.
2. Round the recomputations to rows and put them into the step (`choose_recomputations`, `insert_recomputations`).
3. Solve the placement of that step, round it to pages, schedule it (`realise`).

There are two partitions into blocks to choose from: 1 is solved for both, and the one with the lesser bound goes on.

Out of time in 1: the same without recomputation, then largest first with what the computation alone proves. Later: largest
first, with the bound of 1. A write budget that rounding exceeds: again with a tighter one, then the plan of fewest writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InfeasibleError, TimeLimitError, TmtrainError
from tmtrain.lowering.recomputation import insert_recomputations, no_recomputations, positions_of_slices
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.parallel import in_parallel
from tmtrain.planning.placing.greedy import largest_first
from tmtrain.planning.placing.prediction import at_best, make_plan, predict
from tmtrain.planning.problem.objective import Objective, make_objective
from tmtrain.planning.problem.problem import Problem, build_problem
from tmtrain.planning.problem.wear import too_few_writes
from tmtrain.planning.programme.certificate import certify
from tmtrain.planning.programme.model import build_model
from tmtrain.planning.programme.solve import Limits, Placement, solve
from tmtrain.planning.programme.solve import bound_of as prove
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.choice import ROUNDINGS, Rounding, choose_recomputations
from tmtrain.planning.recomputation.partitions import Partition, find_options, options_of
from tmtrain.plans.plan import Bound, Plan
from tmtrain.units import format_bytes

WRITE_SHARES = (1.0, 0.98, 0.9, 0.75)
"""Of a write budget: rounding to whole rows and pages may write more than planned, a tighter plan leaves room for that."""
ROUNDS_WELL = 0.01
"""A plan this close to its bound is kept without looking at others."""


def plan(
    timeline: Timeline,
    *,
    machine: Machine,
    objective: str = "energy",
    recompute: bool = True,
    cuts: NDArray[np.int64] | None = None,
    write_budget_bytes: float | None = None,
    time_limit_s: float | None = None,
) -> Plan:
    """Compute what is kept, moved and recomputed at every moment of the step, for the least `objective`.

    Args:
        timeline: The step on `machine` with its fast capacity.
        machine: Rates and energies.
        objective: "energy" (joules), "time" (seconds), "bytes" or "writes" (bytes) of one step, or a mix of them such as
            "energy:1,time:0.5" (`tmtrain.planning.problem.objective`).
        recompute: Whether operators may run again; otherwise pages are kept or moved.
        cuts: The partition into blocks, where that is decided already (`Certificate.cuts` of a plan for the same step);
            otherwise two are tried.
        write_budget_bytes: Most bytes written to flash per step.
        time_limit_s: Seconds that the solver may take for each programme. Where that is too short, the pla recomputes
            nothing, or is found without a solver; its certificate says what is proved then, and the gap is large but true.

    Raises:
        InputError: unknown objective.
        InfeasibleError: a slice touches more than the fast tier holds, or the write budget is too small.
        SolverError: the linear programme was not solved.
    """
    limits = Limits(write_budget_bytes=write_budget_bytes, time_limit_s=time_limit_s)
    task = _task(timeline, machine=machine, objective=objective, limits=limits)
    if not recompute:
        return _plan(task, [None])
    if cuts is not None:
        return _plan(task, [options_of(cuts, timeline, task.problem)])
    return _plan(task, find_options(timeline, task.problem))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningTask:
    """What is to be planned."""

    timeline: Timeline
    """Without recomputations."""
    machine: Machine
    problem: Problem
    objective: Objective
    limits: Limits

    def solve(self, candidates: RecomputeCandidates | None, *, write_share: float = 1.0) -> Placement:
        """Solve its programme, with so much of the write budget."""
        return solve(
            self.problem, timeline=self.timeline, machine=self.machine, objective=self.objective, candidates=candidates,
            limits=self.limits.of(write_share),
        )  # fmt: skip


def _task(timeline: Timeline, *, machine: Machine, objective: str, limits: Limits) -> PlanningTask:
    goal = make_objective(objective, timeline=timeline, machine=machine)
    return PlanningTask(
        timeline=timeline, machine=machine, problem=build_problem(timeline), objective=goal, limits=limits
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClassProof:
    """A solved programme: what its class can at best do."""

    options: Partition | None
    """The partition whose recomputations it may use; None: keep and move only."""
    placement: Placement


def _plan(task: PlanningTask, choices: Sequence[Partition | None]) -> Plan:
    """Prove, then plan; where time is short, for a smaller class and by simpler means."""
    limited = task.limits.write_budget_bytes is not None
    try:
        proofs = _prove(task, choices)
    except TimeLimitError:
        return _certified(task, _greedy(task), _trivial_bound(task), None)
    except InfeasibleError as error:
        raise _too_few_writes(task, _fewest_writes(task, choices)) if limited else error from error
    try:
        return _best(task, proofs)
    except TimeLimitError:
        made = _greedy(task)
    except InfeasibleError:
        if not limited:
            raise
        made = _fewest_writes(task, choices)
        if not _keeps_budget(made, task):
            raise _too_few_writes(task, made) from None
    return _certified(task, made, proofs[0].placement.bound, proofs[0].options)


def _prove(task: PlanningTask, choices: Sequence[Partition | None]) -> list[_ClassProof]:
    """Solve the programme of each choice, for which there is time, or that without recomputation; least bound first."""
    proofs = [proof for proof in in_parallel(partial(_prove_one, task), choices) if proof]
    if not proofs:
        if None in choices:
            raise TimeLimitError("no programme was solved in time")
        return _prove(task, [None])
    return sorted(proofs, key=lambda proof: proof.placement.bound.value)


def _prove_one(task: PlanningTask, options: Partition | None) -> _ClassProof | None:
    """Return nothing where the time is too short."""
    try:
        return _ClassProof(options=options, placement=task.solve(options.candidates if options else None))
    except TimeLimitError:
        return None


def _best(task: PlanningTask, proofs: Sequence[_ClassProof]) -> Plan:
    """Round the most promising proof; where that costs more than `ROUNDS_WELL`, also the others, and moves alone."""
    made: list[Plan] = []
    failed: TmtrainError | None = None
    for proof in proofs:
        try:
            made.append(_certified(task, _carry_out(task, proof), proof.placement.bound, proof.options))
        except (InfeasibleError, TimeLimitError) as error:
            failed = error
        if made and made[0].certificate and made[0].certificate.gap <= ROUNDS_WELL:
            return made[0]
    if proofs[0].options:  # such plans are in every class
        try:
            moves = _carry_out(task, _ClassProof(options=None, placement=task.solve(None)))
            made.append(_certified(task, moves, proofs[0].placement.bound, proofs[0].options))
        except (InfeasibleError, TimeLimitError) as error:
            failed = failed or error
    if not made:
        raise failed or AssertionError("unreachable")
    return min(made, key=lambda plan: plan.certificate.value if plan.certificate else np.inf)


def _carry_out(task: PlanningTask, proof: _ClassProof) -> Plan:
    """Return the plan in whole rows and pages; what rounding writes beyond the budget is saved in another try."""
    failed: InfeasibleError | None = None
    candidates = proof.options.candidates if proof.options else None
    for share in WRITE_SHARES if task.limits.write_budget_bytes is not None else (1.0,):
        placement = proof.placement if share == 1.0 else task.solve(candidates, write_share=share)
        for rounding in ROUNDINGS if proof.options else ROUNDINGS[:1]:
            try:
                return _round(task, proof.options, placement, write_share=share, rounding=rounding)
            except InfeasibleError as error:
                failed = error
    raise failed or AssertionError("unreachable")


def _round(
    task: PlanningTask,
    options: Partition | None,
    placement: Placement,
    *,
    write_share: float,
    rounding: Rounding,
) -> Plan:
    timeline, machine, goal, problem = task.timeline, task.machine, task.objective, task.problem
    recomputations = no_recomputations()
    if options:
        recomputations = choose_recomputations(
            options.candidates, placement.shares, timeline=timeline, life=options.life, rounding=rounding
        )
        longer = insert_recomputations(timeline, recomputations, machine=machine)
        goal = goal.computing(longer.slices, machine=machine)
        problem = build_problem(longer)
        problem = problem.hold(_comes_back_early(problem, longer, task, options.candidates))
        limits = task.limits.of(write_share)
        placement = solve(problem, timeline=longer, machine=machine, objective=goal, limits=limits)
    else:
        longer = timeline
    made = make_plan(
        problem, placement.moved, timeline=longer, machine=machine, objective=goal.name,
        pace=placement.pace, stall_s=placement.stall_s, recomputations=recomputations, recompute_s=longer.compute_s - timeline.compute_s,
    )  # fmt: skip
    return _within_budget(made, task)


def _comes_back_early(
    problem: Problem, longer: Timeline, task: PlanningTask, candidates: RecomputeCandidates
) -> NDArray[np.bool_]:
    """Gaps between a recomputation and the use of what it made or read: the class keeps them (`tmtrain.planning.programme.certificate`, 3c)."""
    is_recomputation = np.ones(len(longer.slices), bool)
    is_recomputation[positions_of_slices(longer, of=task.timeline)] = False
    extent = problem.gaps.extent
    of_unit = np.isin(longer.extents.storage[extent], candidates.unit_storage)
    return is_recomputation[problem.gaps.start] & (of_unit | ~longer.extents.persistent[extent])


def _keeps_budget(made: Plan, task: PlanningTask) -> bool:
    budget = task.limits.write_budget_bytes
    return budget is None or made.prediction.bytes_out <= budget


def _within_budget(made: Plan, task: PlanningTask) -> Plan:
    if not _keeps_budget(made, task):
        raise InfeasibleError(
            f"the plan writes {format_bytes(made.prediction.bytes_out)}, more than its budget"
        )
    return made


def _fewest_writes(task: PlanningTask, choices: Sequence[Partition | None]) -> Plan:
    """Plan for writes alone: what keeps a write budget if anything that we find does."""
    goal = make_objective("writes", timeline=task.timeline, machine=task.machine)
    limits = Limits(time_limit_s=task.limits.time_limit_s)
    return replace(
        _plan(replace(task, objective=goal, limits=limits), choices), objective=task.objective.name
    )


def _too_few_writes(task: PlanningTask, fewest: Plan) -> InfeasibleError:
    budget, proof = task.limits.write_budget_bytes, fewest.certificate
    assert budget is not None
    assert proof is not None
    return too_few_writes(
        budget, timeline=task.timeline, machine=task.machine, least_bytes=proof.bound.value,
        found_bytes=fewest.prediction.bytes_out,
    )  # fmt: skip


def _greedy(task: PlanningTask) -> Plan:
    """Plan without a solver, and promise nothing of what may overlap: the prediction errs to the slow side."""
    problem, timeline, machine = task.problem, task.timeline, task.machine
    moved = largest_first(problem, timeline)
    hoped = predict(problem, moved, timeline=timeline, machine=machine)
    alone_s = hoped.bytes_in / machine.read_bytes_per_s + hoped.bytes_out / machine.write_bytes_per_s
    name = task.objective.name
    made = make_plan(problem, moved, timeline=timeline, machine=machine, objective=name, stall_s=alone_s)
    return _within_budget(made, task)


def _trivial_bound(task: PlanningTask) -> Bound:
    """No plan is faster than its computation: what multipliers of zero prove, which no solver has to find."""
    model = build_model(
        task.problem, timeline=task.timeline, machine=task.machine, objective=task.objective,
        write_budget_bytes=task.limits.write_budget_bytes,
    )  # fmt: skip
    return prove(model, np.zeros(model.programme.num_rows))


def _certified(task: PlanningTask, made: Plan, bound: Bound, options: Partition | None) -> Plan:
    longer = insert_recomputations(task.timeline, made.recomputations, machine=task.machine)
    goal = task.objective.computing(longer.slices, machine=task.machine)
    promised = at_best(made.prediction, bound, objective=goal, timeline=longer, machine=task.machine)
    proof = certify(
        bound, promised, objective=goal, blocks=options.blocks if options else None,
        write_budget_bytes=task.limits.write_budget_bytes,
    )  # fmt: skip
    return replace(made, prediction=promised, certificate=proof)


def bound_of(
    timeline: Timeline, *, machine: Machine, objective: str = "energy", recompute: bool = True
) -> Bound:
    """Return the lower bound on `objective` for every plan of the class, see `tmtrain.planning.programme.certificate`.

    Raises: as `plan`.
    """
    task = _task(timeline, machine=machine, objective=objective, limits=Limits())
    choices = find_options(timeline, task.problem) if recompute else [None]
    bounds = in_parallel(lambda options: task.solve(options.candidates if options else None).bound, choices)
    return min(bounds, key=lambda bound: bound.value)
