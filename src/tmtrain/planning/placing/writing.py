"""When what leaves is written to flash, and how long it is there all the same.

Note [Whose turn]
    A page may be written as soon as its content is final, which may be long before it leaves. Where the link has time to
    spare that is best: to leave costs nothing then. Where it has none, a patient page (a parameter, which stays until
    forward has used it) would be written in place of one that makes room, or of a read that a slice waits for. So a page
    waits for the first bin in which the programme's link has time to spare, or comes to that page, if that is earlier.
"""

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.placing.pieces import FetchPieces, final_slices, is_fresh, pages_between
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.programme.pace import Pace, lasting_s

HALF_A_PAGE = 0.5
"""Less room than that in a bin is rounding."""
BUSY = 0.999
"""Of a bin's seconds: a link that carries for longer has no time to spare, but for the solver's tolerance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteTimes:
    """Of each piece, in slices that run on into the next step."""

    begin: NDArray[np.int64]
    """Before this slice it may be written: when its content is final or later, and no later than it leaves."""
    until: NDArray[np.int64]
    """Before this slice it should have been written: when it leaves or later, and no later than it is back."""


def find_writes(
    problem: Problem, pieces: FetchPieces, pace: Pace | None, *, timeline: Timeline, machine: Machine
) -> WriteTimes:
    """Return when to write each piece: Note [Whose turn].

    Args:
        problem: The gaps.
        pieces: What they move.
        pace: The link as planned; None: everything at once.
        timeline: The step.
        machine: For the rates of the channels.
    """
    final = final_slices(problem, pieces)
    if pace is None:
        return WriteTimes(begin=final, until=pieces.leave)
    turns = _find_turns(problem, pieces, pace)
    spare = _next_spare(final, pace, timeline=timeline, machine=machine)
    begin = np.clip(np.minimum(turns.begin, spare), final, pieces.leave)
    return WriteTimes(begin=begin, until=turns.until)


def still_there(
    problem: Problem,
    pieces: FetchPieces,
    begin: NDArray[np.int64],
    pace: Pace | None,
    *,
    timeline: Timeline,
    machine: Machine,
) -> NDArray[np.int64]:
    """Return the pages that are counted as absent at each slice and are being written all the same, shape (slices,).

    Args:
        problem: The gaps.
        pieces: What they move.
        begin: When each piece may be written (`WriteTimes`).
        pace: The link as planned. While slices wait for it, it writes: without the waiting, pages of a step that mostly
            waits would seem to be there for many slices.
        timeline: The step.
        machine: For the time that a write takes.
    """
    T = problem.num_slices
    clock = np.concatenate([[0.0], np.cumsum(np.tile(lasting_s(timeline, pace), 4))])
    written_s = clock[begin + T] + machine.slow.write_latency_s
    written_s += pieces.pages * (timeline.page_bytes / machine.write_bytes_per_s)
    gone = np.clip(np.searchsorted(clock, written_s) - T, pieces.leave, pieces.back)
    pages = np.where(is_fresh(problem, pieces), pieces.pages, 0)
    return pages_between(pieces.leave, gone, pages, num_slices=T)


def _next_spare(
    since: NDArray[np.int64], pace: Pace, *, timeline: Timeline, machine: Machine
) -> NDArray[np.int64]:
    """Return the first slice from `since` on in a bin whose link has time to spare; two steps on where none has."""
    T, page = len(timeline.slices), timeline.page_bytes
    both_s = (pace.pages_in + pace.pages_out) * (page / machine.shared_bytes_per_s)
    busy_s = np.maximum(both_s, pace.pages_out * (page / machine.write_bytes_per_s))
    bin_s = np.add.reduceat(timeline.slices.duration_s, pace.edges[:-1]) + pace.stall_s
    has_spare = busy_s < BUSY * bin_s
    steps = T * np.arange(-1, 2)[:, None]  # content of the previous step is final before this one begins
    first = np.append(steps + pace.edges[:-1][has_spare], 2 * T)
    end = np.append(steps + pace.edges[1:][has_spare], 3 * T)
    return np.maximum(first[np.searchsorted(end, since, side="right")], since)


def _find_turns(problem: Problem, pieces: FetchPieces, pace: Pace) -> WriteTimes:
    """Return when the programme's write channel comes to each piece, and when it has done with it.

    In each bin that channel serves the most urgent of the pieces that are final.
    """
    T, B, final = int(pace.edges[-1]), len(pace.pages_out), final_slices(problem, pieces)
    fresh = np.flatnonzero(is_fresh(problem, pieces))
    rate = pace.pages_out * (pieces.pages[fresh].sum() / max(float(pace.pages_out.sum()), 1e-300))
    born = final[fresh] % T
    waiting: list[list[tuple[int, int]]] = [[] for _ in range(B)]
    for i, b in enumerate((np.searchsorted(pace.edges, born, side="right") - 1).tolist()):
        waiting[b].append((int(pieces.leave[fresh[i]] - final[fresh[i]] + born[i]), i))
    begin, end = np.full(len(fresh), 3 * T), np.zeros(len(fresh), np.int64)
    queue: list[tuple[int, int, int, float]] = []
    # Three steps: the first fills the queue as a steady step finds it, the second's pieces count, and what it leaves over
    # is served in the third.
    for time in range(3 * B):
        step, b = divmod(time, B)
        at, room = step * T + int(pace.edges[b]), rate[b]
        for leave, i in waiting[b]:
            heapq.heappush(queue, (leave + step * T, step, i, float(pieces.pages[fresh[i]])))
        while queue and room > HALF_A_PAGE:
            leave, of_step, i, left = heapq.heappop(queue)
            if of_step == 1:
                begin[i] = min(begin[i], at)
            if left > room + HALF_A_PAGE:  # the bin is over before the piece is
                heapq.heappush(queue, (leave, of_step, i, left - room))
            elif of_step == 1:
                end[i] = at
            room -= left
    shift = final[fresh] - born - T
    turns = WriteTimes(begin=final.copy(), until=pieces.leave.copy())
    turns.begin[fresh] = begin + shift
    turns.until[fresh] = np.clip(end + shift, pieces.leave[fresh], pieces.back[fresh])
    return turns
