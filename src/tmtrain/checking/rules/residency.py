"""Where every page is at every slice: the transfers, followed one by one round the step.

A page is in fast memory from the slice before which its fetch begins to the slice before which it is given up, whatever
the link does: the conservative reading. Content that nobody needs any more takes no room.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from tmtrain.checking.findings import Findings
from tmtrain.checking.walk import Access, Walk
from tmtrain.lowering.timeline import Timeline
from tmtrain.plans.plan import Transfers


class FollowedMove(NamedTuple):
    """A row of `tmtrain.planning.Transfers`, and its number."""

    row: int
    extent: int
    first: int
    end: int
    write: int
    written: int
    leave: int
    fetch: int
    back: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Residency:
    """What following the transfers gave."""

    peak_pages: int
    pages_in: int
    pages_out: int


def follow_transfers(timeline: Timeline, walked: Walk, transfers: Transfers, *, found: Findings) -> Residency:
    """Check every transfer and the capacity at every slice; note what is wrong in `found`."""
    before = len(found)
    moves = _sound_moves(timeline, transfers, num_slices=walked.num_slices, found=found)
    last_writes = [_check_gap(move, walked, found=found) for move in moves]
    _check_fronts(moves, num_slices=walked.num_slices, found=found)
    peak = 0
    if len(found) == before:  # else pages are not where the walk would believe them
        peak = _walk_capacity(timeline, walked, moves, found=found)
    return Residency(
        peak_pages=peak,
        pages_in=sum(m.end - m.first for m in moves),
        pages_out=_pages_written(moves, last_writes, num_slices=walked.num_slices),
    )


def _sound_moves(
    timeline: Timeline, transfers: Transfers, *, num_slices: int, found: Findings
) -> list[FollowedMove]:
    """Read the transfers; leave out those that are none."""
    pages = timeline.extents.pages.tolist()
    columns = (
        transfers.extent, transfers.first_page, transfers.first_page + transfers.pages, transfers.write_slice,
        transfers.written_slice, transfers.leave_slice, transfers.fetch_slice, transfers.return_slice,
    )  # fmt: skip
    moves: list[FollowedMove] = []
    for row, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        move, before = FollowedMove(row, *values), len(found)
        if not 0 <= move.extent < len(pages):
            found.add("transfer", f"transfer {row} moves extent {move.extent} of {len(pages)}", 1, "extents")
            continue
        if move.first < 0 or move.end <= move.first or move.end > pages[move.extent]:
            found.add(
                "transfer",
                f"transfer {row} moves pages {move.first} to {move.end} of extent {move.extent}, which has "
                f"{pages[move.extent]}",
                max(move.end - pages[move.extent], -move.first, 1),
            )
        disorder = _disorder(move)
        if disorder > 0:
            found.add(
                "transfer",
                f"transfer {row} is written from slice {move.write} to {move.written}, leaves at {move.leave}, is fetched "
                f"at {move.fetch} and is back at {move.back}: not in order",
                disorder,
                "slices",
            )
        elif move.back - move.leave > num_slices:
            found.add(
                "cycle", f"transfer {row} is away for more than a step", move.back - move.leave, "slices"
            )
        if len(found) == before:
            moves.append(move)
    return moves


def check_class(
    timeline: Timeline, walked: Walk, transfers: Transfers, recomputations: set[int], *, found: Findings
) -> None:
    """Rule 3c of the class: what the step has made and a recomputation had stays until the step has used it.

    Args:
        timeline: The step with its recomputations.
        walked: The same, walked.
        transfers: Well-formed.
        recomputations: Slices that are recomputations.
        found: Where to note what leaves.
    """
    extents = timeline.extents
    for row, (extent, leave) in enumerate(
        zip(transfers.extent.tolist(), transfers.leave_slice.tolist(), strict=True)
    ):
        number, _ = _before(walked.accesses[extent], leave, walked.num_slices)
        if walked.accesses[extent][number].slice in recomputations and not extents.persistent[extent]:
            where = f"transfer {row} takes pages of storage {extents.storage[extent]} away between a recomputation and their use"
            found.add("class", where, int(transfers.pages[row]))


def _disorder(move: FollowedMove) -> int:
    """By how many slices the times of a transfer are out of order; written and fetched are both between leave and back."""
    times = (
        (0, move.write), (move.write, move.leave), (move.leave, move.written), (move.written, move.back),
        (move.leave, move.fetch), (move.fetch, move.back),
    )  # fmt: skip
    return max(earlier - later for earlier, later in times)


def _before(accesses: list[Access], t: int, num_slices: int) -> tuple[int, int]:
    """Return the number of the last access before slice `t`, which runs on beyond the step, and when that is."""
    step, within = divmod(t, num_slices)
    number = bisect_left(accesses, within, key=lambda a: a.slice) - 1
    if number < 0:
        return len(accesses) - 1, accesses[-1].slice + (step - 1) * num_slices
    return number, accesses[number].slice + step * num_slices


def _check_gap(move: FollowedMove, walked: Walk, *, found: Findings) -> int | None:
    """Check one transfer against the accesses of its extent; return when its content was written, None if never."""
    accesses, T = walked.accesses[move.extent], walked.num_slices
    name = f"transfer {move.row} (extent {move.extent})"
    if not accesses:
        found.add("gap", f"{name} moves what no slice touches", move.end - move.first)
        return None
    number, last_use = _before(accesses, move.leave, T)
    following = accesses[(number + 1) % len(accesses)]
    next_use = last_use + ((following.slice - accesses[number].slice - 1) % T) + 1
    if next_use < move.back:
        found.add(
            "absent-at-use",
            f"{name} is away before slices {move.leave} to {move.back}, slice {next_use} touches it",
            move.back - next_use,
            "slices",
        )
    elif not following.needs:
        found.add("gap", f"{name} brings back what slice {next_use} overwrites", move.end - move.first)
    last_write = _last_write(accesses, number, last_use, T)
    if last_write is not None and move.write <= last_write:
        found.add(
            "stale-write",
            f"{name} is written before slice {move.write}, its content is made by slice {last_write}",
            last_write + 1 - move.write,
            "slices",
        )
    return last_write


def _last_write(accesses: list[Access], number: int, at: int, num_slices: int) -> int | None:
    for back in range(len(accesses)):
        access = accesses[(number - back) % len(accesses)]
        when = at - (accesses[number].slice - access.slice) % num_slices
        if access.writes:
            return when
    return None


def _check_fronts(moves: list[FollowedMove], *, num_slices: int, found: Findings) -> None:
    """Check that the pieces of a gap are its front, that the first leaves first, and that the last comes back first."""

    def gap_of(move: FollowedMove) -> tuple[int, int]:
        return move.extent, move.back % num_slices

    for _, group in groupby(sorted(moves, key=lambda m: (*gap_of(m), m.first)), key=gap_of):
        reached, left, fetched = 0, None, None
        for move in group:
            leave, fetch = move.leave - move.back, move.fetch - move.back
            if move.first != reached:
                found.add(
                    "front",
                    f"transfer {move.row} of extent {move.extent} begins at page {move.first}, the pieces before it end at "
                    f"{reached}",
                    abs(move.first - reached),
                )
            if left is not None and leave < left:
                found.add(
                    "front", f"transfer {move.row} leaves before the front does", left - leave, "slices"
                )
            if fetched is not None and fetch > fetched:
                found.add(
                    "front", f"transfer {move.row} is fetched after the front", fetch - fetched, "slices"
                )
            reached, left, fetched = move.end, leave, fetch


def _walk_capacity(timeline: Timeline, walked: Walk, moves: list[FollowedMove], *, found: Findings) -> int:
    """Walk the step slice by slice with what is there; return the most pages."""
    T, pages = walked.num_slices, timeline.extents.pages.tolist()
    leaving: list[list[FollowedMove]] = [[] for _ in range(T)]
    arriving: list[list[FollowedMove]] = [[] for _ in range(T)]
    away = [0] * len(pages)
    for move in moves:
        leaving[move.leave % T].append(move)
        arriving[move.fetch % T].append(move)
        if move.fetch // T > move.leave // T:  # away when the step begins
            away[move.extent] += move.end - move.first
    alive = [bool(a) and a[0].needs for a in walked.accesses]
    at_start = list(away), list(alive)
    used = sum(pages[e] for e in range(len(pages)) if alive[e]) - sum(away)
    peak = 0
    for t in range(T):
        for move in leaving[t]:
            away[move.extent] += move.end - move.first
            used -= move.end - move.first
        for move in arriving[t]:
            away[move.extent] -= move.end - move.first
            used += move.end - move.first
        for extent, _ in walked.touched[t]:
            used += 0 if alive[extent] else pages[extent]
            alive[extent] = True
            if away[extent]:
                found.add(
                    "absent-at-use",
                    f"slice {t} touches extent {extent}, of which {away[extent]} pages are away",
                    away[extent],
                )
        peak = max(peak, used)
        if used > timeline.fast_pages:
            found.add(
                "capacity",
                f"slice {t}: {used} pages are in use, the fast tier has {timeline.fast_pages}",
                used - timeline.fast_pages,
            )
        for extent, access in walked.touched[t]:
            if not _is_needed_after(walked.accesses[extent], access):
                alive[extent] = False
                used -= pages[extent]
    changed = [e for e in range(len(pages)) if (away[e], alive[e]) != (at_start[0][e], at_start[1][e])]
    for extent in changed:
        found.add("cycle", f"extent {extent} is not where it was a step before", pages[extent])
    return peak


def _is_needed_after(accesses: list[Access], access: Access) -> bool:
    following = bisect_left(accesses, access.slice + 1, key=lambda a: a.slice) % len(accesses)
    return accesses[following].needs


def _pages_written(moves: list[FollowedMove], last_writes: list[int | None], *, num_slices: int) -> int:
    """Count the pages that need writing: of one content once, however often it leaves."""
    most: dict[tuple[int, int], int] = {}
    for move, last_write in zip(moves, last_writes, strict=True):
        if last_write is not None:
            key = move.extent, last_write % num_slices
            most[key] = max(most.get(key, 0), move.end)
    return sum(most.values())
