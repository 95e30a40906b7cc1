"""From pages per access gap to transfers: when each is written, paged out, and fetched.

Outgoing pages are written once their content is final, which is after the last write of their epoch, and when it is their
turn (Note [Whose turn] in `tmtrain.planning.placing.writing`). That may be long before they leave; leaving then costs
nothing more. They should be written by the time they leave, or later, when the programme's write channel has done with them
(`Pace`). The link serves by deadline, and what should leave but is not written stays where it is.

Incoming pages are fetched as early as is useful and as the memory allows, in pieces, the last pages of an extent first:

1. *useful*: backwards from the end of the step, each piece gets the latest start from which one channel serves it and all
   later ones in time, or where the programme's read channel comes to it in order of return, if that is earlier;
2. *allowed*: from its fetch to its return a piece occupies memory that the placement had counted as absent. In order of
   return, each takes the earliest slice from which that slack lasts, and uses it up. Room that pages are still in while
   they are written is no slack: a fetch that took it would make the next result wait.

So the capacity holds at every slice by construction, whatever the link does.
"""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.placing.pieces import FetchPieces, cut_pieces, final_slices, is_fresh
from tmtrain.planning.placing.writing import WriteTimes, find_writes, still_there
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.programme.pace import Pace, lasting_s
from tmtrain.plans.plan import Transfers

HASTE = 2.0
"""A fetch is allowed this multiple of its time alone on the channel: writes may share it."""
PIECE_SHARE = 1 / 128
"""A piece has at most this share of the fast tier: what has come in of a large extent does not wait for the rest."""
MARGIN_BINS = 1
"""A fetch starts so many bins before the programme's channel comes to it, which knows bins, not slices."""


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
    pieces = cut_pieces(problem, moved, most=max(1, int(timeline.fast_pages * PIECE_SHARE)))
    useful = _latest_starts(pieces, pace, timeline=timeline, machine=machine)
    if pace is not None:
        useful = np.minimum(useful, _paced_starts(pieces, pace))
    writes = find_writes(problem, pieces, pace, timeline=timeline, machine=machine)
    slack = problem.absent_pages(moved) - problem.over_pages
    slack -= still_there(problem, pieces, writes.begin, pace, timeline=timeline, machine=machine)
    fetch = earliest_with_slack(useful, pieces.back, pieces.pages, pieces.gap, slack)
    return to_transfers(problem, pieces, fetch=fetch, writes=writes)


def to_transfers(
    problem: Problem, pieces: FetchPieces, *, fetch: NDArray[np.int64], writes: WriteTimes
) -> Transfers:
    """Return the pieces as transfers.

    Args:
        problem: The gaps.
        pieces: Of one gap the last pages first.
        fetch: Between ``leave`` and ``back`` of each piece.
        writes: When each is written, if it has to be.
    """
    final, T = final_slices(problem, pieces), problem.num_slices
    # What flash has already is not written again.
    write = np.where(is_fresh(problem, pieces), writes.begin, pieces.leave)
    # Content of the previous step has negative times. A step later is the same time, and a plan file has none below 0.
    shift = np.where(final < 0, T, 0)
    return Transfers(
        extent=problem.gaps.extent[pieces.gap],
        first_page=pieces.first_page,
        pages=pieces.pages,
        write_slice=(write + shift).astype(np.int32),
        written_slice=(writes.until + shift).astype(np.int32),
        leave_slice=(pieces.leave + shift).astype(np.int32),
        fetch_slice=(fetch + shift).astype(np.int32),
        return_slice=(pieces.back + shift).astype(np.int32),
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


def _latest_starts(
    pieces: FetchPieces, pace: Pace | None, *, timeline: Timeline, machine: Machine
) -> NDArray[np.int64]:
    """Latest slice at which each fetch may start so that all of them can be served by one channel, not before `leave`."""
    # The channel may have fallen idle: then the device's latency comes first.
    per_page_s = HASTE * timeline.page_bytes / machine.read_bytes_per_s
    seconds = machine.slow.read_latency_s + pieces.pages.astype(np.float64) * per_page_s
    T = len(timeline.slices)
    clock = np.concatenate(
        [[0.0], np.cumsum(np.tile(lasting_s(timeline, pace), 2))]
    )  # of slices, over two steps
    order = np.argsort(-pieces.back, kind="stable")
    # The channel, seen backwards: a fetch ends when it is due or when the next one starts, whichever is earlier.
    due, need = clock[pieces.back[order]], seconds[order]
    # start_i = min(due_i, start_(i-1)) - need_i, without a loop: add up the needs, and the minimum runs over due + needs.
    before = np.concatenate([[0.0], np.cumsum(need)[:-1]])
    starts = np.minimum.accumulate(due + before) - before - need
    useful = np.empty(len(due), np.int64)
    useful[order] = np.searchsorted(clock, starts, side="right") - 1
    return np.clip(useful, pieces.leave, np.minimum(pieces.back, 2 * T))


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
