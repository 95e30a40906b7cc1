"""New split ratios from measured slack: what comes late moves less, what comes early moves more.

An access gap has slack: the seconds by which its transfer was early, on its way in and on its way out, whichever is less.
It is negative where a slice had to wait for the transfer. `exchange` keeps more pages of the latest gaps in fast memory,
and lets other gaps that cover the same full slices move more, those with most slack first. The capacity holds by
construction.
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.monitor.observation import Observation
from tmtrain.planning.problem.problem import Problem, cover
from tmtrain.plans.plan import Transfers


def moved_pages(problem: Problem, transfers: Transfers) -> NDArray[np.int64]:
    """Return the pages that `transfers` move in each gap, shape (gaps,)."""
    moved = np.zeros(len(problem.gaps), np.int64)
    np.add.at(moved, gap_of(problem, transfers), transfers.pages)
    return moved


def measured_slack_s(
    problem: Problem, seen: Observation, *, timeline: Timeline, machine: Machine
) -> NDArray[np.float64]:
    """Return the slack of each gap in seconds, shape (gaps,).

    Where nothing moved, it is the length of the gap less the time that its pages would need on the link.
    """
    gaps = problem.gaps
    seconds = timeline.page_bytes * (
        1 / machine.read_bytes_per_s + (gaps.epoch >= 0) / machine.write_bytes_per_s
    )
    slack = _length_s(problem, seen.duration_s + seen.stall_s) - gaps.pages * seconds
    transfers = seen.plan.transfers
    with np.errstate(invalid="ignore"):  # NaN where nothing came or was written
        arrived = np.where(np.isnan(seen.arrived_early_s), 0.0, seen.arrived_early_s)
        left = _harmful(seen)
    gap = gap_of(problem, transfers)
    # What was measured replaces the estimate; of the pieces of a gap, the one with the least slack counts.
    slack[gap] = np.inf
    np.minimum.at(slack, gap, np.minimum(arrived, np.where(np.isnan(left), arrived, left)))
    return slack


def exchange(
    problem: Problem, moved: NDArray[np.int64], slack_s: NDArray[np.float64], *, share: float
) -> NDArray[np.int64]:
    """Keep pages of late gaps and let early gaps move instead; feasible if `moved` is.

    Args:
        problem: The gaps.
        moved: Pages that each gap moves now.
        slack_s: Of each gap, as `measured_slack_s` returns it.
        share: Of all pages that late gaps move, 0 to 1; the latest gaps keep first.
    """
    late = (moved > 0) & (slack_s < 0)
    available = np.where(late, moved, 0)
    order = np.argsort(slack_s, kind="stable")
    before = np.concatenate([[0], np.cumsum(available[order])[:-1]])
    kept = np.zeros_like(moved)
    kept[order] = np.clip(np.ceil(share * available.sum()) - before, 0, available[order])
    # A late gap is chosen again only where no other gap can make the room: it was late with less.
    return _fill(problem, moved - kept, np.where(late, -np.inf, slack_s))


def _fill(problem: Problem, moved: NDArray[np.int64], slack_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Move more until every slice fits, from the gaps with most slack on."""
    gaps, T = problem.gaps, problem.num_slices
    short = problem.over_pages - problem.absent_pages(moved)
    while True:
        t = int(short.argmax())
        if short[t] <= 0:
            return moved
        inside = np.where(
            gaps.end > gaps.start, (gaps.start < t) & (t < gaps.end), (gaps.start < t) | (t < gaps.end)
        )
        rows = np.flatnonzero(inside & (moved < gaps.pages))
        g = rows[slack_s[rows].argmax()]
        more = min(int(short[t]), int(gaps.pages[g] - moved[g]))
        moved[g] += more
        short -= cover(gaps.start[[g]], gaps.end[[g]], np.array([more]), num_slices=T)


def gap_of(problem: Problem, transfers: Transfers) -> NDArray[np.int64]:
    """Find the gap of each transfer, by its extent and the access after it."""
    gaps, T = problem.gaps, problem.num_slices
    key = gaps.extent.astype(np.int64) * T + gaps.end % T
    order = np.argsort(key)
    wanted = transfers.extent.astype(np.int64) * T + transfers.return_slice % T
    return order[np.searchsorted(key[order], wanted)]


def _harmful(seen: Observation) -> NDArray[np.float64]:
    """How early each transfer left; where it left late, only what some slice waited meanwhile counts."""
    T = len(seen.stall_s)
    clock = np.concatenate([[0.0], np.cumsum(seen.duration_s + seen.stall_s)])
    waited = np.concatenate([[0.0], np.cumsum(seen.stall_s)])
    leave = seen.plan.transfers.leave_slice % T
    gone = np.searchsorted(clock, clock[leave] - seen.left_early_s)
    # Room that came late hurt nobody if no slice between the leaving as planned and as it was had to wait.
    stalled = waited[np.minimum(gone, T)] - waited[leave]
    return np.where(seen.left_early_s < 0, -stalled, seen.left_early_s)


def _length_s(problem: Problem, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    gaps = problem.gaps
    clock = np.concatenate([[0.0], np.cumsum(seconds)])
    return clock[gaps.end] - clock[gaps.start + 1] + np.where(gaps.end <= gaps.start, clock[-1], 0.0)
