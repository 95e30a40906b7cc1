"""Swap the tensors with the most time between two uses, triggered by accesses.

Source: Capuchin (Peng et al., ASPLOS 2020). A first, passive iteration swaps on demand and measures when each tensor is
accessed. Of every pair of consecutive accesses of a tensor, the free time FT runs from the end of a swap-out begun at the
first (evicted-access) to the start of a swap-in that ends at the second (back-access). Pairs that span the peak of memory
are swapped by decreasing FT, those without overhead first, until enough is saved. A tensor leaves after its evicted-access;
its swap-in is triggered by the access (in-trigger) just before the swap-in has to start, and 5 % of its time earlier in
each iteration in which it came late. One swap at a time per direction.

Swap only: the paper weighs the swaps with overhead against recomputation (MSPS); this does not recompute, so read its
results as those of Capuchin's swapping. Simplified: instead of tensor by tensor, triggers are moved for all alike, by the
multiples of the swap time in `LEADS`, of which the fastest counts; and instead of being kept out of the peak by rule,
swap-ins wait for room. In its favour: enough is saved when every slice fits; what is swapped on demand all the same, as in
the passive iteration, is what is used furthest in the future; dead tensors leave for free. Granularity: extents.
"""

from bisect import bisect_left

import numpy as np
from numpy.typing import NDArray

from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan.problem import Gaps, Problem, build_problem
from tmtrain.policies.policy import Decision, Knowledge, Policy
from tmtrain.policies.scheduled import Schedule, ScheduledPager, empty_schedule

LEADS = (1.0, 2.0, 4.0, 16.0)
"""Swap-ins are triggered so many times their own time ahead."""


class Capuchin(Policy):
    """Swap by free time."""

    name = "capuchin"

    def __init__(self, *, lead: float = LEADS[0]) -> None:
        self._lead = lead

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Choose the pairs and schedule their swaps."""
        problem = build_problem(timeline)
        clock = np.concatenate([[0.0], np.cumsum(np.tile(timeline.slices.duration_s, 2))])
        chosen = problem.gaps.of(swapped(problem, timeline, machine=machine, clock=clock))
        in_s = chosen.pages * timeline.page_bytes / machine.read_bytes_per_s
        pager = ScheduledPager(timeline, schedule=_schedule(chosen, self._lead * in_s, clock))
        return Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, pager=pager)

    def variants(self) -> tuple[Policy, ...]:
        """Where its feedback may end: how far ahead swap-ins are triggered."""
        return tuple(Capuchin(lead=lead) for lead in LEADS)


def swapped(
    problem: Problem, timeline: Timeline, *, machine: Machine, clock: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which gaps are swapped: by decreasing free time, the fewest with which every slice fits.

    Args:
        problem: Of `timeline`.
        timeline: The step.
        machine: Its rates.
        clock: Start of each slice over two steps, were everything resident.
    """
    gaps = problem.gaps
    size = gaps.pages * timeline.page_bytes
    free_s = clock[_back(gaps, problem.num_slices)] - clock[gaps.start + 1]
    free_s -= size / machine.read_bytes_per_s + size / machine.write_bytes_per_s
    order = np.argsort(-free_s, kind="stable")
    order = order[_spans_peak(problem)[order]]

    def first(count: int) -> NDArray[np.bool_]:
        return np.isin(np.arange(len(gaps)), order[:count])

    # Feasibility is monotone in how many are swapped, so bisect.
    fewest = bisect_left(
        range(len(order)), True, key=lambda count: problem.fits(np.where(first(count), gaps.pages, 0))
    )
    return first(fewest)


def _back(gaps: Gaps, num_slices: int) -> NDArray[np.int64]:
    """Slice of the back-access, counted on into the next step."""
    end = gaps.end.astype(np.int64)
    return np.where(end > gaps.start, end, end + num_slices)


def _spans_peak(problem: Problem) -> NDArray[np.bool_]:
    """Gaps that contain a slice that does not fit."""
    over = np.concatenate([[0], np.cumsum(np.tile(problem.over_pages > 0, 2))])
    return over[_back(problem.gaps, problem.num_slices)] > over[problem.gaps.start + 1]


def _schedule(gaps: Gaps, lead_s: NDArray[np.float64], clock: NDArray[np.float64]) -> Schedule:
    T = len(clock) // 2
    back = _back(gaps, T)
    trigger = np.searchsorted(clock, clock[back] - lead_s, side="right") - 1
    trigger = np.clip(trigger, gaps.start + 1, back - 1)
    schedule = empty_schedule(T)
    order = np.argsort(back, kind="stable")
    for row in order.tolist():
        extent, start, at = int(gaps.extent[row]), int(gaps.start[row]), int(trigger[row])
        schedule.leave[start].append(extent)
        schedule.ahead[at % T].append((extent, int(back[row]) - at))
    return schedule
