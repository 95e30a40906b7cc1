"""What a simulated policy did, as a plan: its transfers made ahead, without the policy.

A pager moves what it must when it must. In a steady step it does the same every time, so what it moved can be planned. The
plan moves the same pages in the same access gaps and fetches them from the same slices on, as far as there is room for them
whatever the link does. Pages leave when their gap begins, which makes more room than there was, or when the policy had them
written, which leaves the link as it was.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding import Decision
from tmtrain.machine import Machine
from tmtrain.planning import make_plan
from tmtrain.planning.placing.realise import (
    FetchPieces,
    earliest_with_slack,
    pages_between,
    to_transfers,
)
from tmtrain.planning.problem.problem import Problem, build_problem
from tmtrain.plans import Plan
from tmtrain.simulation import Result

NEVER = 2**40
"""A slice that does not come."""
ROUNDING = 1e-12
"""Times that differ by a smaller share of the step are the same."""


class _ReadChunks(NamedTuple):
    """Chunks that came in, in order of arrival."""

    gap: NDArray[np.int64]
    fetch: NDArray[np.int64]
    """Slice before or in which each began to come in, counted from the step in which its gap begins."""
    pages: NDArray[np.int64]


def imitate(
    result: Result,
    decision: Decision,
    *,
    machine: Machine,
    leaves_at_once: bool = True,
    fetches_ahead: bool = True,
    as_it_was: bool = True,
) -> Plan:
    """Return a plan that moves what `result` moved, without a certificate.

    Args:
        result: A steady step.
        decision: Which led to it.
        machine: That ran it.
        leaves_at_once: Pages leave when their gap begins; else not before the policy had them written.
        fetches_ahead: What began to come in while a slice ran is fetched from before that slice on; else from after it.
        as_it_was: With these times; else scheduled like a placement of ours.
    """
    timeline, own = decision.timeline, decision.plan
    problem = build_problem(timeline)
    reads = _find_reads(result, problem, page_bytes=timeline.page_bytes, ahead=fetches_ahead)
    pieces, fetch = _find_pieces(reads, problem)
    if not leaves_at_once:
        pieces = replace(pieces, leave=_leaves(result, problem, pieces))
    moved = np.zeros(len(problem.gaps), np.int64)
    np.add.at(moved, pieces.gap, pieces.pages)
    transfers = None
    if as_it_was:
        transfers = to_transfers(problem, pieces, fetch=_fitting(problem, moved, pieces, fetch))
    return make_plan(
        problem,
        moved,
        timeline=timeline,
        machine=machine,
        objective=result.policy,
        stall_s=result.stall_s,
        recomputations=None if own is None else own.recomputations,
        recompute_s=decision.recompute_s,
        transfers=transfers,
    )


def _fitting(
    problem: Problem, moved: NDArray[np.int64], pieces: FetchPieces, fetch: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return `fetch`, later where the memory has no room for the piece from then on, in order of return."""
    order = np.argsort(pieces.back, kind="stable")
    start = problem.gaps.start[pieces.gap].astype(np.int64) + 1
    slack = problem.absent_pages(moved) - problem.over_pages
    # They are still there though their gap has begun.
    slack -= pages_between(start, pieces.leave, pieces.pages, num_slices=problem.num_slices)
    ordered = earliest_with_slack(
        np.maximum(fetch, pieces.leave)[order],
        pieces.back[order],
        pieces.pages[order],
        pieces.gap[order],
        slack,
    )
    fitting = np.empty_like(fetch)
    fitting[order] = ordered
    return fitting


def _find_pieces(reads: _ReadChunks, problem: Problem) -> tuple[FetchPieces, NDArray[np.int64]]:
    """Return what came in, and from which slice on: one piece for all that came in one gap from the same slice on."""
    gaps, T = problem.gaps, problem.num_slices
    gap, fetch, pages = reads
    # From the last to come, which brings the front, to the first. What came in and was given up unused came twice.
    order = np.lexsort((-np.arange(len(gap)), gap))
    gap, fetch, pages = gap[order], fetch[order], pages[order]
    is_new = np.ones(len(gap), bool)
    is_new[1:] = (np.diff(gap) != 0) | (np.diff(fetch) != 0)
    first_row = np.flatnonzero(is_new)
    gap, fetch, pages = (
        gap[first_row],
        fetch[first_row],
        np.add.reduceat(pages, first_row) if len(pages) else pages,
    )
    total = np.cumsum(pages)
    of_gap = np.searchsorted(gap, gap)
    first = total - pages - (total - pages)[of_gap]
    end = np.minimum(first + pages, gaps.pages[gap])
    kept = np.flatnonzero(end > first)[::-1]
    gap, fetch, first, end = gap[kept], fetch[kept], first[kept], end[kept]
    start, back = gaps.start[gap].astype(np.int64), gaps.end[gap].astype(np.int64)
    pieces = FetchPieces(
        gap=gap,
        first_page=first,
        pages=end - first,
        leave=start + 1,
        back=np.where(back > start, back, back + T),
    )
    return pieces, np.clip(fetch, pieces.leave, pieces.back)


def _leaves(result: Result, problem: Problem, pieces: FetchPieces) -> NDArray[np.int64]:
    """Return the slice in which each piece began to be written in its gap, or if it was not, that of the gap."""
    traffic, gaps, T = result.traffic, problem.gaps, problem.num_slices
    rows = np.flatnonzero(traffic.is_write)
    at = _slice_when(result, traffic.start_s[rows]) % T
    gap = _gap_ending_next(problem, extent=traffic.extent[rows].astype(np.int64), ready=at)
    gap, at = gap[gap >= 0], at[gap >= 0]
    begin = np.full(len(gaps), NEVER)
    # Slices are counted from the step in which the gap begins.
    np.minimum.at(begin, gap, np.where(at <= gaps.start[gap], at + T, at))
    begin = begin[pieces.gap]
    return np.clip(np.where(begin < NEVER, begin, pieces.leave), pieces.leave, pieces.back)


def _slice_when(result: Result, seconds: NDArray[np.float64], *, ahead: bool = True) -> NDArray[np.int64]:
    """Return the slice that runs or is waited for at each time, or not `ahead` the one after; < 0 in the step before."""
    series = result.series
    # Of several steps one is shown: its own length counts, not the mean.
    period = float(series.end_s[-1])
    wraps = seconds < -ROUNDING * period
    at = seconds + wraps * period
    if ahead:
        slices = np.searchsorted(series.end_s, at + ROUNDING * period, side="right")
    else:
        # What begins with a slice was asked for when its operands were there: before the next one.
        slices = np.searchsorted(series.start_s, at + ROUNDING * period, side="right")
    return slices - wraps * len(series.end_s)


def _find_reads(result: Result, problem: Problem, *, page_bytes: int, ahead: bool) -> _ReadChunks:
    """Return what came in, chunk by chunk."""
    traffic, series, gaps, T = result.traffic, result.series, problem.gaps, problem.num_slices
    rows = np.flatnonzero(~traffic.is_write)
    fetch = _slice_when(result, traffic.start_s[rows], ahead=ahead)
    ready = np.searchsorted(series.start_s, traffic.end_s[rows] - ROUNDING * series.end_s[-1])
    gap = _gap_ending_next(problem, extent=traffic.extent[rows].astype(np.int64), ready=ready)
    known = gap >= 0
    gap, fetch, ready, rows = gap[known], fetch[known], ready[known], rows[known]
    start, end = gaps.start[gap].astype(np.int64), gaps.end[gap].astype(np.int64)
    back, due = np.where(end > start, end, end + T), np.where(ready <= end, end, end + T)
    return _ReadChunks(gap, fetch + back - due, traffic.bytes[rows] // page_bytes)


def _gap_ending_next(
    problem: Problem, *, extent: NDArray[np.int64], ready: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the first gap of each extent that ends at slice `ready` or later, maybe in the next step; -1: it has none."""
    gaps, T = problem.gaps, problem.num_slices
    if not len(gaps):
        return np.full(len(extent), -1)
    key = gaps.extent.astype(np.int64) * T + gaps.end
    order = np.argsort(key, kind="stable")
    position = np.searchsorted(key[order], extent * T + np.minimum(ready, T - 1) + (ready >= T))
    inside = (position < len(order)) & (gaps.extent[order[np.minimum(position, len(order) - 1)]] == extent)
    first = np.searchsorted(gaps.extent[order], extent)
    position = np.where(inside, position, first)
    gap = order[np.minimum(position, len(order) - 1)]
    return np.where(gaps.extent[gap] == extent, gap, -1)
