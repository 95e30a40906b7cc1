"""The step as recomputation sees it: extents, gaps and makers of its storages, inputs and results of its producers."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import Gaps, Problem
from tmtrain.planning.recomputation.blocks import SMALL_BYTES, RecomputeBlocks, StorageLife
from tmtrain.planning.recomputation.ids import BlockId, ExtentId, GapId, ProducerId, StorageId


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtentRun:
    """Pages of a storage that one extent holds."""

    extent: ExtentId
    first: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerUses:
    """What a producer touches, small storages left out."""

    inputs: dict[StorageId, bool]
    """Storages that it does not make; and whether the rows that it reads of each follow its own."""
    results: tuple[StorageId, ...]
    """Storages that it makes, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputableStep:
    """A step cut into recompute blocks."""

    timeline: Timeline
    life: StorageLife
    blocks: RecomputeBlocks
    gaps: Gaps
    first_extents: NDArray[np.int64]
    """First extent of each storage, and the number of extents."""
    survives: NDArray[np.bool_]
    """Inputs and whatever else outlives the step. No operator made them: a recomputation finds them there like weights."""
    gap_of: dict[ExtentId, GapId]
    """Access gap that begins at an extent's last use in forward and ends in this step's backward."""
    maker: dict[StorageId, ProducerId]
    """Producer that writes a storage; the last one of several."""
    producers_of: dict[BlockId, list[ProducerId]]
    """Producers that may run again, by block."""
    uses: dict[ProducerId, ProducerUses]
    """Of the producers that may run again."""

    def runs(self, storage: StorageId) -> Iterator[ExtentRun]:
        """Yield the extents of a storage, in order of pages."""
        extents = self.timeline.extents
        for extent in range(int(self.first_extents[storage]), int(self.first_extents[storage + 1])):
            first = int(extents.first_page[extent])
            yield ExtentRun(extent=ExtentId(extent), first=first, end=first + int(extents.pages[extent]))

    def pages(self, storage: StorageId) -> int:
        """Return the pages of a storage."""
        return int(self.life.pages[storage])

    def point(self, block: BlockId) -> int:
        """Return the slice before which the recomputations of a block run."""
        return int(self.blocks.point[block])

    def is_needed(self, storage: StorageId) -> bool:
        """Whether backward needs the content of a storage, after its last use in forward."""
        return bool(self.life.needed[storage] < len(self.timeline.slices))

    def is_inside(self, storage: StorageId, block: BlockId) -> bool:
        """Whether a storage is made in a block and used nowhere else in forward."""
        cuts = self.blocks.cuts
        made_here = not self.survives[storage] and cuts[block] <= self.life.born[storage]
        return bool(made_here and self.life.last_forward[storage] < cuts[block + 1])

    def readers_across(self) -> dict[StorageId, set[int]]:
        """Return the storages that blocks read row by row from outside, and the recompute points of these blocks."""
        readers: dict[StorageId, set[int]] = defaultdict(set)
        for block, producers in self.producers_of.items():
            for producer in producers:
                for storage, follows in self.uses[producer].inputs.items():
                    if follows and not self.is_inside(storage, block):
                        readers[storage].add(self.point(block))
        return readers

    def free_gaps(self) -> tuple[GapId, ...]:
        """Return the gaps of what may be recomputed and is too small to be a unit."""
        table = self.timeline.producers
        written = table.touch_writes & np.isin(_owners(self.timeline), list(self.uses))
        storages = np.unique(table.touch_storage[written])
        small = storages[_is_small(self.timeline, self.life)[storages]].tolist()
        extents = [run.extent for storage in small for run in self.runs(StorageId(storage))]
        return tuple(sorted({self.gap_of[extent] for extent in extents if extent in self.gap_of}))


def read_step(
    timeline: Timeline, problem: Problem, *, life: StorageLife, blocks: RecomputeBlocks
) -> RecomputableStep:
    """Look up what recomputation has to know of a step."""
    extents, table = timeline.extents, timeline.producers
    survives = np.zeros(len(life.pages), bool)
    survives[extents.storage] = extents.persistent
    written = table.touch_storage[table.touch_writes].tolist()
    writers = _owners(timeline)[table.touch_writes].tolist()
    producers_of = _producers_of(blocks)
    is_small = _is_small(timeline, life)
    return RecomputableStep(
        timeline=timeline,
        life=life,
        blocks=blocks,
        gaps=problem.gaps,
        first_extents=np.searchsorted(extents.storage, np.arange(len(life.pages) + 1)),
        survives=survives,
        gap_of=_gaps_to_backward(timeline, problem.gaps, life=life, blocks=blocks),
        maker={StorageId(s): ProducerId(p) for s, p in zip(written, writers, strict=True)},
        producers_of=producers_of,
        uses={p: _uses(timeline, p, is_small) for producers in producers_of.values() for p in producers},
    )


def _is_small(timeline: Timeline, life: StorageLife) -> NDArray[np.bool_]:
    return life.pages * timeline.page_bytes < SMALL_BYTES


def _owners(timeline: Timeline) -> NDArray[np.int64]:
    """Return the producer of each touch."""
    table = timeline.producers
    return np.repeat(np.arange(len(table)), np.diff(table.touch_ptr[table.op_ptr]))


def _producers_of(blocks: RecomputeBlocks) -> dict[BlockId, list[ProducerId]]:
    members: dict[BlockId, list[ProducerId]] = defaultdict(list)
    for producer in np.flatnonzero(blocks.of_producer >= 0).tolist():
        members[BlockId(int(blocks.of_producer[producer]))].append(ProducerId(producer))
    return dict(members)


def _gaps_to_backward(
    timeline: Timeline, gaps: Gaps, *, life: StorageLife, blocks: RecomputeBlocks
) -> dict[ExtentId, GapId]:
    storage = timeline.extents.storage[gaps.extent]
    begins_in_forward = gaps.start < int(blocks.cuts[-1])
    # The last use in forward is where such a gap begins: one that ends by it lies within forward.
    ends_in_backward = (gaps.end >= life.needed[storage]) & (gaps.end > life.last_forward[storage])
    chosen = np.flatnonzero(begins_in_forward & ends_in_backward & (gaps.end > gaps.start))
    return {
        ExtentId(extent): GapId(gap)
        for extent, gap in zip(gaps.extent[chosen].tolist(), chosen.tolist(), strict=True)
    }


def _uses(timeline: Timeline, producer: ProducerId, is_small: NDArray[np.bool_]) -> ProducerUses:
    table = timeline.producers
    touches = slice(*table.touch_ptr[table.op_ptr[[producer, producer + 1]]].tolist())
    storages = [StorageId(s) for s in table.touch_storage[touches].tolist()]
    results = {s for s, writes in zip(storages, table.touch_writes[touches].tolist(), strict=True) if writes}
    inputs: dict[StorageId, bool] = {}
    for storage, follows in zip(storages, table.touch_follows[touches].tolist(), strict=True):
        if storage not in results and not is_small[storage]:
            # One read of the whole is enough: then no rows of it will do.
            inputs[storage] = inputs.get(storage, True) and follows
    return ProducerUses(inputs=inputs, results=tuple(sorted(s for s in results if not is_small[s])))
