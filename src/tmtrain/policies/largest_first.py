"""Largest-first greedy offload, whole tensors.

Source: the proposal "offload the largest first until the budget is met" for FSDP2 (pytorch/pytorch #188120,
`cpu_offload_by_budget`), there for the parameters of modules; here, in the rival's favour, for every tensor of the step:
the largest tensors are offloaded first, each for all its gaps, until every slice fits. Transfers are scheduled by our own
scheduler (early writes, prefetch), which the proposal does not have.
"""

import numpy as np

from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan import Plan, make_plan
from tmtrain.plan.problem import Problem, build_problem
from tmtrain.policies.policy import Decision, Knowledge, Policy


class LargestFirst(Policy):
    """Offload whole tensors, largest first, until the rest fits."""

    name = "largest-first"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Choose the tensors to offload and schedule them."""
        return Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, plan=_greedy(timeline, machine))


def _greedy(timeline: Timeline, machine: Machine) -> Plan:
    problem = build_problem(timeline)
    gaps = problem.gaps
    storage = timeline.extents.storage[gaps.extent]
    size = np.bincount(timeline.extents.storage, weights=timeline.extents.pages)
    by_size = np.argsort(-size, kind="stable")
    rank = np.empty(len(size), np.int64)
    rank[by_size] = np.arange(len(size))
    # The fewest largest storages whose offloading makes every slice fit: feasibility is monotone, so bisect.
    low, high = 0, len(size)
    while low < high:
        middle = (low + high) // 2
        if _fits(problem, np.where(rank[storage] < middle, gaps.pages, 0)):
            high = middle
        else:
            low = middle + 1
    moved = np.where(rank[storage] < low, gaps.pages, 0)
    return make_plan(problem, moved, timeline=timeline, machine=machine, objective=LargestFirst.name)


def _fits(problem: Problem, moved: np.ndarray[tuple[int], np.dtype[np.int64]]) -> bool:
    return bool((problem.absent_pages(moved) >= problem.over_pages).all())
