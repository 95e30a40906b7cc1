"""From pages per gap to transfers: when each is written, given up, and fetched back.

Outgoing pages are written as soon as their content is final (after the last write of their epoch), which may be long
before they are given up: the later departure is then free. Incoming pages are fetched as early as is useful and as the
memory allows:

1. *useful*: working backwards from the end of the step, each fetch is given the latest start from which the read
   channel can still serve it and all later ones in time;
2. *allowed*: from its fetch to its return a transfer occupies memory that the placement had counted as absent. In
   order of return, each takes the earliest slice from which that slack lasts, and uses it up.

So the capacity holds at every slice by construction, whatever the link does.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan.plan import Transfers
from tmtrain.plan.problem import Problem

HASTE = 2.0
"""A fetch is given this multiple of its time alone on the channel: writes may share it, durations are estimates."""


def realise(problem: Problem, moved: NDArray[np.int64], *, timeline: Timeline, machine: Machine) -> Transfers:
    """Schedule the transfers of a placement.

    Args:
        problem: The gaps; its slack is what early fetches may use.
        moved: Whole pages per gap, feasible for `problem`.
        timeline: The step.
        machine: For the rates of the channel.
    """
    used = np.flatnonzero(moved > 0)
    gaps, T, pages = problem.gaps, problem.num_slices, moved[used]
    start, end = gaps.start[used], gaps.end[used]
    leave = start + 1
    back = np.where(end > start, end, end + T)
    last_write = gaps.last_write[used]
    # A write later in the step than the gap was made in the previous step; without a write nothing is ever dirty.
    final = np.where(last_write < 0, leave, np.where(last_write <= start, last_write + 1, last_write + 1 - T))
    fetch = _fetch_slices(problem, moved, leave, back, pages, timeline=timeline, machine=machine)
    shift = np.where(final < 0, T, 0)  # keep every number >= 0: "next step" instead of "previous step"
    return Transfers(
        extent=gaps.extent[used],
        pages=pages,
        write_slice=(final + shift).astype(np.int32),
        leave_slice=(leave + shift).astype(np.int32),
        fetch_slice=(fetch + shift).astype(np.int32),
        return_slice=(back + shift).astype(np.int32),
    )


def _fetch_slices(
    problem: Problem,
    moved: NDArray[np.int64],
    leave: NDArray[np.int32],
    back: NDArray[np.int32],
    pages: NDArray[np.int64],
    *,
    timeline: Timeline,
    machine: Machine,
) -> NDArray[np.int64]:
    T = problem.num_slices
    # The lane may have fallen idle: then the device's latency comes first.
    per_page_s = HASTE * timeline.page_bytes / machine.read_bytes_per_s
    seconds = machine.slow.read_latency_s + pages.astype(np.float64) * per_page_s
    useful = _latest_starts(leave, back, seconds, timeline.slices.duration_s)
    order = np.argsort(back % T, kind="stable")
    slack = problem.absent_pages(moved) - problem.over_pages
    fetch = np.empty(len(pages), np.int64)
    fetch[order] = _earliest_with_slack(useful[order], back[order].astype(np.int64), pages[order], slack)
    return fetch


def _latest_starts(
    leave: NDArray[np.int32],
    back: NDArray[np.int32],
    seconds: NDArray[np.float64],
    duration_s: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Latest slice at which each fetch may start so that all of them can be served by one channel, not before `leave`."""
    T = len(duration_s)
    clock = np.concatenate([[0.0], np.cumsum(np.tile(duration_s, 2))])  # start of each slice over two steps
    order = np.argsort(-back, kind="stable")
    # The channel, seen backwards: a fetch ends when it is due or when the next one starts, whichever is earlier.
    due, need = clock[back[order]], seconds[order]
    before = np.concatenate([[0.0], np.cumsum(need)[:-1]])
    starts = np.minimum.accumulate(due + before) - before - need
    useful = np.empty(len(back), np.int64)
    useful[order] = np.searchsorted(clock, starts, side="right") - 1
    return np.clip(useful, leave, np.minimum(back, 2 * T))


@njit(cache=True)
def _earliest_with_slack(
    earliest: NDArray[np.int64], back: NDArray[np.int64], pages: NDArray[np.int64], slack: NDArray[np.int64]
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Walk back from each return while the slack lasts; consumes `slack` (cyclic) in place."""
    T = len(slack)
    fetch = back.copy()
    for i in range(len(back)):
        t = back[i]
        while t > earliest[i] and slack[(t - 1) % T] >= pages[i]:
            t -= 1
            slack[t % T] -= pages[i]
        fetch[i] = t
    return fetch
