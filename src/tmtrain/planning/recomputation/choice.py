"""From the shares of the programme to recomputations of whole rows, in pieces that fit.

The rows of a strip are numbered. Recomputation q runs for row i where its share exceeds ``(i + offset) / rows``. The
threshold is the same for all recomputations of the strip, so every recomputation finds the rows that it needs (Note [Nested
rows] in `tmtrain.planning.recomputation.candidates`). Where a block has one row only, a share of 0.3 cannot be had in it.
So the offset differs from strip to strip, evenly spread over (0, 1), and the share is had on average over the blocks. Where
memory does not allow that, rows are rounded down.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.recomputation import Recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.recomputation.blocks import StorageLife
from tmtrain.planning.recomputation.candidates import RecomputeCandidates, RowRange
from tmtrain.planning.recomputation.ids import ProducerId, StorageId

GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly, however many there are."""
SURE = 1e-6
"""Shares closer to a whole number are one."""

RowMask: TypeAlias = NDArray[np.bool_]
"""Of each row of a producer: whether it runs again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How shares become rows."""

    piece_share: float
    """Of the fast tier: what recomputations hold only while they run. Small pieces cost latency, large ones memory."""
    down: bool
    """Never to more rows than the share says, which may be the whole storage where a block has one row."""


ROUNDINGS = (Rounding(piece_share=1 / 8, down=False), Rounding(piece_share=1 / 32, down=True))
"""The one that costs least time, and the one that needs least memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _ProducerTouch:
    """What an operator of a producer does to a storage."""

    storage: StorageId
    writes: bool
    follows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _RecomputePoint:
    """A slice of backward and the producers that may run again before it."""

    before_slice: int
    producers: tuple[ProducerId, ...]
    timeline: Timeline
    life: StorageLife

    def makers(self) -> dict[StorageId, ProducerId]:
        """Return which of the producers makes a storage; the last one of several."""
        return {
            touch.storage: producer
            for producer in self.producers
            for touch in _touches(self.timeline, producer)
            if touch.writes
        }

    def is_gone(self, storage: StorageId) -> bool:
        """Whether a storage is dead here and for good: only a recomputation brings it back."""
        never_needed = self.life.needed[storage] == len(self.timeline.slices)
        return bool(never_needed and self.life.last_forward[storage] < self.before_slice)


def choose_recomputations(
    candidates: RecomputeCandidates,
    shares: NDArray[np.float64],
    *,
    timeline: Timeline,
    life: StorageLife,
    rounding: Rounding,
) -> Recomputations:
    """Return the recomputations that run.

    Args:
        candidates: What could be recomputed.
        shares: Of each recomputation, shape (recomputations,), as the programme found them.
        timeline: The step, for the producers.
        life: Of its storages.
        rounding: To rows and pieces.
    """
    masks = _row_masks(candidates, shares, down=rounding.down)
    most_pages = max(1, int(rounding.piece_share * timeline.fast_pages))
    table: list[tuple[int, int, int, int, int]] = []
    for point in _points(candidates, timeline=timeline, life=life):
        chosen = {producer: masks[producer] for producer in point.producers if producer in masks}
        if chosen:
            table += [
                (producer, point.before_slice, rows.first, rows.end, rows.count)
                for producer, rows in _pieces(_complete(chosen, point), point, most_pages=most_pages)
            ]
    columns = np.array(table, np.int64).reshape(-1, 5).T
    return Recomputations(
        producer=columns[0].astype(np.int32),
        before_slice=columns[1].astype(np.int32),
        first_row=columns[2],
        end_row=columns[3],
        rows=columns[4],
    )


def _row_masks(
    candidates: RecomputeCandidates, shares: NDArray[np.float64], *, down: bool
) -> dict[ProducerId, RowMask]:
    """Return the rows of each producer that are recomputed; producers without any are left out."""
    masks: dict[ProducerId, RowMask] = {}
    for recomputation, share in zip(candidates.recomputations, shares.tolist(), strict=True):
        if share <= SURE:
            continue
        rows = recomputation.rows
        offset = 1.0 if down else (recomputation.strip * GOLDEN) % 1.0
        # Kept off 0 and 1, where the solver's last digit would decide about a row.
        offset = offset * (1 - 2 * SURE) + SURE
        length = rows.end - rows.first
        chosen = int(np.ceil(length * min(share, 1.0) - offset)) if share < 1 - SURE else length
        if chosen > 0:
            mask = masks.setdefault(recomputation.producer, np.zeros(rows.count, bool))
            mask[rows.first : rows.first + chosen] = True
    return masks


def _points(
    candidates: RecomputeCandidates, *, timeline: Timeline, life: StorageLife
) -> list[_RecomputePoint]:
    """Return the recompute points in order; each producer has one, that of its block."""
    point_of = {recomputation.producer: recomputation.point for recomputation in candidates.recomputations}
    members: dict[int, list[ProducerId]] = defaultdict(list)
    for producer, point in point_of.items():
        members[point].append(producer)
    return [
        _RecomputePoint(before_slice=point, producers=tuple(members[point]), timeline=timeline, life=life)
        for point in sorted(members)
    ]


def _complete(chosen: Mapping[ProducerId, RowMask], point: _RecomputePoint) -> dict[ProducerId, RowMask]:
    """Add the recomputations whose results only recomputations make and the chosen ones read.

    The programme ties such producers row by row, but leaves out small results, and what is read as a whole it asks for only
    in proportion. So what is read is looked up here, from reader to maker, until nothing is missing.
    """
    masks, makers = dict(chosen), point.makers()
    # Readers come after their makers in the step: from the last one back, most producers are looked at once.
    pending = sorted(masks, reverse=True)
    while pending:
        reader = pending.pop(0)
        for touch in _touches(point.timeline, reader):
            maker = makers.get(touch.storage)
            # What is kept or moved is there without its maker; what the reader makes itself needs no other.
            if maker is None or maker == reader or not point.is_gone(touch.storage):
                continue
            before = masks.get(maker)
            if before is None:
                before = np.zeros(_count_like(masks[reader], int(point.timeline.producers.rows[maker])), bool)
            # Row i needs row i where both count the same rows; else any row may need all of them.
            same_rows = touch.follows and len(before) == len(masks[reader])
            after = before | (masks[reader] if same_rows else True)
            if not np.array_equal(before, after):
                masks[maker] = after
                pending.append(maker)
    return masks


def _count_like(mask: RowMask, trips: int) -> int:
    """Return as many rows as the reader has, where the maker can be cut so; else one."""
    return len(mask) if trips % len(mask) == 0 else 1


def _touches(timeline: Timeline, producer: ProducerId) -> list[_ProducerTouch]:
    table = timeline.producers
    touches = slice(*table.touch_ptr[table.op_ptr[[producer, producer + 1]]].tolist())
    return [
        _ProducerTouch(storage=StorageId(storage), writes=writes, follows=follows)
        for storage, writes, follows in zip(
            table.touch_storage[touches].tolist(),
            table.touch_writes[touches].tolist(),
            table.touch_follows[touches].tolist(),
            strict=True,
        )
    ]


def _pieces(
    masks: Mapping[ProducerId, RowMask], point: _RecomputePoint, *, most_pages: int
) -> Iterator[tuple[ProducerId, RowRange]]:
    """Yield the rows that run in pieces that hold `most_pages`, one piece after the other through all producers."""
    wanted = max(1, -(-_passing_pages(masks, point) // most_pages))
    pieces = {len(mask): min(len(mask), wanted) for mask in masks.values()}
    order = sorted(masks)
    for piece in range(max(pieces.values())):
        for producer in order:
            mask, count = masks[producer], len(masks[producer])
            # Producers with fewer rows than there are pieces are through sooner.
            if piece < pieces[count]:
                low, high = count * piece // pieces[count], count * (piece + 1) // pieces[count]
                edges = np.flatnonzero(np.diff(np.concatenate([[False], mask[low:high], [False]])))
                for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
                    yield producer, RowRange(first=low + first, end=low + end, count=count)


def _passing_pages(masks: Mapping[ProducerId, RowMask], point: _RecomputePoint) -> int:
    """Return the pages that are held only while recomputations run: results that backward does not need."""
    passing = 0
    for producer in masks:
        results = {touch.storage for touch in _touches(point.timeline, producer) if touch.writes}
        needed = point.life.needed
        passing += sum(int(point.life.pages[s]) for s in results if needed[s] == len(point.timeline.slices))
    return passing
