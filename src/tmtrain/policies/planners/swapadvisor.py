"""SwapAdvisor's swap planner: Belady's rule on whole tensors, ahead of time, with an age below which nothing is evicted.

Source: C.-C. Huang, G. Jin, J. Li, "SwapAdvisor: pushing deep learning beyond the GPU memory limit via smart swapping",
ASPLOS 2020, section 4.

Inputs: the operators in order and the sizes of their tensors.

Rule: walk through the schedule; where the tensors that are there exceed the memory, evict the one whose next use is
furthest, of those last used at least a threshold of time ago (otherwise its way out could not end in time). The end of the
step is the start of the next, so what is there at both is the same: the paper's second pass. A tensor leaves right after
its last user, and comes back as early as its victims have made room for all of it.

Simplified: the outer genetic search over schedules and memory pools is left out: the order of operators is given for all
policies, and memory has no size classes, so a tensor may take the room of any other (in the rival's favour). The threshold,
in times that the tensor takes to be written, is searched. What finds no victim is paged by Belady's rule.
"""

import heapq

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import cover
from tmtrain.policies.shared.advice import advise, fetch_where_it_fits
from tmtrain.policies.shared.tensors import Tensors, find_tensors

THRESHOLDS = (0.0, 1.0, 4.0)
"""Ages that are tried, in times of the tensor's way out."""


class SwapAdvisor(Policy):
    """SwapAdvisor's planner for the given schedule."""

    name = "swapadvisor"

    def __init__(self, *, threshold: float = 1.0) -> None:
        self._threshold = threshold

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Evict ahead of time, then prefetch as early as there is room."""
        tensors = find_tensors(timeline, machine=machine)
        chosen = _evict(tensors, threshold=self._threshold)
        periods = tensors.periods
        fetch = fetch_where_it_fits(tensors, chosen, latest=periods.end, earliest=periods.start + 1)
        return advise(tensors, chosen, fetch=fetch, name=self.name)

    def variants(self) -> tuple[Policy, ...]:
        """Thresholds."""
        return tuple(SwapAdvisor(threshold=threshold) for threshold in THRESHOLDS)


def _evict(tensors: Tensors, *, threshold: float) -> NDArray[np.bool_]:
    periods, T, clock = tensors.periods, tensors.num_slices, tensors.clock_s()
    out_s = periods.pages * tensors.timeline.page_bytes / tensors.machine.write_bytes_per_s
    ripe = clock[periods.start + 1] + threshold * np.where(periods.is_dirty, out_s, 0.0)
    chosen = np.zeros(len(periods), bool)
    room = tensors.room(chosen)
    arrivals: list[list[int]] = [[] for _ in range(2 * T)]
    for p, start in enumerate(periods.start.tolist()):
        arrivals[start + 1].append(p)
    gaps, which = tensors.gaps_of(np.arange(len(periods)))
    first = np.searchsorted(which, np.arange(len(periods) + 1))
    there: list[tuple[int, int]] = []  # by next use, furthest first
    for now in range(2 * T):  # the second time round, what began in the first and wraps is known
        for p in arrivals[now]:
            heapq.heappush(there, (-int(periods.end[p]), p))
        young: list[tuple[int, int]] = []
        while room[now % T] < 0 and there:
            key, p = heapq.heappop(there)
            if -key <= now:
                break  # all others are used again by now too
            if ripe[p] > clock[now]:
                young.append((key, p))
                continue
            chosen[p] = True
            freed = tensors.problem.gaps.of(gaps[first[p] : first[p + 1]])
            room += cover(freed.start, freed.end, freed.pages, num_slices=T)
        for entry in young:
            heapq.heappush(there, entry)
    return chosen
