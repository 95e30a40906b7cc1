"""From pages per access gap to transfers: when each is written, paged out, and fetched.

Outgoing pages are written as soon as their content is final, which is after the last write of their epoch. That may be long
before they leave; leaving then costs nothing more. They should be written by the time they leave, or later, when the
programme's write channel has done with them (`Pace`). The link serves by deadline, and what should leave but is not written
stays where it is.

Incoming pages are fetched as early as is useful and as the memory allows, in pieces, the last pages of an extent first:

1. *useful*: backwards from the end of the step, each piece gets the latest start from which one channel serves it and all
   later ones in time, or where the programme's read channel comes to it in order of return, if that is earlier;
2. *allowed*: from its fetch to its return a piece occupies memory that the placement had counted as absent. In order of
   return, each takes the earliest slice from which that slack lasts, and uses it up. Room that pages are still in while
   they are written is no slack: a fetch that took it would make the next result wait.

So the capacity holds at every slice by construction, whatever the link does.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.programme.pace import Pace
from tmtrain.plans.plan import Transfers
from tmtrain.ragged import lay_flat

HASTE = 2.0
"""A fetch is allowed this multiple of its time alone on the channel: writes may share it."""
PIECE_SHARE = 1 / 128
"""A piece has at most this share of the fast tier: what has come in of a large extent does not wait for the rest."""
HALF_A_PAGE = 0.5
"""Less room than that in a bin is rounding."""
MARGIN_BINS = 1
"""A fetch starts so many bins before the programme's channel comes to it, which knows bins, not slices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchPieces:
    """What is absent, in pieces; times are slices that run on into the next step, ``leave <= back``."""

    gap: NDArray[np.int64]
    first_page: NDArray[np.int64]
    pages: NDArray[np.int64]
    leave: NDArray[np.int64]
    back: NDArray[np.int64]


def realise(
    problem: Problem,
    moved: NDArray[np.int64],
    *,
    timeline: Timeline,
    machine: Machine,
    pace: Pace | None = None,
) -> Transfers:
    """Schedule the transfers of a placement.

    Args:
        problem: The gaps; its slack is what early fetches may use.
        moved: Whole pages per gap, feasible for `problem`.
        timeline: The step.
        machine: For the rates of the channel.
        pace: The read channel as planned.
    """
    pieces = _cut(problem, moved, most=max(1, int(timeline.fast_pages * PIECE_SHARE)))
    useful = _latest_starts(pieces, pace, timeline=timeline, machine=machine)
    if pace is not None:
        useful = np.minimum(useful, _paced_starts(pieces, pace))
    slack = problem.absent_pages(moved) - problem.over_pages
    slack -= _still_there(problem, pieces, pace, timeline=timeline, machine=machine)
    fetch = earliest_with_slack(useful, pieces.back, pieces.pages, pieces.gap, slack)
    written = pieces.leave if pace is None else _paced_writes(problem, pieces, pace)
    return to_transfers(problem, pieces, fetch=fetch, written=written)


def to_transfers(
    problem: Problem, pieces: FetchPieces, *, fetch: NDArray[np.int64], written: NDArray[np.int64]
) -> Transfers:
    """Return the pieces as transfers, each fetched from slice `fetch` on and written as soon as it is final.

    Args:
        problem: The gaps.
        pieces: Of one gap the last pages first.
        fetch: Between ``leave`` and ``back`` of each piece.
        written: Before which slice each should be written, likewise.
    """
    final, T = _final_slices(problem, pieces), problem.num_slices
    # What flash has already is not written again.
    write = np.where(_is_fresh(problem, pieces, final), final, pieces.leave)
    # Content of the previous step has negative times. A step later is the same time, and a plan file has none below 0.
    shift = np.where(final < 0, T, 0)
    return Transfers(
        extent=problem.gaps.extent[pieces.gap],
        first_page=pieces.first_page,
        pages=pieces.pages,
        write_slice=(write + shift).astype(np.int32),
        written_slice=(written + shift).astype(np.int32),
        leave_slice=(pieces.leave + shift).astype(np.int32),
        fetch_slice=(fetch + shift).astype(np.int32),
        return_slice=(pieces.back + shift).astype(np.int32),
    )


def _still_there(
    problem: Problem, pieces: FetchPieces, pace: Pace | None, *, timeline: Timeline, machine: Machine
) -> NDArray[np.int64]:
    """Return the pages that are counted as absent at each slice and are being written all the same, shape (slices,)."""
    T, final = problem.num_slices, _final_slices(problem, pieces)
    clock = np.concatenate([[0.0], np.cumsum(np.tile(_lasting(timeline, pace), 4))])
    written_s = clock[final + T] + machine.slow.write_latency_s
    written_s += pieces.pages * (timeline.page_bytes / machine.write_bytes_per_s)
    gone = np.clip(np.searchsorted(clock, written_s) - T, pieces.leave, pieces.back)
    pages = np.where(_is_fresh(problem, pieces, final), pieces.pages, 0)
    return pages_between(pieces.leave, gone, pages, num_slices=T)


def pages_between(
    first: NDArray[np.int64], end: NDArray[np.int64], pages: NDArray[np.int64], *, num_slices: int
) -> NDArray[np.int64]:
    """Sum `pages` over the slices from `first` to before `end`, which run on into the next step, shape (num_slices,).

    >>> pages_between(np.array([0, 3]), np.array([2, 5]), np.array([5, 7]), num_slices=4)
    array([12,  5,  0,  7])
    """
    change = np.zeros(3 * num_slices + 1, np.int64)
    np.add.at(change, first, pages)
    np.subtract.at(change, end, pages)
    return np.cumsum(change)[:-1].reshape(3, num_slices).sum(axis=0)


def _final_slices(problem: Problem, pieces: FetchPieces) -> NDArray[np.int64]:
    """First slice before which the content of each piece is final; negative where the previous step wrote it."""
    last_write, start = problem.gaps.last_write[pieces.gap].astype(np.int64), problem.gaps.start[pieces.gap]
    # A write that comes later in the step than the gap was one of the previous step.
    final = np.where(last_write <= start, last_write + 1, last_write + 1 - problem.num_slices)
    # Without a write in the step nothing is ever dirty.
    return np.where(last_write < 0, pieces.leave, final)


def _cut(problem: Problem, moved: NDArray[np.int64], *, most: int) -> FetchPieces:
    """Cut what each gap moves into pieces of `most` pages, the last pages first, a smaller rest at the front.

    They come in order of return.
    """
    used = np.flatnonzero(moved > 0)
    which, number = lay_flat(-(-moved[used] // most))
    gap = used[which]
    end = moved[gap] - number * most
    first = np.maximum(end - most, 0)
    T = problem.num_slices
    start, back = problem.gaps.start[gap].astype(np.int64), problem.gaps.end[gap].astype(np.int64)
    order = np.lexsort((number, gap, back))
    gap, start, back = gap[order], start[order], back[order]
    return FetchPieces(
        gap=gap,
        first_page=first[order],
        pages=(end - first)[order],
        leave=start + 1,
        back=np.where(back > start, back, back + T),
    )


def _paced_starts(pieces: FetchPieces, pace: Pace) -> NDArray[np.int64]:
    """Slice at which the programme's read channel, serving in order of return, comes to each piece."""
    T, B = int(pace.edges[-1]), len(pace.pages_in)
    # Begin to count where nothing has been read ahead: all that is due later is also read later.
    origin = int(pace.pages_ahead.argmin())
    bins = (np.arange(B) + origin + 1) % B
    first_slice = int(pace.edges[bins[0]])
    due = (pieces.back - first_slice) % T
    order = np.argsort(due, kind="stable")
    before = np.empty(len(order))
    before[order] = np.concatenate([[0.0], np.cumsum(pieces.pages[order])[:-1]])
    # The programme moves shares of pages, the placement whole ones: stretch its reads to as many.
    scale = float(pieces.pages.sum()) / max(float(pace.pages_in.sum()), 1e-300)
    read = np.cumsum(pace.pages_in[bins]) * scale
    reached = np.maximum(np.searchsorted(read, before, side="right") - MARGIN_BINS, 0)
    starts = (pace.edges[bins[np.minimum(reached, B - 1)]] - first_slice) % T
    # Where the channel comes to a piece only after its return, the fetch starts at the return.
    return np.clip(pieces.back - np.maximum(due - starts, 0), pieces.leave, pieces.back)


def _paced_writes(problem: Problem, pieces: FetchPieces, pace: Pace) -> NDArray[np.int64]:
    """Slice before which each piece should be written: when the programme's channel has done with it, at the earliest.

    In each bin that channel serves the most urgent of the pieces that are final.
    """
    T, B, final = int(pace.edges[-1]), len(pace.pages_out), _final_slices(problem, pieces)
    fresh = np.flatnonzero(_is_fresh(problem, pieces, final))
    rate = pace.pages_out * (pieces.pages[fresh].sum() / max(float(pace.pages_out.sum()), 1e-300))
    begin = final[fresh] % T
    bin_of = np.searchsorted(pace.edges, begin, side="right") - 1
    waiting: list[list[tuple[int, int]]] = [[] for _ in range(B)]
    for i, b in enumerate(bin_of.tolist()):
        waiting[b].append((int(pieces.leave[fresh[i]] - final[fresh[i]] + begin[i]), i))
    end = np.zeros(len(fresh), np.int64)
    queue: list[tuple[int, int, int, float]] = []
    # Three steps: the first fills the queue as a steady step finds it, the second's pieces count, and what it leaves over
    # is served in the third.
    for time in range(3 * B):
        step, b = divmod(time, B)
        for leave, i in waiting[b]:
            heapq.heappush(queue, (leave + step * T, step, i, float(pieces.pages[fresh[i]])))
        room = rate[b]
        while queue and room > HALF_A_PAGE:
            leave, born, i, left = heapq.heappop(queue)
            if left > room + HALF_A_PAGE:  # the bin is over before the piece is
                heapq.heappush(queue, (leave, born, i, left - room))
            elif born == 1:
                end[i] = int(pace.edges[b]) + step * T
            room -= left
    until = pieces.leave.copy()
    until[fresh] = np.clip(end + final[fresh] - begin - T, pieces.leave[fresh], pieces.back[fresh])
    return until


def _is_fresh(problem: Problem, pieces: FetchPieces, final: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Pieces that flash lacks when they leave: no earlier gap of their epoch has moved them."""
    epoch = problem.gaps.epoch[pieces.gap]
    order = np.lexsort((pieces.leave - final, epoch))
    fresh = np.zeros(len(order), bool)
    reached: dict[int, tuple[int, int, int]] = {}
    for i in order.tolist():
        e, g, end = int(epoch[i]), int(pieces.gap[i]), int(pieces.first_page[i] + pieces.pages[i])
        if e < 0:
            continue
        # Pieces of one gap come one after the other: what its own pieces have written is not "before" for them.
        before, most, gap = reached.get(e, (0, 0, g))
        before = before if gap == g else max(before, most)
        fresh[i] = end > before
        reached[e] = (before, max(most, end), g)
    return fresh


def _latest_starts(
    pieces: FetchPieces, pace: Pace | None, *, timeline: Timeline, machine: Machine
) -> NDArray[np.int64]:
    """Latest slice at which each fetch may start so that all of them can be served by one channel, not before `leave`."""
    # The channel may have fallen idle: then the device's latency comes first.
    per_page_s = HASTE * timeline.page_bytes / machine.read_bytes_per_s
    seconds = machine.slow.read_latency_s + pieces.pages.astype(np.float64) * per_page_s
    T = len(timeline.slices)
    clock = np.concatenate([[0.0], np.cumsum(np.tile(_lasting(timeline, pace), 2))])  # start of each slice over two steps
    order = np.argsort(-pieces.back, kind="stable")
    # The channel, seen backwards: a fetch ends when it is due or when the next one starts, whichever is earlier.
    due, need = clock[pieces.back[order]], seconds[order]
    # start_i = min(due_i, start_(i-1)) - need_i, without a loop: add up the needs, and the minimum runs over due + needs.
    before = np.concatenate([[0.0], np.cumsum(need)[:-1]])
    starts = np.minimum.accumulate(due + before) - before - need
    useful = np.empty(len(due), np.int64)
    useful[order] = np.searchsorted(clock, starts, side="right") - 1
    return np.clip(useful, pieces.leave, np.minimum(pieces.back, 2 * T))


def _lasting(timeline: Timeline, pace: Pace | None) -> NDArray[np.float64]:
    """Return how long each slice lasts where the waiting of a bin is spread over the slices in it, shape (slices,)."""
    computing_s = timeline.slices.duration_s
    if pace is None:
        return computing_s
    of_bin = np.maximum(np.add.reduceat(computing_s, pace.edges[:-1]), 1e-300)
    return computing_s * np.repeat(1 + pace.stall_s / of_bin, np.diff(pace.edges))


@njit(cache=True)
def earliest_with_slack(
    earliest: NDArray[np.int64],
    back: NDArray[np.int64],
    pages: NDArray[np.int64],
    gap: NDArray[np.int64],
    slack: NDArray[np.int64],
) -> NDArray[np.int64]:  # pragma: no cover - compiled
    """Walk back from each return while the slack lasts; consumes `slack` (cyclic) in place.

    Pieces of one gap follow one another and come in in that order: no piece is fetched before the one before it.
    """
    T = len(slack)
    fetch = back.copy()
    for i in range(len(back)):
        t = back[i]
        first = earliest[i]
        if i > 0 and gap[i - 1] == gap[i]:
            first = max(first, fetch[i - 1])
        while t > first and slack[(t - 1) % T] >= pages[i]:
            t -= 1
            slack[t % T] -= pages[i]
        fetch[i] = t
    return fetch
