"""From the shares of the programme to replays of whole rows, in pieces that fit.

The rows of a strip are numbered; replay q runs for row i where its share exceeds ``(i + offset) / rows``, the same
threshold for all replays of the strip, so that every replay finds the rows it needs (Note [Nested rows] in
`tmtrain.planning.recomputation.candidates`). Where a block has one row only, a share of 0.3 can not be had in it; the offset differs from strip
to strip, evenly spread over (0, 1), so that it is had on average over the blocks. Where memory does not allow that: down.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.recomputation import Replays, no_replays
from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.recomputation.blocks import StorageLife
from tmtrain.planning.recomputation.candidates import Remaking

GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, are spread evenly, however many there are."""
SURE = 1e-6
"""Shares closer to a whole number are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """How shares become rows."""

    piece_share: float
    """Of the fast tier: what replays hold only while they run. Small pieces cost latency, large ones memory."""
    down: bool
    """Never to more rows than the share says, which may be the whole storage where a block has one row."""


ROUNDINGS = (Rounding(piece_share=1 / 8, down=False), Rounding(piece_share=1 / 32, down=True))
"""The one that costs least time, and the one that needs least memory."""


def choose_replays(
    remaking: Remaking,
    shares: NDArray[np.float64],
    *,
    timeline: Timeline,
    life: StorageLife,
    rounding: Rounding,
) -> Replays:
    """Return the replays that run.

    Args:
        remaking: What could be made again.
        shares: Of each replay, shape (replays,), as the programme found them.
        timeline: The step, for the recipes.
        life: Of its storages.
        rounding: To rows and pieces.
    """
    masks = _row_masks(remaking, shares, down=rounding.down)
    most = max(1, int(rounding.piece_share * timeline.fast_pages))
    if not masks:
        return no_replays()
    by_moment: dict[int, list[int]] = defaultdict(list)
    moment_of = dict(zip(remaking.replay_recipe, remaking.replay_moment, strict=True))
    for recipe in masks:
        by_moment[moment_of[recipe]].append(recipe)
    rows: list[tuple[int, int, int, int, int]] = []
    for moment in sorted(by_moment):
        recipes = sorted(by_moment[moment])
        _complete(masks, recipes, moment_of, moment, timeline=timeline, life=life)
        chosen = sorted(r for r in masks if moment_of[r] == moment)
        rows += _pieces(masks, chosen, moment, timeline=timeline, life=life, most=most)
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Replays(
        recipe=columns[0].astype(np.int32), before_slice=columns[1].astype(np.int32),
        first_row=columns[2], end_row=columns[3], rows=columns[4],
    )  # fmt: skip


def _row_masks(
    remaking: Remaking, shares: NDArray[np.float64], *, down: bool
) -> dict[int, NDArray[np.bool_]]:
    """Return the rows of each recipe that are made again; recipes without any are left out."""
    masks: dict[int, NDArray[np.bool_]] = {}
    for q, share in enumerate(shares.tolist()):
        if share <= SURE:
            continue
        first, end, count = remaking.replay_rows[q]
        offset = 1.0 if down else (remaking.replay_strip[q] * GOLDEN) % 1.0
        offset = offset * (1 - 2 * SURE) + SURE
        chosen = int(np.ceil((end - first) * min(share, 1.0) - offset)) if share < 1 - SURE else end - first
        if chosen > 0:
            mask = masks.setdefault(remaking.replay_recipe[q], np.zeros(count, bool))
            mask[first : first + chosen] = True
    return masks


def _complete(
    masks: dict[int, NDArray[np.bool_]],
    recipes: list[int],
    moment_of: dict[int, int],
    moment: int,
    *,
    timeline: Timeline,
    life: StorageLife,
) -> None:
    """Add the replays of what only replays make and the chosen ones read: small results, and what must be there whole."""
    table = timeline.recipes
    maker: dict[int, int] = {}
    for recipe in moment_of:
        if moment_of[recipe] == moment:
            for touch in _touches(timeline, recipe):
                if table.touch_writes[touch]:
                    maker[int(table.touch_storage[touch])] = recipe
    pending = sorted(recipes, reverse=True)
    while pending:
        recipe = pending.pop(0)
        for touch in _touches(timeline, recipe):
            storage = int(table.touch_storage[touch])
            made_by = maker.get(storage)
            is_gone = life.last_forward[storage] < moment <= life.needed[storage] and life.needed[
                storage
            ] == len(timeline.slices)
            if made_by is None or made_by == recipe or not is_gone:
                continue
            count = (
                len(masks[made_by]) if made_by in masks else _rows_like(masks[recipe], table.rows[made_by])
            )
            before = masks.get(made_by, np.zeros(count, bool))
            same = table.touch_follows[touch] and count == len(masks[recipe])
            after = before | (masks[recipe] if same else True)
            if not np.array_equal(before, after):
                masks[made_by] = after
                pending.append(made_by)


def _rows_like(mask: NDArray[np.bool_], rows: int) -> int:
    return len(mask) if rows % len(mask) == 0 else 1


def _touches(timeline: Timeline, recipe: int) -> range:
    table = timeline.recipes
    return range(int(table.touch_ptr[table.op_ptr[recipe]]), int(table.touch_ptr[table.op_ptr[recipe + 1]]))


def _pieces(
    masks: dict[int, NDArray[np.bool_]],
    recipes: list[int],
    moment: int,
    *,
    timeline: Timeline,
    life: StorageLife,
    most: int,
) -> list[tuple[int, int, int, int, int]]:
    """Cut the replays of a moment into pieces of rows that hold `most` pages, one after the other through all recipes."""
    table = timeline.recipes
    passing = 0
    for recipe in recipes:
        results = {int(table.touch_storage[t]) for t in _touches(timeline, recipe) if table.touch_writes[t]}
        passing += sum(int(life.pages[s]) for s in results if life.needed[s] == len(timeline.slices))
    wanted = max(1, -(-passing // most))
    rows: list[tuple[int, int, int, int, int]] = []
    counts = {len(masks[r]) for r in recipes}
    pieces = {count: min(count, wanted) for count in counts}
    for piece in range(max(pieces.values())):
        for recipe in recipes:
            mask, count = masks[recipe], len(masks[recipe])
            if piece >= pieces[count]:
                continue
            low, high = count * piece // pieces[count], count * (piece + 1) // pieces[count]
            edges = np.flatnonzero(np.diff(np.concatenate([[False], mask[low:high], [False]])))
            rows += [
                (recipe, moment, low + int(a), low + int(b), count)
                for a, b in zip(edges[::2], edges[1::2], strict=True)
            ]
    return rows
