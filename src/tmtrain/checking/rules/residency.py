"""Where every page is at every slice: the transfers, followed one by one round the step.

A page is in fast memory from the slice before which its fetch begins to the slice before which it leaves, whatever the link
does: the conservative reading. Dead content takes no room.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

from tmtrain.checking.findings import Findings
from tmtrain.checking.walk import Access, Walk
from tmtrain.lowering.timeline import Timeline
from tmtrain.plans.plan import Transfers


class FollowedMove(NamedTuple):
    """A row of `tmtrain.plans.Transfers`, and its number."""

    row: int
    extent: int
    first: int
    end: int
    write: int
    written: int
    leave: int
    fetch: int
    back: int

    @property
    def pages(self) -> int:
        """How many move."""
        return self.end - self.first


@dataclass(frozen=True, slots=True, kw_only=True)
class Residency:
    """What following the transfers gave."""

    peak_pages: int
    pages_in: int
    pages_out: int


def follow_transfers(
    timeline: Timeline, walked: Walk, transfers: Transfers, *, findings: Findings
) -> Residency:
    """Check every transfer and the capacity at every slice; note what is wrong in `findings`."""
    before = len(findings)
    moves = _sound_moves(timeline, transfers, num_slices=walked.num_slices, findings=findings)
    last_writes = [_check_gap(move, walked, findings=findings) for move in moves]
    _check_fronts(moves, num_slices=walked.num_slices, findings=findings)
    peak = 0
    if len(findings) == before:  # else pages are not where the walk would believe them
        peak = _walk_capacity(timeline, walked, moves, findings=findings)
    return Residency(
        peak_pages=peak,
        pages_in=sum(m.pages for m in moves),
        pages_out=_pages_written(moves, last_writes, num_slices=walked.num_slices),
    )


def _sound_moves(
    timeline: Timeline, transfers: Transfers, *, num_slices: int, findings: Findings
) -> list[FollowedMove]:
    """Read the transfers; leave out those that are none."""
    pages = timeline.extents.pages.tolist()
    moves: list[FollowedMove] = []
    for move in _read_moves(transfers):
        row, before = move.row, len(findings)
        if not 0 <= move.extent < len(pages):
            findings.add(
                "transfer", f"transfer {row} moves extent {move.extent} of {len(pages)}", 1, "extents"
            )
            continue
        if move.first < 0 or move.end <= move.first or move.end > pages[move.extent]:
            findings.add(
                "transfer",
                f"transfer {row} moves pages {move.first} to {move.end} of extent {move.extent}, which has "
                f"{pages[move.extent]}",
                max(move.end - pages[move.extent], -move.first, 1),
            )
        disorder = _disorder(move)
        if disorder > 0:
            findings.add(
                "transfer",
                f"transfer {row} is written from slice {move.write} to {move.written}, leaves at {move.leave}, is fetched "
                f"at {move.fetch} and is back at {move.back}: not in order",
                disorder,
                "slices",
            )
        elif move.back - move.leave > num_slices:
            findings.add(
                "cycle", f"transfer {row} is away for more than a step", move.back - move.leave, "slices"
            )
        if len(findings) == before:
            moves.append(move)
    return moves


def _read_moves(transfers: Transfers) -> list[FollowedMove]:
    columns = (
        transfers.extent,
        transfers.first_page,
        transfers.first_page + transfers.pages,
        transfers.write_slice,
        transfers.written_slice,
        transfers.leave_slice,
        transfers.fetch_slice,
        transfers.return_slice,
    )
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [FollowedMove(row, *values) for row, values in enumerate(rows)]


def check_class(
    timeline: Timeline, walked: Walk, transfers: Transfers, recomputations: set[int], *, findings: Findings
) -> None:
    """Rule 3c of the class: what the step has made and a recomputation had stays until the step has used it.

    Args:
        timeline: The step with its recomputations.
        walked: The same, walked.
        transfers: Well-formed.
        recomputations: Slices that are recomputations.
        findings: Where to note what leaves.
    """
    extents = timeline.extents
    for row, (extent, leave) in enumerate(
        zip(transfers.extent.tolist(), transfers.leave_slice.tolist(), strict=True)
    ):
        number, _ = _before(walked.accesses[extent], leave, walked.num_slices)
        if walked.accesses[extent][number].slice in recomputations and not extents.persistent[extent]:
            where = (
                f"transfer {row} takes pages of storage {extents.storage[extent]} away between a recomputation and their "
                "use"
            )
            findings.add("class", where, int(transfers.pages[row]))


def _disorder(move: FollowedMove) -> int:
    """By how many slices the times of a transfer are out of order; written and fetched are both between leave and back."""
    out = (0, move.write, move.leave, move.written, move.back)
    back = (move.leave, move.fetch, move.back)
    return max(earlier - later for times in (out, back) for earlier, later in pairwise(times))


def _before(accesses: list[Access], t: int, num_slices: int) -> tuple[int, int]:
    """Return the number of the last access before slice `t`, which runs on beyond the step, and when that is."""
    step, within = divmod(t, num_slices)
    number = bisect_left(accesses, within, key=lambda a: a.slice) - 1
    if number < 0:
        return len(accesses) - 1, accesses[-1].slice + (step - 1) * num_slices
    return number, accesses[number].slice + step * num_slices


def _check_gap(move: FollowedMove, walked: Walk, *, findings: Findings) -> int | None:
    """Check one transfer against the accesses of its extent; return when its content was written, None if never."""
    accesses, T = walked.accesses[move.extent], walked.num_slices
    name = f"transfer {move.row} (extent {move.extent})"
    if not accesses:
        findings.add("gap", f"{name} moves what no slice touches", move.pages)
        return None
    number, last_use = _before(accesses, move.leave, T)
    following = accesses[(number + 1) % len(accesses)]
    next_use = last_use + ((following.slice - accesses[number].slice - 1) % T) + 1
    if next_use < move.back:
        findings.add(
            "absent-at-use",
            f"{name} is away before slices {move.leave} to {move.back}, slice {next_use} touches it",
            move.back - next_use,
            "slices",
        )
    elif not following.needs:
        findings.add("gap", f"{name} brings back what slice {next_use} overwrites", move.pages)
    last_write = _last_write(accesses, number, last_use, T)
    if last_write is not None and move.write <= last_write:
        findings.add(
            "stale-write",
            f"{name} is written before slice {move.write}, its content is made by slice {last_write}",
            last_write + 1 - move.write,
            "slices",
        )
    return last_write


def _last_write(accesses: list[Access], number: int, at: int, num_slices: int) -> int | None:
    # Backwards round the cycle: an access that comes later in the step was one of the step before.
    for back in range(len(accesses)):
        access = accesses[(number - back) % len(accesses)]
        when = at - (accesses[number].slice - access.slice) % num_slices
        if access.writes:
            return when
    return None


def _check_fronts(moves: list[FollowedMove], *, num_slices: int, findings: Findings) -> None:
    """Check that the pieces of a gap are its front, that the first leaves first, and that the last comes back first."""

    def gap_of(move: FollowedMove) -> tuple[int, int]:
        return move.extent, move.back % num_slices

    for _, group in groupby(sorted(moves, key=lambda m: (*gap_of(m), m.first)), key=gap_of):
        reached, left, fetched = 0, None, None
        for move in group:
            leave, fetch = move.leave - move.back, move.fetch - move.back
            if move.first != reached:
                findings.add(
                    "front",
                    f"transfer {move.row} of extent {move.extent} begins at page {move.first}, the pieces before it end at "
                    f"{reached}",
                    abs(move.first - reached),
                )
            if left is not None and leave < left:
                findings.add(
                    "front", f"transfer {move.row} leaves before the front does", left - leave, "slices"
                )
            if fetched is not None and fetch > fetched:
                findings.add(
                    "front", f"transfer {move.row} is fetched after the front", fetch - fetched, "slices"
                )
            reached, left, fetched = move.end, leave, fetch


@dataclass(slots=True, kw_only=True)
class _Occupancy:
    """What is in fast memory."""

    extent_pages: list[int]
    away: list[int]
    """Pages of each extent that transfers have taken away."""
    alive: list[bool]
    """Whether each extent holds content that is needed; only then does it take room."""
    used: int
    """Pages in all."""

    @classmethod
    def at_start(cls, timeline: Timeline, walked: Walk, moves: list[FollowedMove]) -> "_Occupancy":
        """Return what the step before has left."""
        T, pages = walked.num_slices, timeline.extents.pages.tolist()
        away = [0] * len(pages)
        for move in moves:
            if move.fetch // T > move.leave // T:  # round the end of the step
                away[move.extent] += move.pages
        alive = [bool(a) and a[0].needs for a in walked.accesses]
        used = sum(pages[e] for e in range(len(pages)) if alive[e]) - sum(away)
        return cls(extent_pages=pages, away=away, alive=alive, used=used)

    def page_out(self, move: FollowedMove) -> None:
        """Let the pages of a transfer leave."""
        self.away[move.extent] += move.pages
        self.used -= move.pages

    def page_in(self, move: FollowedMove) -> None:
        """Make room for the pages of a transfer."""
        self.away[move.extent] -= move.pages
        self.used += move.pages

    def bring_to_life(self, extent: int) -> None:
        """Let an extent take room, if it does not yet."""
        self.used += 0 if self.alive[extent] else self.extent_pages[extent]
        self.alive[extent] = True

    def free(self, extent: int) -> None:
        """Let dead content go."""
        self.alive[extent] = False
        self.used -= self.extent_pages[extent]


def _walk_capacity(timeline: Timeline, walked: Walk, moves: list[FollowedMove], *, findings: Findings) -> int:
    """Walk the step slice by slice with what is there; return the most pages."""
    T = walked.num_slices
    leaving: list[list[FollowedMove]] = [[] for _ in range(T)]
    arriving: list[list[FollowedMove]] = [[] for _ in range(T)]
    for move in moves:
        leaving[move.leave % T].append(move)
        arriving[move.fetch % T].append(move)
    occupancy = _Occupancy.at_start(timeline, walked, moves)
    at_start = list(zip(occupancy.away, occupancy.alive, strict=True))
    peak = 0
    for t in range(T):
        for move in leaving[t]:
            occupancy.page_out(move)
        for move in arriving[t]:
            occupancy.page_in(move)
        _run_slice(t, walked, occupancy, findings=findings)
        # Everything that the slice touches is there by now, and what dies with it is not gone yet.
        peak = max(peak, occupancy.used)
        if occupancy.used > timeline.fast_pages:
            where = f"slice {t}: {occupancy.used} pages are in use, the fast tier has {timeline.fast_pages}"
            findings.add("capacity", where, occupancy.used - timeline.fast_pages)
        for extent, access in walked.touched[t]:
            if not _is_needed_after(walked.accesses[extent], access):
                occupancy.free(extent)
    # The next step begins where this one ends: a plan that holds for one step only is none.
    for extent, state in enumerate(zip(occupancy.away, occupancy.alive, strict=True)):
        if state != at_start[extent]:
            where = f"extent {extent} is not where it was a step before"
            findings.add("cycle", where, occupancy.extent_pages[extent])
    return peak


def _run_slice(t: int, walked: Walk, occupancy: _Occupancy, *, findings: Findings) -> None:
    """Let a slice touch its extents, which have to be there whole."""
    for extent, _ in walked.touched[t]:
        occupancy.bring_to_life(extent)
        if occupancy.away[extent]:
            where = f"slice {t} touches extent {extent}, of which {occupancy.away[extent]} pages are away"
            findings.add("absent-at-use", where, occupancy.away[extent])


def _is_needed_after(accesses: list[Access], access: Access) -> bool:
    following = bisect_left(accesses, access.slice + 1, key=lambda a: a.slice) % len(accesses)
    return accesses[following].needs


def _pages_written(moves: list[FollowedMove], last_writes: list[int | None], *, num_slices: int) -> int:
    """Count the pages that need writing: of one content once, however often it leaves."""
    # What leaves is the front of an extent, so the longest front of a content covers all that leaves of it.
    most: dict[tuple[int, int], int] = {}
    for move, last_write in zip(moves, last_writes, strict=True):
        if last_write is not None:
            key = move.extent, last_write % num_slices
            most[key] = max(most.get(key, 0), move.end)
    return sum(most.values())
