"""`propose`: Timeline -> Plans, each with its prediction and its certificate.

1. Solve the whole problem as a linear programme (`solve`): its multipliers give the bound, its shares the recomputations.
2. Round the recomputations to rows and put them into the step (`choose_recomputations`, `insert_recomputations`).
3. Solve the placement of that step, round it to pages, schedule it (`realise`).

There are two partitions into recompute blocks to choose from. 1 is solved for both, and the one with the lesser bound goes
on.

Note [Rungs]
    Two things can fail: the time limit of a programme, and a write budget. The planner then steps down, one rung at a time,
    and what is proved already is kept:

    - out of time in 1 with recomputation: 1 without it, a smaller programme (`_prove`);
    - out of time there too: largest first, with the bound that the computation alone proves (`_proposals`);
    - out of time in 3: largest first, with the bound of 1;
    - rounding writes more than the budget: the other rounding, then again for a tighter budget (`_carry_out`);
    - still more: the plan of fewest writes, with the bound of 1;
    - more even so, or infeasible in 1: an error that names the smallest budget we can keep.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InfeasibleError, TimeLimitError, TmtrainError
from tmtrain.lowering.recomputation import (
    Recomputations,
    insert_recomputations,
    no_recomputations,
    positions_of_slices,
)
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
from tmtrain.planning.recomputation.partitions import Partition, find_partitions, partition_at
from tmtrain.plans.plan import Bound, Plan
from tmtrain.units import format_bytes

WRITE_SHARES = (1.0, 0.98, 0.9, 0.75)
"""Of a write budget: rounding to whole rows and pages may write more than planned, a tighter plan leaves room for that."""


def propose(
    timeline: Timeline,
    *,
    machine: Machine,
    objective: str = "energy",
    recompute: bool = True,
    cuts: NDArray[np.int64] | None = None,
    write_budget_bytes: float | None = None,
    time_limit_s: float | None = None,
) -> Iterator[Plan]:
    """Yield plans with their certificates, the most promising first; each further one costs as much again.

    What they need is predicted, not measured: `tmtrain.policies.ours` runs them on the engine and chooses.

    Args:
        timeline: The step on `machine` with its fast capacity.
        machine: Rates and energies.
        objective: "energy" (joules), "time" (seconds), "bytes" or "writes" (bytes) of one step, or a mix of them such as
            "energy:1,time:0.5" (`tmtrain.planning.problem.objective`).
        recompute: Whether operators may run again; otherwise pages are kept or moved.
        cuts: The partition into recompute blocks, where that is decided already (`Certificate.cuts` of a plan for the same
            step); otherwise two are tried.
        write_budget_bytes: Most bytes written to flash per step.
        time_limit_s: Seconds that the solver may take for each programme. Where that is too short, the plan recomputes
            nothing, or is found without a solver; its certificate says what is proved then, and the optimality gap is
            wide but true.

    Raises:
        InputError: unknown objective.
        InfeasibleError: a slice touches more than the fast tier holds, or the write budget is too small.
        SolverError: the linear programme was not solved.
    """
    limits = Limits(write_budget_bytes=write_budget_bytes, time_limit_s=time_limit_s)
    task = _task(timeline, machine=machine, objective=objective, limits=limits)
    if not recompute:
        return _proposals(task, [None])
    if cuts is not None:
        return _proposals(task, [partition_at(cuts, timeline, task.problem)])
    return _proposals(task, find_partitions(timeline, task.problem))


def bound_of(
    timeline: Timeline, *, machine: Machine, objective: str = "energy", recompute: bool = True
) -> Bound:
    """Return the lower bound on `objective` for every plan of the class, see `tmtrain.planning.programme.certificate`.

    Raises: as `plan`.
    """
    task = _task(timeline, machine=machine, objective=objective, limits=Limits())
    choices = find_partitions(timeline, task.problem) if recompute else [None]
    bounds = in_parallel(lambda partition: task.solve(_candidates(partition)).bound, choices)
    return min(bounds, key=lambda bound: bound.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningTask:
    """What is to be planned."""

    timeline: Timeline
    """Without recomputations."""
    machine: Machine
    problem: Problem
    objective: Objective
    limits: Limits

    @property
    def has_write_budget(self) -> bool:
        """Whether writes are limited."""
        return self.limits.write_budget_bytes is not None

    def solve(self, candidates: RecomputeCandidates | None, *, write_share: float = 1.0) -> Placement:
        """Solve its programme, with so much of the write budget."""
        return solve(
            self.problem,
            timeline=self.timeline,
            machine=self.machine,
            objective=self.objective,
            candidates=candidates,
            limits=self.limits.of(write_share),
        )

    def keeps_budget(self, plan: Plan) -> bool:
        """Whether `plan` writes no more than it may."""
        budget = self.limits.write_budget_bytes
        return budget is None or plan.prediction.bytes_out <= budget


def _task(timeline: Timeline, *, machine: Machine, objective: str, limits: Limits) -> PlanningTask:
    goal = make_objective(objective, timeline=timeline, machine=machine)
    return PlanningTask(
        timeline=timeline, machine=machine, problem=build_problem(timeline), objective=goal, limits=limits
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClassProof:
    """A solved programme: what its class can at best do."""

    partition: Partition | None
    """Whose recomputations it may use; None: keep and move only."""
    placement: Placement


def _candidates(partition: Partition | None) -> RecomputeCandidates | None:
    return partition.candidates if partition else None


def _proposals(task: PlanningTask, choices: Sequence[Partition | None]) -> Iterator[Plan]:
    """Prove, then plan; where that fails, step down: Note [Rungs]."""
    try:
        proofs = _prove(task, choices)
    except TimeLimitError:
        # Nothing is solved, so nothing is proved but what needs no solver.
        yield _certified(task, _greedy(task), _trivial_bound(task), None)
        return
    except InfeasibleError as error:
        # A step whose slices all fit has a plan. Only a write budget can rule out all plans of a class.
        if not task.has_write_budget:
            raise
        raise _too_few_writes(task, _fewest_writes(task, choices)) from error
    try:
        yield from _rounded(task, proofs)
    except TimeLimitError:
        fallback = _greedy(task)
    except InfeasibleError:
        if not task.has_write_budget:
            raise
        # The class may have plans within the budget that rounding does not find: try the one that writes least.
        fallback = _fewest_writes(task, choices)
        if not task.keeps_budget(fallback):
            raise _too_few_writes(task, fallback) from None
    else:
        return
    # The bound was proved before anything failed: it holds for whatever plan we end up with.
    yield _certified(task, fallback, proofs[0].placement.bound, proofs[0].partition)


def _prove(task: PlanningTask, choices: Sequence[Partition | None]) -> list[_ClassProof]:
    """Solve the programme of each choice, for which there is time, or that without recomputation; least bound first."""
    proofs = [proof for proof in in_parallel(partial(_prove_one, task), choices) if proof]
    if not proofs:
        if None in choices:
            raise TimeLimitError("no programme was solved in time", time_limit_s=task.limits.time_limit_s)
        # The programme without recomputation is a fraction of the size, so it may yet be solved.
        return _prove(task, [None])
    return sorted(proofs, key=lambda proof: proof.placement.bound.value)


def _prove_one(task: PlanningTask, partition: Partition | None) -> _ClassProof | None:
    """Return nothing where the time is too short."""
    try:
        return _ClassProof(partition=partition, placement=task.solve(_candidates(partition)))
    except TimeLimitError:
        return None


def _rounded(task: PlanningTask, proofs: Sequence[_ClassProof]) -> Iterator[Plan]:
    """Round the most promising proof, then the others, then moves alone; raise where none can be rounded."""
    failures: list[TmtrainError] = []
    any_yet = False
    for proof in proofs:
        try:
            plan = _certified(task, _carry_out(task, proof), proof.placement.bound, proof.partition)
        except (InfeasibleError, TimeLimitError) as error:
            failures.append(error)  # another proof may do
            continue
        any_yet = True
        yield plan
    if proofs[0].partition:
        # Plans without recomputation are in every class, so the best proof bounds them too. Where they fail as well, why
        # the plans before them did says more.
        with suppress(InfeasibleError, TimeLimitError):
            moves = _carry_out(task, _ClassProof(partition=None, placement=task.solve(None)))
            plan = _certified(task, moves, proofs[0].placement.bound, proofs[0].partition)
            any_yet = True
            yield plan
    if not any_yet:
        raise failures[-1]


def _carry_out(task: PlanningTask, proof: _ClassProof) -> Plan:
    """Return the plan in whole rows and pages; what rounding writes beyond the budget is saved in another try.

    Raises:
        InfeasibleError: no rounding keeps the write budget.
    """
    failures: list[InfeasibleError] = []
    for share in WRITE_SHARES if task.has_write_budget else (1.0,):
        # The whole budget is what the proof was solved for: its placement is at hand.
        placement = (
            proof.placement if share == 1.0 else task.solve(_candidates(proof.partition), write_share=share)
        )
        for rounding in ROUNDINGS if proof.partition else ROUNDINGS[:1]:
            try:
                return _round(task, proof.partition, placement, write_share=share, rounding=rounding)
            except InfeasibleError as error:
                failures.append(error)
    raise failures[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _RoundedStep:
    """A step whose recomputations are decided, and its placement."""

    recomputations: Recomputations
    timeline: Timeline
    """With them in it."""
    problem: Problem
    objective: Objective
    placement: Placement


def _round(
    task: PlanningTask,
    partition: Partition | None,
    placement: Placement,
    *,
    write_share: float,
    rounding: Rounding,
) -> Plan:
    if partition:
        step = _with_recomputations(task, partition, placement, write_share=write_share, rounding=rounding)
    else:
        step = _RoundedStep(
            recomputations=no_recomputations(),
            timeline=task.timeline,
            problem=task.problem,
            objective=task.objective,
            placement=placement,
        )
    plan = make_plan(
        step.problem,
        step.placement.moved,
        timeline=step.timeline,
        machine=task.machine,
        objective=step.objective.name,
        pace=step.placement.pace,
        stall_s=step.placement.stall_s,
        recomputations=step.recomputations,
        recompute_s=step.timeline.compute_s - task.timeline.compute_s,
    )
    return _within_budget(plan, task)


def _with_recomputations(
    task: PlanningTask,
    partition: Partition,
    placement: Placement,
    *,
    write_share: float,
    rounding: Rounding,
) -> _RoundedStep:
    """Round the shares to rows, and place the step that has them anew: its gaps are others than those of the proof."""
    recomputations = choose_recomputations(
        partition.candidates,
        placement.shares,
        timeline=task.timeline,
        life=partition.life,
        rounding=rounding,
    )
    longer_step = insert_recomputations(task.timeline, recomputations, machine=task.machine)
    objective = task.objective.computing(longer_step.slices, machine=task.machine)
    problem = build_problem(longer_step)
    problem = problem.hold(_comes_back_early(problem, longer_step, task, partition.candidates))
    return _RoundedStep(
        recomputations=recomputations,
        timeline=longer_step,
        problem=problem,
        objective=objective,
        placement=solve(
            problem,
            timeline=longer_step,
            machine=task.machine,
            objective=objective,
            limits=task.limits.of(write_share),
        ),
    )


def _comes_back_early(
    problem: Problem, longer_step: Timeline, task: PlanningTask, candidates: RecomputeCandidates
) -> NDArray[np.bool_]:
    """Mark gaps between a recomputation and the use of what it made or read.

    The class keeps them (`tmtrain.planning.programme.certificate`, 3c): a bound says nothing of plans that move them.
    """
    is_recomputation = np.ones(len(longer_step.slices), bool)
    is_recomputation[positions_of_slices(longer_step, of=task.timeline)] = False
    extent = problem.gaps.extent
    of_unit = np.isin(longer_step.extents.storage[extent], candidates.storages)
    return is_recomputation[problem.gaps.start] & (of_unit | ~longer_step.extents.persistent[extent])


def _within_budget(plan: Plan, task: PlanningTask) -> Plan:
    if not task.keeps_budget(plan):
        raise InfeasibleError(
            f"the plan writes {format_bytes(plan.prediction.bytes_out)}, more than its budget",
            limit="writes",
            needed_bytes=plan.prediction.bytes_out,
            capacity_bytes=int(task.limits.write_budget_bytes or 0),
        )
    return plan


def _fewest_writes(task: PlanningTask, choices: Sequence[Partition | None]) -> Plan:
    """Plan for writes alone: what keeps a write budget if anything that we find does."""
    goal = make_objective("writes", timeline=task.timeline, machine=task.machine)
    limits = Limits(time_limit_s=task.limits.time_limit_s)
    proposals = _proposals(replace(task, objective=goal, limits=limits), choices)
    return replace(
        min(proposals, key=lambda plan: plan.prediction.bytes_out), objective=task.objective.name
    )


def _too_few_writes(task: PlanningTask, fewest: Plan) -> InfeasibleError:
    budget, proof = task.limits.write_budget_bytes, fewest.certificate
    assert budget is not None
    assert proof is not None
    return too_few_writes(
        budget,
        timeline=task.timeline,
        machine=task.machine,
        least_bytes=proof.bound.value,
        found_bytes=fewest.prediction.bytes_out,
    )


def _greedy(task: PlanningTask) -> Plan:
    """Plan without a solver, and promise nothing of what may overlap: the prediction errs to the slow side."""
    problem, timeline, machine = task.problem, task.timeline, task.machine
    moved = largest_first(problem, timeline)
    hoped = predict(problem, moved, timeline=timeline, machine=machine)
    alone_s = hoped.bytes_in / machine.read_bytes_per_s + hoped.bytes_out / machine.write_bytes_per_s
    name = task.objective.name
    plan = make_plan(problem, moved, timeline=timeline, machine=machine, objective=name, stall_s=alone_s)
    return _within_budget(plan, task)


def _trivial_bound(task: PlanningTask) -> Bound:
    """No plan is faster than its computation: what multipliers of zero prove, which no solver has to find."""
    model = build_model(
        task.problem,
        timeline=task.timeline,
        machine=task.machine,
        objective=task.objective,
        write_budget_bytes=task.limits.write_budget_bytes,
    )
    return prove(model, np.zeros(model.programme.num_rows))


def _certified(task: PlanningTask, plan: Plan, bound: Bound, partition: Partition | None) -> Plan:
    longer_step = insert_recomputations(task.timeline, plan.recomputations, machine=task.machine)
    goal = task.objective.computing(longer_step.slices, machine=task.machine)
    promised = at_best(plan.prediction, bound, objective=goal, timeline=longer_step, machine=task.machine)
    proof = certify(
        bound,
        promised,
        objective=goal,
        blocks=partition.blocks if partition else None,
        write_budget_bytes=task.limits.write_budget_bytes,
    )
    return replace(plan, prediction=promised, certificate=proof)
