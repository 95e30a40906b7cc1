"""R_q: the share of each recomputation that runs, its cost, and what it makes and reads ([Rows])."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.cost import slice_work
from tmtrain.lowering.energy import work_energy_j
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.programme.formulation.scale import PricedStep
from tmtrain.planning.programme.formulation.stretches import ColumnStretch, stretch
from tmtrain.planning.programme.formulation.units import UnitFamily
from tmtrain.planning.programme.programme import Programme
from tmtrain.planning.recomputation.candidates import RecomputeCandidates


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputationFamily:
    """R_q."""

    columns: NDArray[np.int64]
    seconds: NDArray[np.float64]
    """Of each recomputation, if all of it runs."""
    points: NDArray[np.int64]
    """Slice before which it runs."""
    absence: ColumnStretch


def add_recomputations(
    programme: Programme,
    units: UnitFamily,
    candidates: RecomputeCandidates,
    step: PricedStep,
) -> RecomputationFamily:
    """Add R_q and its rows; what can never run has an upper bound of 0."""
    seconds, joules = recompute_costs(step.timeline, step.machine, candidates)
    numbers = range(len(candidates.recomputations))
    columns = programme.add_columns(
        "recomputed",
        len(seconds),
        upper=np.array([q not in candidates.impossible for q in numbers], np.float64),
        cost=step.objective.per_second * seconds + step.objective.per_joule * joules,
    )
    absence = _add_results(programme, units, columns, candidates)
    _add_reads(programme, units, columns, candidates)
    points = [recomputation.point for recomputation in candidates.recomputations]
    return RecomputationFamily(
        columns=columns, seconds=seconds, points=np.array(points, np.int64), absence=absence
    )


def recompute_costs(
    timeline: Timeline, machine: Machine, candidates: RecomputeCandidates
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the seconds and joules of each recomputation, were it one uncut piece of its producer's operators."""
    producers, count = timeline.producers, len(timeline.producers.op)
    if not count:
        return np.zeros(0), np.zeros(0)
    work = slice_work(producers.loads, machine, share=np.ones(count), dims=np.ones((count, 4)))
    joules = work_energy_j(work, machine=machine)
    producer = np.array([q.producer for q in candidates.recomputations], np.int64)
    share = np.array([q.rows.share for q in candidates.recomputations], np.float64)
    first = producers.op_ptr[:-1]
    return (
        np.add.reduceat(work.duration_s, first)[producer] * share,
        np.add.reduceat(joules, first)[producer] * share,
    )


def _add_results(
    programme: Programme, units: UnitFamily, columns: NDArray[np.int64], candidates: RecomputeCandidates
) -> ColumnStretch:
    """R_q size <= A_u of what it makes; return when these pages are absent all the same."""
    results = candidates.results
    q = columns[np.array([result.recomputation for result in results], np.int64)]
    u = np.array([result.unit for result in results], np.int64)
    size = units.sizes[u]
    rows = programme.add_rows("makes", len(results), lower=0.0, upper=np.inf)
    programme.put(rows, units.stays[u], 1.0)
    programme.put(rows, q, -size)
    start = np.array([unit.start for unit in candidates.units], np.int64)
    point = np.array([unit.points[0] for unit in candidates.units], np.int64)
    # A row that is recomputed is away from the last use on; A_u counts it as kept.
    return stretch(q, start[u] + 1, point[u], factor=size)


def _add_reads(
    programme: Programme, units: UnitFamily, columns: NDArray[np.int64], candidates: RecomputeCandidates
) -> None:
    """R_q <= P_uj of its inputs, R_q <= R_q' of those that q' makes."""
    rows = programme.add_rows("reads", len(candidates.stored_reads), lower=0.0, upper=np.inf)
    for row, read in zip(rows.tolist(), candidates.stored_reads, strict=True):
        programme.put(row, columns[read.reader], -1.0)
        for part in read.parts:
            there = units.stays[part.unit] + 1 + part.point
            programme.put(row, there, part.share / units.sizes[part.unit])
    readers = np.array([read.reader for read in candidates.chained_reads], np.int64)
    sources = np.array([read.source for read in candidates.chained_reads], np.int64)
    rows = programme.add_rows("chains", len(readers), lower=0.0, upper=np.inf)
    programme.put(rows, columns[sources], 1.0)
    programme.put(rows, columns[readers], -1.0)
