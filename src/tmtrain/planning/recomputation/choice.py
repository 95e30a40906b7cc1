"""From the shares of the programme to recomputations of whole rows, in pieces that fit.

The rows of a strip are numbered; recomputation q runs for row i where its share exceeds ``(i + offset) / rows``, the same
threshold for all recomputations of the strip, so that every recomputation finds the rows it needs (Note [Nested rows] in
`tmtrain.planning.recomputation.candidates`). Where a block has one row only, a share of 0.3 can not be had in it; the offset differs from strip
to strip, evenly spread over (0, 1), so that it is had on average over the blocks. Where memory does not allow that: down.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.recomputation import Recomputations, no_recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.recomputation.blocks import StorageLife
from tmtrain.planning.recomputation.candidates import RecomputeCandidates

GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly, however many there are."""
SURE = 1e-6
"""Shares closer to a whole number are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How shares become rows."""

    piece_share: float
    """Of the fast tier: what recomputations hold only while they run. Small pieces cost latency, large ones memory."""
    down: bool
    """Never to more rows than the share says, which may be the whole storage where a block has one row."""


ROUNDINGS = (Rounding(piece_share=1 / 8, down=False), Rounding(piece_share=1 / 32, down=True))
"""The one that costs least time, and the one that needs least memory."""


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
        recomputing: What could be recomputed.
        shares: Of each recomputation, shape (recomputations,), as the programme found them.
        timeline: The step, for the producers.
        life: Of its storages.
        rounding: To rows and pieces.
    """
    masks = _row_masks(candidates, shares, down=rounding.down)
    most = max(1, int(rounding.piece_share * timeline.fast_pages))
    if not masks:
        return no_recomputations()
    by_point: dict[int, list[int]] = defaultdict(list)
    point_of = dict(zip(candidates.recompute_producer, candidates.recompute_point, strict=True))
    for producer in masks:
        by_point[point_of[producer]].append(producer)
    rows: list[tuple[int, int, int, int, int]] = []
    for point in sorted(by_point):
        producers = sorted(by_point[point])
        _complete(masks, producers, point_of, point, timeline=timeline, life=life)
        chosen = sorted(r for r in masks if point_of[r] == point)
        rows += _pieces(masks, chosen, point, timeline=timeline, life=life, most=most)
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Recomputations(
        producer=columns[0].astype(np.int32), before_slice=columns[1].astype(np.int32),
        first_row=columns[2], end_row=columns[3], rows=columns[4],
    )  # fmt: skip


def _row_masks(
    candidates: RecomputeCandidates, shares: NDArray[np.float64], *, down: bool
) -> dict[int, NDArray[np.bool_]]:
    """Return the rows of each producer that are recomputed; producers without any are left out."""
    masks: dict[int, NDArray[np.bool_]] = {}
    for q, share in enumerate(shares.tolist()):
        if share <= SURE:
            continue
        first, end, count = candidates.recompute_rows[q]
        offset = 1.0 if down else (candidates.recompute_strip[q] * GOLDEN) % 1.0
        offset = offset * (1 - 2 * SURE) + SURE
        chosen = int(np.ceil((end - first) * min(share, 1.0) - offset)) if share < 1 - SURE else end - first
        if chosen > 0:
            mask = masks.setdefault(candidates.recompute_producer[q], np.zeros(count, bool))
            mask[first : first + chosen] = True
    return masks


def _complete(
    masks: dict[int, NDArray[np.bool_]],
    producers: list[int],
    point_of: dict[int, int],
    point: int,
    *,
    timeline: Timeline,
    life: StorageLife,
) -> None:
    """Add the recomputations of what only recomputations make and the chosen ones read: small results, and what must be there whole."""
    table = timeline.producers
    maker: dict[int, int] = {}
    for producer in point_of:
        if point_of[producer] == point:
            for touch in _touches(timeline, producer):
                if table.touch_writes[touch]:
                    maker[int(table.touch_storage[touch])] = producer
    pending = sorted(producers, reverse=True)
    while pending:
        producer = pending.pop(0)
        for touch in _touches(timeline, producer):
            storage = int(table.touch_storage[touch])
            made_by = maker.get(storage)
            is_gone = life.last_forward[storage] < point <= life.needed[storage] and life.needed[
                storage
            ] == len(timeline.slices)
            if made_by is None or made_by == producer or not is_gone:
                continue
            count = (
                len(masks[made_by]) if made_by in masks else _rows_like(masks[producer], table.rows[made_by])
            )
            before = masks.get(made_by, np.zeros(count, bool))
            same = table.touch_follows[touch] and count == len(masks[producer])
            after = before | (masks[producer] if same else True)
            if not np.array_equal(before, after):
                masks[made_by] = after
                pending.append(made_by)


def _rows_like(mask: NDArray[np.bool_], rows: int) -> int:
    return len(mask) if rows % len(mask) == 0 else 1


def _touches(timeline: Timeline, producer: int) -> range:
    table = timeline.producers
    return range(
        int(table.touch_ptr[table.op_ptr[producer]]), int(table.touch_ptr[table.op_ptr[producer + 1]])
    )


def _pieces(
    masks: dict[int, NDArray[np.bool_]],
    producers: list[int],
    point: int,
    *,
    timeline: Timeline,
    life: StorageLife,
    most: int,
) -> list[tuple[int, int, int, int, int]]:
    """Cut the recomputations of a moment into pieces of rows that hold `most` pages, one after the other through all producers."""
    table = timeline.producers
    passing = 0
    for producer in producers:
        results = {int(table.touch_storage[t]) for t in _touches(timeline, producer) if table.touch_writes[t]}
        passing += sum(int(life.pages[s]) for s in results if life.needed[s] == len(timeline.slices))
    wanted = max(1, -(-passing // most))
    rows: list[tuple[int, int, int, int, int]] = []
    counts = {len(masks[r]) for r in producers}
    pieces = {count: min(count, wanted) for count in counts}
    for piece in range(max(pieces.values())):
        for producer in producers:
            mask, count = masks[producer], len(masks[producer])
            if piece >= pieces[count]:
                continue
            low, high = count * piece // pieces[count], count * (piece + 1) // pieces[count]
            edges = np.flatnonzero(np.diff(np.concatenate([[False], mask[low:high], [False]])))
            rows += [
                (producer, point, low + int(a), low + int(b), count)
                for a, b in zip(edges[::2], edges[1::2], strict=True)
            ]
    return rows
