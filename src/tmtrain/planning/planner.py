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
    - rounding writes more than the budget: the other rounding, then again for a tighter budget (`carry_out`);
    - still more: the plan of fewest writes, with the bound of 1;
    - more even so, or infeasible in 1: an error that names the smallest budget we can keep.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InfeasibleError, TimeLimitError, TmtrainError
from tmtrain.lowering.recomputation import insert_recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.carrying_out import carry_out, within_budget
from tmtrain.planning.parallel import in_parallel
from tmtrain.planning.placing.greedy import largest_first
from tmtrain.planning.placing.prediction import at_best, make_plan, predict
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.problem.wear import too_few_writes
from tmtrain.planning.programme.certificate import certify
from tmtrain.planning.programme.model import build_model
from tmtrain.planning.programme.solve import Limits, Placement
from tmtrain.planning.programme.solve import bound_of as prove
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.partitions import Partition, find_partitions, partition_at
from tmtrain.planning.task import PlanningTask, make_task
from tmtrain.plans.plan import Bound, Plan

LEADS = (1.0, 1.5, 2.0, 0.0)
"""Factors of Note [Lead times] that are worth trying, the most promising first. Where seconds are free there is one: 0."""
DEAR = 0.0025
"""Where a plan is predicted to need so much more than its bound, its leads may be what costs: next comes one without."""


def propose(
    timeline: Timeline,
    *,
    machine: Machine,
    objective: str = "energy",
    recompute: bool = True,
    cuts: NDArray[np.int64] | None = None,
    write_budget_bytes: float | None = None,
    time_limit_s: float | None = None,
    hopeless: Callable[[Bound], bool] = lambda _: False,
) -> Iterator[Plan]:
    """Yield plans with their certificates, the most promising first; each further one costs as much again.

    What they need is predicted, not measured: `tmtrain.policies.ours` runs them on the engine and chooses.

    Arguments are those of `tmtrain.plan`, which says what they mean. One more, `hopeless`, is asked of a bound before
    plans of its class are made: whether none of them is wanted any more.

    Raises:
        InputError: unknown objective.
        InfeasibleError: a slice touches more than the fast tier holds, or the write budget is too small.
        SolverError: the linear programme was not solved.
    """
    limits = Limits(write_budget_bytes=write_budget_bytes, time_limit_s=time_limit_s)
    task = make_task(timeline, machine=machine, objective=objective, limits=limits)
    if not recompute:
        return _proposals(task, [None], hopeless)
    if cuts is not None:
        return _proposals(task, [partition_at(cuts, timeline, task.problem)], hopeless)
    return _proposals(task, find_partitions(timeline, task.problem), hopeless)


def bound_of(
    timeline: Timeline, *, machine: Machine, objective: str = "energy", recompute: bool = True
) -> Bound:
    """Return the lower bound on `objective` for every plan of the class, see `tmtrain.planning.programme.certificate`.

    Raises: as `plan`.
    """
    task = make_task(timeline, machine=machine, objective=objective, limits=Limits())
    choices = find_partitions(timeline, task.problem) if recompute else [None]
    bounds = in_parallel(lambda partition: task.solve(_candidates(partition)).bound, choices)
    return min(bounds, key=lambda bound: bound.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ClassProof:
    """A solved programme: what its class can at best do."""

    partition: Partition | None
    """Whose recomputations it may use; None: keep and move only."""
    placement: Placement


def _candidates(partition: Partition | None) -> RecomputeCandidates | None:
    return partition.candidates if partition else None


def _proposals(
    task: PlanningTask,
    choices: Sequence[Partition | None],
    hopeless: Callable[[Bound], bool] = lambda _: False,
) -> Iterator[Plan]:
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
        yield from _rounded(task, proofs, hopeless)
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


def _rounded(
    task: PlanningTask, proofs: Sequence[_ClassProof], hopeless: Callable[[Bound], bool]
) -> Iterator[Plan]:
    """Round every proof, and moves alone, with every lead; raise where nothing can be rounded."""
    # Plans without recomputation are in every class, so the best proof bounds them too.
    best = proofs[0]
    ways = [(proof, proof.partition, proof.placement) for proof in proofs]
    ways += [(best, None, None)] if best.partition else []
    tries = deque(product(LEADS if task.leads_matter else (0.0,), ways))
    failures: list[TmtrainError] = []
    any_yet = False
    while tries:
        lead, (proof, partition, placement) = tries.popleft()
        bound = proof.placement.bound
        if any_yet and hopeless(bound):
            continue
        try:
            plan = carry_out(task, partition, placement, lead=lead)
        except (InfeasibleError, TimeLimitError) as error:
            failures.append(error)  # another way may do
            continue
        plan = _certified(task, plan, bound, proof.partition)
        if not any_yet and _is_dear(plan):
            tries = deque(sorted(tries, key=lambda way: way[0] > 0 or way[1] is not ways[0]))
        any_yet = True
        yield plan
    if not any_yet:
        # Why the most promising way failed says most.
        raise failures[0]


def _fewest_writes(task: PlanningTask, choices: Sequence[Partition | None]) -> Plan:
    """Plan for writes alone: what keeps a write budget if anything that we find does."""
    goal = make_objective("writes", timeline=task.timeline, machine=task.machine)
    limits = Limits(time_limit_s=task.limits.time_limit_s)
    proposals = _proposals(replace(task, objective=goal, limits=limits), choices)
    return replace(min(proposals, key=lambda plan: plan.prediction.bytes_out), objective=task.objective.name)


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
    return within_budget(plan, task)


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


def _is_dear(plan: Plan) -> bool:
    assert plan.certificate is not None
    return plan.certificate.predicted > plan.certificate.bound.value * (1 + DEAR)
