"""Planning without splitting: a tensor leaves whole or stays, between one operator that uses it and the next.

The rival of the split ratio, from the same linear programme. The access gaps of one storage between the same two operators
form a group, and a group moves all of its pages or none.
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.monitor.steering import moved_pages
from tmtrain.planning.placing.prediction import make_plan
from tmtrain.planning.planner import propose
from tmtrain.planning.problem.problem import Problem, build_problem, cover
from tmtrain.plans.plan import Plan


def plan_whole(timeline: Timeline, *, machine: Machine, objective: str = "energy") -> Plan:
    """Round the optimal placement to whole tensors: to the nearer side, then more until it fits, then less where it may.

    Raises: as `tmtrain.plans.plan`.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_plan, example_timeline
    >>> whole = plan_whole(example_timeline(), machine=load_machine("v4-slc"))
    >>> whole.prediction.bytes_in >= example_plan().prediction.bytes_in
    True
    """
    problem = build_problem(timeline)
    optimal = next(propose(timeline, machine=machine, objective=objective, recompute=False))
    moved = to_whole_tensors(problem, moved_pages(problem, optimal.transfers), timeline=timeline)
    return make_plan(problem, moved, timeline=timeline, machine=machine, objective=objective)


def to_whole_tensors(problem: Problem, split: NDArray[np.int64], *, timeline: Timeline) -> NDArray[np.int64]:
    """Return a feasible placement, shape (gaps,), in which every group moves all of its pages or none."""
    pages, group = problem.gaps.pages, _groups(problem, timeline)
    size = np.bincount(group, weights=pages)
    share = np.bincount(group, weights=split) / size
    chosen = share >= 0.5  # the nearer side
    _add_until_it_fits(problem, chosen, share, group=group)
    _keep_what_need_not_move(problem, chosen, share, group=group)
    return np.where(chosen[group], pages, 0)


def _groups(problem: Problem, timeline: Timeline) -> NDArray[np.int64]:
    """Number the groups; shape (gaps,)."""
    gaps, op = problem.gaps, timeline.slices.op
    keys = np.column_stack([timeline.extents.storage[gaps.extent], op[gaps.start], op[gaps.end]])
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)


def _add_until_it_fits(
    problem: Problem, chosen: NDArray[np.bool_], share: NDArray[np.float64], *, group: NDArray[np.int64]
) -> None:
    """Add the group with the largest share, then with the most pages, that helps the slice that lacks most."""
    gaps = problem.gaps
    while True:
        short = problem.over_pages - problem.absent_pages(np.where(chosen[group], gaps.pages, 0))
        t = int(short.argmax())
        if short[t] <= 0:
            return
        inside = np.where(
            gaps.end > gaps.start, (gaps.start < t) & (t < gaps.end), (gaps.start < t) | (t < gaps.end)
        )
        helps = np.bincount(group, weights=np.where(inside, gaps.pages, 0))
        helps[chosen] = 0
        # The share decides first: pages add less than a millionth to it, and tell only equal shares apart.
        chosen[int(np.where(helps > 0, share + helps / (1 + helps.max()) * 1e-6, -1).argmax())] = True


def _keep_what_need_not_move(
    problem: Problem, chosen: NDArray[np.bool_], share: NDArray[np.float64], *, group: NDArray[np.int64]
) -> None:
    """Let groups stay after all, from the smallest share on, where the others make enough room without them."""
    gaps = problem.gaps
    slack = problem.absent_pages(np.where(chosen[group], gaps.pages, 0)) - problem.over_pages
    order = np.argsort(group, kind="stable")
    first = np.searchsorted(group[order], np.arange(len(share) + 1))
    for g in np.argsort(share, kind="stable").tolist():
        rows = order[first[g] : first[g + 1]]
        freed = cover(gaps.start[rows], gaps.end[rows], gaps.pages[rows], num_slices=problem.num_slices)
        if chosen[g] and (freed <= slack).all():
            chosen[g] = False
            slack -= freed
