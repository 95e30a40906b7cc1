"""What a simulated policy did, as a plan: its transfers made ahead, without the policy.

A pager moves what it must when it must. In a steady step it does the same every time, so what it moved can be planned. The
plan moves the same pages in the same access gaps and fetches them from the same slices on, as far as there is room for them
whatever the link does. Pages leave when their gap begins, which makes more room than there was. They are written then, or
as late as the policy had them written, which leaves the link as it was.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding import Decision
from tmtrain.machine import Machine
from tmtrain.planning import make_plan
from tmtrain.planning.placing.pieces import FetchPieces, final_slices
from tmtrain.planning.placing.realise import earliest_with_slack, to_transfers
from tmtrain.planning.placing.writing import WriteTimes
from tmtrain.planning.problem.problem import Problem, build_problem
from tmtrain.plans import Plan
from tmtrain.simulation import Result

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
    writes_at_once: bool = True,
    fetches_ahead: bool = True,
    as_it_was: bool = True,
) -> Plan:
    """Return a plan that moves what `result` moved, without a certificate.

    Args:
        result: A steady step.
        decision: Which led to it.
        machine: That ran it.
        writes_at_once: Pages should be written by the time they may leave; else when the policy had them written.
        fetches_ahead: What began to come in while a slice ran is fetched from before that slice on; else from after it.
        as_it_was: With these times; else scheduled like a placement of ours.
    """
    timeline, own = decision.timeline, decision.plan
    problem = build_problem(timeline)
    reads = _find_reads(result, problem, page_bytes=timeline.page_bytes, ahead=fetches_ahead)
    pieces, fetch = _find_pieces(reads, problem)
    moved = np.zeros(len(problem.gaps), np.int64)
    np.add.at(moved, pieces.gap, pieces.pages)
    transfers = None
    if as_it_was:
        written = pieces.leave if writes_at_once else _written(result, problem, pieces)
        transfers = to_transfers(
            problem,
            pieces,
            fetch=_fitting(problem, moved, pieces, fetch),
            writes=WriteTimes(begin=final_slices(problem, pieces), until=written),
        )
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
    slack = problem.absent_pages(moved) - problem.over_pages
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
    """Return what came in as pieces, a chunk each so that some may find room where all do not, and from which slice on."""
    gaps, T = problem.gaps, problem.num_slices
    gap, fetch, pages = reads
    # From the last to come, which brings the front, to the first: a gap may have begun in the step before, whose chunks
    # are the later rows. What came in and was given up unused came twice.
    order = np.lexsort((-np.arange(len(gap)), -fetch, gap))
    gap, fetch, pages = gap[order], fetch[order], pages[order]
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


def _written(result: Result, problem: Problem, pieces: FetchPieces) -> NDArray[np.int64]:
    """Return the slice in which the last pages of each piece's gap had been written, or if none was, that of the gap."""
    traffic, gaps, T = result.traffic, problem.gaps, problem.num_slices
    rows = np.flatnonzero(traffic.is_write)
    begin = _slice_when(result, traffic.start_s[rows]) % T
    end = _slice_when(result, traffic.end_s[rows], ahead=False) % T
    gap = _gap_ending_next(problem, extent=traffic.extent[rows].astype(np.int64), ready=begin)
    begin, end, gap = begin[gap >= 0], end[gap >= 0], gap[gap >= 0]
    # Slices are counted from the step in which the gap begins.
    ends_later = (end < begin) + (begin <= gaps.start[gap])
    written = np.zeros(len(gaps), np.int64)
    np.maximum.at(written, gap, end + ends_later * T)
    return np.clip(written[pieces.gap], pieces.leave, pieces.back)


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
    fetch = _as_commanded(fetch, gap, start_s=traffic.start_s[rows], end_s=traffic.end_s[rows])
    start, end = gaps.start[gap].astype(np.int64), gaps.end[gap].astype(np.int64)
    back, due = np.where(end > start, end, end + T), np.where(ready <= end, end, end + T)
    return _ReadChunks(gap, fetch + back - due, traffic.bytes[rows] // page_bytes)


def _as_commanded(
    fetch: NDArray[np.int64],
    gap: NDArray[np.int64],
    *,
    start_s: NDArray[np.float64],
    end_s: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Return from which slice on each chunk was asked for: what follows another one of its gap at once, with that one."""
    if not len(gap):
        return fetch
    goes_on = np.zeros(len(gap), bool)
    goes_on[1:] = (gap[1:] == gap[:-1]) & (start_s[1:] <= end_s[:-1] + ROUNDING * end_s[-1])
    first = np.maximum.accumulate(np.where(goes_on, 0, np.arange(len(gap))))
    return fetch[first]


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
