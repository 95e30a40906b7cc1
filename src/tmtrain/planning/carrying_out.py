"""From the solved programme to a plan in whole rows and pages."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InfeasibleError
from tmtrain.lowering.recomputation import (
    Recomputations,
    insert_recomputations,
    no_recomputations,
    positions_of_slices,
)
from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.placing.lead import with_lead
from tmtrain.planning.placing.prediction import make_plan
from tmtrain.planning.problem.objective import Objective
from tmtrain.planning.problem.problem import Problem, build_problem
from tmtrain.planning.programme.rounding import to_whole_pages
from tmtrain.planning.programme.solve import Placement, solve
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.choice import ROUNDINGS, Rounding, choose_recomputations
from tmtrain.planning.recomputation.partitions import Partition
from tmtrain.planning.task import PlanningTask
from tmtrain.plans.plan import Plan
from tmtrain.units import format_bytes

WRITE_SHARES = (1.0, 0.98, 0.9, 0.75)
"""Of a write budget: rounding to whole rows and pages may write more than planned, a tighter plan leaves room for that."""


def carry_out(
    task: PlanningTask, partition: Partition | None, placement: Placement | None, *, lead: float
) -> Plan:
    """Return the plan in whole rows and pages; what rounding writes beyond the budget is saved in another try.

    Args:
        task: What is planned.
        partition: Whose recomputations may be used; None: keep and move only.
        placement: Of the programme with them; None: it is not solved yet.
        lead: Factor of Note [Lead times]; 0: none.

    Raises:
        InfeasibleError: no rounding keeps the write budget.
    """
    failures: list[InfeasibleError] = []
    for share in WRITE_SHARES if task.has_write_budget else (1.0,):
        way = _Way(lead=lead, write_share=share)
        shares = _find_shares(task, partition, placement, way)
        for rounding in ROUNDINGS if partition else ROUNDINGS[:1]:
            try:
                return _round(task, partition, shares, way=way, rounding=rounding)
            except InfeasibleError as error:
                failures.append(error)
    raise failures[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How the pages of a rounded step are placed."""

    lead: float
    write_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _RoundedStep:
    """A step whose recomputations are decided."""

    recomputations: Recomputations
    timeline: Timeline
    """With them in it."""
    problem: Problem
    objective: Objective


def _find_shares(
    task: PlanningTask, partition: Partition | None, placement: Placement | None, way: _Way
) -> Placement | None:
    """Return what the programme without leads says; nothing where only the one with leads is asked."""
    if placement and way.write_share == 1.0:
        # The whole budget is what the proof was solved for: its placement is at hand.
        return placement
    if partition is None and way.lead:
        return None
    return task.solve(partition.candidates if partition else None, write_share=way.write_share)


def _round(
    task: PlanningTask,
    partition: Partition | None,
    placement: Placement | None,
    *,
    way: _Way,
    rounding: Rounding,
) -> Plan:
    if partition:
        assert placement is not None, "recomputations are rounded from shares"
        step = _with_recomputations(task, partition, placement, rounding=rounding)
        placement = _place(task, step, way)
    else:
        step = _RoundedStep(
            recomputations=no_recomputations(),
            timeline=task.timeline,
            problem=task.problem,
            objective=task.objective,
        )
        placement = placement if placement and not way.lead else _place(task, step, way)
    plan = make_plan(
        step.problem,
        placement.moved,
        timeline=step.timeline,
        machine=task.machine,
        objective=step.objective.name,
        pace=placement.pace,
        stall_s=placement.stall_s,
        recomputations=step.recomputations,
        recompute_s=step.timeline.compute_s - task.timeline.compute_s,
    )
    return within_budget(plan, task)


def _with_recomputations(
    task: PlanningTask, partition: Partition, placement: Placement, *, rounding: Rounding
) -> _RoundedStep:
    """Round the shares to rows, and put what they recompute into the step: its gaps are others than those of the proof."""
    recomputations = choose_recomputations(
        partition.candidates,
        placement.shares,
        timeline=task.timeline,
        life=partition.life,
        rounding=rounding,
    )
    longer_step = insert_recomputations(task.timeline, recomputations, machine=task.machine)
    problem = build_problem(longer_step)
    return _RoundedStep(
        recomputations=recomputations,
        timeline=longer_step,
        problem=problem.hold(_comes_back_early(problem, longer_step, task, partition.candidates)),
        objective=task.objective.computing(longer_step.slices, machine=task.machine),
    )


def _place(task: PlanningTask, step: _RoundedStep, way: _Way) -> Placement:
    """Place the pages of a rounded step, with what their transfers take before and after: Note [Lead times]."""
    timeline, machine, objective = step.timeline, task.machine, step.objective
    short = with_lead(step.problem, timeline=timeline, machine=machine, objective=objective, factor=way.lead)
    placement = solve(
        short.problem,
        timeline=timeline,
        machine=machine,
        objective=objective,
        limits=task.limits.of(way.write_share),
        extra_cost=short.extra_cost,
    )
    return replace(placement, moved=to_whole_pages(step.problem, placement.moved.astype(np.float64)))


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


def within_budget(plan: Plan, task: PlanningTask) -> Plan:
    """Return `plan`, if it writes no more than it may.

    Raises:
        InfeasibleError: it writes more.
    """
    if not task.keeps_budget(plan):
        raise InfeasibleError(
            f"the plan writes {format_bytes(plan.prediction.bytes_out)}, more than its budget",
            limit="writes",
            needed_bytes=plan.prediction.bytes_out,
            capacity_bytes=int(task.limits.write_budget_bytes or 0),
        )
    return plan
