"""A managed storage: a storage whose blocks the fast tier may move, and where each of them is.

A block is the unit that moves: BLOCK_BYTES of a storage, counted from its first whole page. States:

    HERE      in memory
    LEAVING   in memory, being written; goes when that is done, unless somebody needs it before
    AWAY      on flash only; its pages are given back and closed
    COMING    its pages are open again and being read
"""

from dataclasses import dataclass
from enum import Enum

from tmtrain.runtime.tier.mover import Job
from tmtrain.runtime.tier.pages import PAGE_BYTES, Ranges, Span

BLOCK_BYTES = 1 << 20
"""Python threads reach the drive's rate from here on (feasibility.md, B4)."""


class BlockState(Enum):
    """Where a block is."""

    HERE = "here"
    LEAVING = "leaving"
    AWAY = "away"
    COMING = "coming"


@dataclass(eq=False, slots=True)
class TierBlock:
    """The unit that moves."""

    owner: int
    """Number of its managed storage."""
    span: Span
    offset: int
    """In the flash file."""
    state: BlockState = BlockState.HERE
    is_clean: bool = False
    """The copy on flash is what is in memory."""
    version: int = 0
    """Counts contents: a write that ends for an older one makes nothing clean."""
    writing: int | None = None
    """The version that is on its way to flash."""
    job: Job | None = None
    """The last one; at most one is unfinished."""


@dataclass(eq=False, slots=True)
class ManagedStorage:
    """A storage whose blocks the tier may move."""

    number: int
    blocks: list[TierBlock]
    lead_bytes: int
    """Of the storage before its first block."""
    first_page: int
    """Of its place in the flash file."""
    last_use: int = -1
    """Operator that touched it last."""
    stays: bool = False
    """In memory until it dies."""
    is_discarded: bool = False
    """Its content is nowhere: somebody is going to make it again."""

    @property
    def bytes(self) -> int:
        """That can be moved."""
        return sum(block.span.length for block in self.blocks)

    def places_in(self, ranges: Ranges) -> range:
        """Return the places of the blocks that lie in the managed storage's range among these; without one, of all."""
        if self.number not in ranges:
            return range(len(self.blocks))
        first, end = ranges[self.number]
        begin = max(0, (first - self.lead_bytes) // BLOCK_BYTES)
        return range(begin, min(len(self.blocks), -(-(end - self.lead_bytes) // BLOCK_BYTES)))

    def blocks_in(self, ranges: Ranges) -> list[TierBlock]:
        """Return those blocks."""
        places = self.places_in(ranges)
        return self.blocks[places.start : places.stop]

    def place_of(self, block: TierBlock) -> int:
        """Return the place of one of its blocks."""
        return (block.offset - self.first_page * PAGE_BYTES) // BLOCK_BYTES
