"""A managed storage: a storage whose blocks the fast tier may move, and where each of them is.

A tier block is the unit that moves: BLOCK_BYTES of a storage, counted from its first whole page. Its states and the ways
between them are in Note [Tier block states] (block_state.py).

Note [Standing of a storage]

    standing     blocks                    meaning
    MOVES        in any state              the tier may send them away
    STAYS        HERE                      until it dies: others touch it when they please
    LENT         HERE, nothing under way   the operator that runs may give its memory back, and put it elsewhere
    DISCARDED    AWAY                      its content is nowhere, and can be recomputed

    call of Tier   from               to
    admit          not managed        MOVES
    keep           MOVES, STAYS       STAYS
    lend           MOVES, STAYS       LENT
    take_back      LENT               what it was before, at its memory; or not managed, where it cannot move any more
    discard        MOVES              DISCARDED
    refill         MOVES, DISCARDED   MOVES
    dismiss        any                not managed: its blocks are FREED, nothing is under way

What has other memory when it is taken back is cut anew, and nothing of it is on flash. Dismissing is for the dead alone:
whoever lives keeps its standing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from tmtrain.runtime.tier.block_state import BlockState
from tmtrain.runtime.tier.mover import Job
from tmtrain.runtime.tier.pages import PAGE_BYTES, Range, Ranges, Span, interior

BLOCK_BYTES = 1 << 20
"""The smallest size at which two Python threads reach the drive's rate.

Measured 2026-11-23 (2 virtual CPUs, a virtio drive, O_DIRECT, random addresses): blocks of 64 KiB read at 0.90 GB/s and
write at 1.08, of 1 MiB at 1.54 and 3.12, of 8 MiB at 2.12 and 2.97. fio, with no Python in the way, reads 1 MiB at 1.34 and
writes it at 2.86.
"""


@dataclass(eq=False, slots=True)
class TierBlock:
    """The unit that moves. The lock of the tier guards what changes here; see Note [Lock protocol] (occupancy.py)."""

    owner: int
    """Number of its managed storage."""
    span: Span
    """Whole pages, of one storage only: neighbours in memory are never touched."""
    offset: int
    """Its flash address, in bytes. It has one for life, so no other block can be read in its stead."""
    state: BlockState = BlockState.HERE
    is_clean: bool = False
    """The copy on flash is what is in memory: the block can leave without being written."""
    version: int = 0
    """Counts contents: a write that ends for an older one makes nothing clean."""
    job: Job | None = None
    """The last one; at most one is not over, so that two transfers of a block never overtake each other."""

    @property
    def is_being_written(self) -> bool:
        """Whether what it holds now is on its way to flash."""
        job = self.job
        return (
            job is not None
            and job.direction == "out"
            and job.version == self.version
            and not job.is_over
            and job.error is None
        )


class Standing(Enum):
    """What the tier may do with a storage; see Note [Standing of a storage]."""

    MOVES = "moves"
    STAYS = "stays"
    LENT = "lent"
    DISCARDED = "discarded"


@dataclass(eq=False, slots=True, kw_only=True)
class ManagedStorage:
    """A storage whose blocks the tier may move."""

    number: int
    """The caller's name for it, unique among the living."""
    memory: Span
    """All of it."""
    blocks: list[TierBlock]
    """In order of address; all of BLOCK_BYTES but the last."""
    bytes: int
    """That can be moved: what its blocks hold together."""
    lead_bytes: int
    """Of the storage before its first block; they stay in memory and count nowhere."""
    flash_page: int
    """First page of its flash address."""
    last_use: int
    """Operator that touched it last, for LRU."""
    standing: Standing = Standing.MOVES
    returns_to: Standing = Standing.MOVES
    """After it was LENT."""

    @property
    def stays(self) -> bool:
        """Whether none of its blocks may leave, whatever operator runs."""
        return self.standing is Standing.STAYS or self.standing is Standing.LENT

    @property
    def stays_for_good(self) -> bool:
        """Whether that is so until it dies."""
        return Standing.STAYS in (self.standing, self.returns_to)

    def positions_in(self, ranges: Ranges) -> Sequence[int]:
        """Return the positions of the blocks that lie in the managed storage's ranges among these; without one, of all."""
        if self.number not in ranges:
            return range(len(self.blocks))
        parts = [self._positions_of(touched) for touched in ranges[self.number]]
        return parts[0] if len(parts) == 1 else sorted({position for part in parts for position in part})

    def blocks_in(self, ranges: Ranges) -> list[TierBlock]:
        """Return those blocks."""
        if self.number not in ranges:
            return self.blocks
        return [self.blocks[position] for position in self.positions_in(ranges)]

    def _positions_of(self, touched: Range) -> range:
        first, end = touched
        # What lies before the first block or behind the last one stays in memory anyhow.
        begin = max(0, (first - self.lead_bytes) // BLOCK_BYTES)
        return range(begin, min(len(self.blocks), -(-(end - self.lead_bytes) // BLOCK_BYTES)))

    def position_of(self, block: TierBlock) -> int:
        """Return the position of one of its blocks; its flash address says it, so no block needs to store it."""
        return (block.offset - self.flash_page * PAGE_BYTES) // BLOCK_BYTES


def cut_into_blocks(number: int, memory: Span, *, flash_page: int, now: int) -> ManagedStorage:
    """Return the managed storage over `memory`, all of it in memory and none of it on flash."""
    span = interior(memory)
    blocks = [
        TierBlock(
            owner=number,
            span=Span(span.address + at, min(BLOCK_BYTES, span.length - at)),
            offset=flash_page * PAGE_BYTES + at,
        )
        for at in range(0, span.length, BLOCK_BYTES)
    ]
    return ManagedStorage(
        number=number,
        memory=memory,
        blocks=blocks,
        bytes=span.length,
        lead_bytes=span.address - memory.address,
        flash_page=flash_page,
        last_use=now,
    )
