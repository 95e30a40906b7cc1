"""Lead times: what a transfer takes before its page is gone, or back.

Note [Lead times]
    The programme counts a page as absent from the slice after one access to the slice of the next one. A drive answers
    late: what has just been made is there until it is written, and what is fetched takes up room from its command on. For a
    model whose layers take milliseconds that is nothing. In a step of microseconds it is everything: each slice waits for a
    drive that could have worked ahead.

    So pages are placed for a problem whose gaps are shorter by the latencies. A gap in which no slice is left is *exposed*:
    whoever moves pages in it waits. It costs extra, and is used where nothing else makes room. What must be absent is then
    less than it seems at some slices, so the placement is completed for the true gaps. Bounds are proved on the true gaps.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.planning.problem.problem import Problem

EXPOSED = 0.3
"""Of the read latency that an exposed gap is charged: neighbours share it, as a stretch of reads pays it once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadProblem:
    """A problem whose gaps are shorter by what their transfers take."""

    problem: Problem
    """The same gaps, in the same order."""
    extra_cost: NDArray[np.float64]
    """Of each page of each gap, in objective units: what an exposed gap makes everybody wait."""


def with_lead(
    problem: Problem, *, timeline: Timeline, machine: Machine, objective: Objective, factor: float
) -> LeadProblem:
    """Shorten the gaps of `problem` by `factor` times the latencies of the flash, see Note [Lead times].

    Args:
        problem: The gaps.
        timeline: For the time that its slices take.
        machine: For the latencies.
        objective: For the price of waiting.
        factor: 1: a transfer that nothing else holds up.
    """
    gaps, T = problem.gaps, problem.num_slices
    flash = machine.slow
    clock = np.concatenate([[0.0], np.cumsum(np.tile(timeline.slices.duration_s, 3))])
    start = gaps.start.astype(np.int64)
    end = np.where(gaps.end > gaps.start, gaps.end, gaps.end + T).astype(np.int64)
    # What was written just before the gap has to be written to flash first. What is older has been, or could have been.
    is_new = (gaps.epoch >= 0) & (gaps.last_write == gaps.start)
    gone = _slice_at(clock, clock[start + 1] + factor * flash.write_latency_s) - 1
    begin = np.where(is_new, gone, start)
    fetch = _slice_at(clock, clock[end] - factor * flash.read_latency_s)
    is_hidden = fetch - begin > 1
    begin, fetch = np.where(is_hidden, begin, start), np.where(is_hidden, fetch, end)
    short = replace(gaps, start=(begin % T).astype(np.int32), end=(fetch % T).astype(np.int32))
    shorter = replace(problem, gaps=short)
    waits = EXPOSED * objective.per_second * flash.read_latency_s / np.maximum(gaps.pages, 1)
    return LeadProblem(
        # Where even all gaps together make too little room, exposed ones have to.
        problem=replace(shorter, over_pages=np.minimum(problem.over_pages, shorter.absent_pages(gaps.pages))),
        extra_cost=np.where(is_hidden, 0.0, waits),
    )


def _slice_at(clock: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the slice that runs at each time."""
    return np.searchsorted(clock, seconds, side="right") - 1
