"""Recompute blocks: stretches of forward whose storages are recomputed together, and when in backward that happens.

Note [Blocks]
    Forward is cut where few bytes cross from what is before to what is after: between layers, between attention and
    feed-forward. Inside a block any chain of recomputations is allowed. What crosses a cut is kept or moved, never
    recomputed from beyond it. All recomputations of a block run at its *recompute point*, just before backward first needs
    something that was made in it, as activation checkpointing does.

    A cut costs the bytes that cross it (they may have to be moved). A block costs the memory that its storages hold from
    the recompute point on. Dynamic programming over the sites where the crossing is locally least finds the cuts that
    minimise

        sum over cuts of crossing bytes + HOLDING * sum over blocks of (bytes saved in it)^2 / capacity
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.trace import Phase

HOLDINGS = (0.5, 0.1)
"""Prices of holding a block's bytes, relative to moving bytes across a cut, that are worth trying."""
SMALL_BYTES = 65536
"""Storages below this size are left out of account: they are always there."""
REACH = 300
"""A block spans at most so many of the sites where it could be cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageLife:
    """When each storage is written and used, in slices; one row per storage."""

    pages: NDArray[np.int64]
    born: NDArray[np.int64]
    """First slice that touches it."""
    last_forward: NDArray[np.int64]
    """Last slice of forward and loss that touches it; -1 if none does."""
    needed: NDArray[np.int64]
    """First slice after `last_forward` that needs its content, in this step; the number of slices if none does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputeBlocks:
    """The cuts, and what belongs where."""

    cuts: NDArray[np.int64]
    """First slice of each block, ascending, and the end of the last one."""
    point: NDArray[np.int64]
    """Of each block: slice before which its recomputations run; -1 where backward needs nothing of it."""
    of_producer: NDArray[np.int32]
    """Block of each producer; -1 where a cut divides its operators, a result of it is used beyond the block, or its inputs
    do not last until the recompute point."""

    def __len__(self) -> int:
        return len(self.point)


def storage_life(timeline: Timeline) -> StorageLife:
    """Read the lives of all storages off the accesses."""
    access, extents = timeline.accesses, timeline.extents
    T = len(timeline.slices)
    count = int(extents.storage.max(initial=-1)) + 1
    pages = np.zeros(count, np.int64)
    np.add.at(pages, extents.storage, extents.pages)
    at = np.repeat(np.arange(T), np.diff(access.ptr))
    storage = extents.storage[access.extent]
    is_forward = np.isin(timeline.slices.phase, (Phase.FORWARD, Phase.LOSS))[at]
    born, last, needed = np.full(count, T), np.full(count, -1), np.full(count, T)
    np.minimum.at(born, storage, at)
    np.maximum.at(last, storage[is_forward], at[is_forward])
    later = access.needs_content & (at > last[storage])
    np.minimum.at(needed, storage[later], at[later])
    return StorageLife(pages=pages, born=born, last_forward=last, needed=needed)


def find_blocks(timeline: Timeline, life: StorageLife, *, holding: float) -> RecomputeBlocks:
    """Cut forward into blocks.

    Args:
        timeline: The step.
        life: Its `storage_life`.
        holding: Weight of the memory that a block holds; 0 makes one block of everything, more makes more blocks.
    """
    end = int(_span_of_producers(timeline)[1].max(initial=0))
    cuts = _choose_cuts(timeline, life, end=end, holding=holding)
    return blocks_between(cuts, timeline, life)


def blocks_between(cuts: NDArray[np.int64], timeline: Timeline, life: StorageLife) -> RecomputeBlocks:
    """Return the blocks that these `cuts` make."""
    producers, slices = timeline.producers, timeline.slices
    starts, ends = _span_of_producers(timeline)
    block = np.searchsorted(cuts, starts, side="right") - 1
    point = _points(timeline, life, cuts)
    if not len(point) or not len(slices):
        return RecomputeBlocks(cuts=cuts, point=point, of_producer=np.full(len(block), -1, np.int32))
    inside = ends <= cuts[np.minimum(block + 1, len(cuts) - 1)]
    at = np.where(block >= 0, point[np.minimum(block, len(point) - 1)], -1)
    # An input that a later operator overwrites is no longer what the producer once read.
    lasts = producers.valid_until_op > slices.op[np.maximum(at, 0)]
    usable = inside & (at >= 0) & lasts & ~_makes_what_crosses(timeline, life, cuts, block)
    return RecomputeBlocks(cuts=cuts, point=point, of_producer=np.where(usable, block, -1).astype(np.int32))


def _makes_what_crosses(
    timeline: Timeline, life: StorageLife, cuts: NDArray[np.int64], block: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Producers with a result that later blocks use: it is kept or moved, and they do not run again for others."""
    producers = timeline.producers
    owner = np.repeat(np.arange(len(producers)), np.diff(producers.touch_ptr[producers.op_ptr]))
    owner, storage = owner[producers.touch_writes], producers.touch_storage[producers.touch_writes]
    end = cuts[np.minimum(block[owner] + 1, len(cuts) - 1)]
    crosses = (life.last_forward[storage] >= end) & (life.pages[storage] * timeline.page_bytes >= SMALL_BYTES)
    return np.isin(np.arange(len(producers)), owner[crosses])


def _span_of_producers(timeline: Timeline) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first slice of each producer, and the slice after its last one."""
    producers, op = timeline.producers, timeline.slices.op
    starts = np.searchsorted(op, producers.op[producers.op_ptr[:-1]])
    return starts, np.searchsorted(op, producers.op[producers.op_ptr[1:] - 1], side="right")


def _is_recomputable(timeline: Timeline, life: StorageLife) -> NDArray[np.bool_]:
    """Whether some producer makes each storage, and it is large enough to count."""
    producers = timeline.producers
    count = len(life.pages)
    written = np.zeros(max(count, int(producers.touch_storage.max(initial=-1)) + 1), bool)
    written[producers.touch_storage[producers.touch_writes]] = True
    return written[:count] & (life.pages * timeline.page_bytes >= SMALL_BYTES)


def _choose_cuts(timeline: Timeline, life: StorageLife, *, end: int, holding: float) -> NDArray[np.int64]:
    """Choose cuts of the slices up to `end`, among those where the crossing is locally least."""
    if end == 0:
        return np.zeros(1, np.int64)
    counts = _is_recomputable(timeline, life) & (life.last_forward >= 0)
    crossing = _crossing_bytes(timeline, life, counts, end=end)
    inner = np.arange(1, end)
    least = (crossing[inner] <= crossing[inner - 1]) & (crossing[inner] <= crossing[inner + 1])
    # No block spans a backward (gradient accumulation): its recompute point would lie inside it.
    is_forward = np.isin(timeline.slices.phase, (Phase.FORWARD, Phase.LOSS))
    forced = is_forward[inner] != is_forward[inner - 1]
    chosen = least | forced
    sites = np.concatenate([[0], inner[chosen], [end]])
    is_forced = np.concatenate([[False], forced[chosen], [False]])
    saved = _saved_bytes(timeline, life, counts, end=end)
    return _cheapest(sites, crossing[sites], saved[sites], is_forced, weight=holding / timeline.fast_bytes)


def _crossing_bytes(
    timeline: Timeline, life: StorageLife, counts: NDArray[np.bool_], *, end: int
) -> NDArray[np.float64]:
    """Return the bytes that cross into each slice up to `end`: made before it, used in forward at it or later."""
    change = np.zeros(end + 2)
    crosses = counts & (life.last_forward > life.born)
    size = (life.pages[crosses] * timeline.page_bytes).astype(np.float64)
    np.add.at(change, life.born[crosses] + 1, size)
    np.subtract.at(change, np.minimum(life.last_forward[crosses] + 1, end + 1), size)
    return np.cumsum(change)[: end + 1]


def _saved_bytes(
    timeline: Timeline, life: StorageLife, counts: NDArray[np.bool_], *, end: int
) -> NDArray[np.float64]:
    """Return the bytes made before each slice up to `end` that backward needs."""
    saved = np.zeros(end + 2)
    is_saved = counts & (life.needed < len(timeline.slices)) & (life.born < end)
    size = (life.pages[is_saved] * timeline.page_bytes).astype(np.float64)
    np.add.at(saved, life.born[is_saved] + 1, size)
    return np.cumsum(saved)[: end + 1]


def _cheapest(
    sites: NDArray[np.int64],
    crossing: NDArray[np.float64],
    saved: NDArray[np.float64],
    is_forced: NDArray[np.bool_],
    *,
    weight: float,
) -> NDArray[np.int64]:
    """Return the cuts of Note [Blocks], by dynamic programming."""
    n = len(sites)
    best, before = np.full(n, np.inf), np.zeros(n, np.int64)
    best[0] = 0.0
    last_forced = 0
    for j in range(1, n):
        low = max(j - REACH, last_forced)
        cost = best[low:j] + weight * (saved[j] - saved[low:j]) ** 2
        before[j] = low + int(cost.argmin())
        best[j] = float(cost.min()) + (crossing[j] if j < n - 1 else 0.0)
        last_forced = j if is_forced[j] else last_forced
    chosen = [n - 1]
    while chosen[-1] > 0:
        chosen.append(int(before[chosen[-1]]))
    return sites[chosen[::-1]]


def _points(timeline: Timeline, life: StorageLife, cuts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the recompute point of each block: the first need of what is made and used up in it; -1 if there is none."""
    num_slices = len(timeline.slices)
    block = np.searchsorted(cuts, life.born, side="right") - 1
    counts = _is_recomputable(timeline, life) & (life.needed < num_slices)
    counts &= (block >= 0) & (block < len(cuts) - 1)
    # What crosses the cut belongs to the next block.
    counts[counts] &= life.last_forward[counts] < cuts[block[counts] + 1]
    point = np.full(len(cuts) - 1, num_slices)
    np.minimum.at(point, block[counts], life.needed[counts])
    return np.where(point < num_slices, point, -1)
