"""Which blocks leave where room is short, and how they leave."""

import heapq
from collections.abc import Callable, Sequence

from tmtrain.errors import InfeasibleError
from tmtrain.runtime.tier.block_state import (
    AWAY,
    CALL_BACK,
    CALL_OFF,
    COMING,
    COUNTED,
    HERE,
    LEAVING,
    PAGE_OUT,
)
from tmtrain.runtime.tier.counts import Counts
from tmtrain.runtime.tier.flash import Flash
from tmtrain.runtime.tier.managed_storage import ManagedStorage, TierBlock
from tmtrain.runtime.tier.occupancy import Occupancy
from tmtrain.runtime.tier.running_operator import RunningOperator
from tmtrain.runtime.tier.transfers import BlockTransfers
from tmtrain.units import format_bytes

EvictionRank = Callable[[ManagedStorage], float]
"""The storage of the highest rank leaves first."""


def least_recently_used(managed: ManagedStorage) -> float:
    """LRU evicts the storage unused for longest: what to go by where the future is not known."""
    return -managed.last_use


class Eviction:
    """Makes room in the budget."""

    def __init__(
        self,
        flash: Flash,
        *,
        occupancy: Occupancy,
        transfers: BlockTransfers,
        running: RunningOperator,
        counts: Counts,
    ) -> None:
        self._flash = flash
        self._occupancy, self._transfers, self._running, self._counts = occupancy, transfers, running, counts
        self._rank: EvictionRank = least_recently_used

    def evict_by(self, rank: EvictionRank) -> None:
        """Let `rank` say who leaves first from now on."""
        self._rank = rank

    def make_room(self, wanted_bytes: int) -> None:
        """Let blocks leave, by rank, until so much is free; those of the running operator stay.

        Raises:
            InfeasibleError: what has to stay leaves less.
            FlashError: the drive failed.
        """
        occupancy = self._occupancy
        while True:
            with occupancy.lock:
                short = occupancy.used_bytes + wanted_bytes - occupancy.budget_bytes
                unplanned = short - occupancy.leaving_bytes
            if short <= 0:
                return
            if unplanned > 0:
                self._send_away(unplanned, wanted_bytes=wanted_bytes)
            # One by one, since others may have gone by themselves while this one was waited for.
            block = occupancy.first_leaving()
            if block is not None:
                self._transfers.finish(block)

    def bring_in(self, elsewhere: Sequence[TierBlock]) -> None:
        """Have these blocks of the running operator in memory, whoever has to leave for them; errors as `make_room`."""
        with self._occupancy.lock:
            for block in elsewhere:
                if block.state is LEAVING:
                    self._occupancy.change(block, CALL_BACK)
        absent = [block for block in elsewhere if block.state is AWAY]
        # Room for all before the first comes: a failure is told before anything is read for nothing.
        self.make_room(sum(block.span.length for block in absent))
        for block in absent:
            self._counts.misses += 1
            self._transfers.fetch(block, deadline=self._running.now)
        for block in elsewhere:
            if block.state is COMING:  # those that were prefetched, and are late, too
                self._transfers.finish(block)

    def leave(self, block: TierBlock, *, deadline: int) -> None:
        """Let `block` go as soon as flash has it; what the running operator touches stays."""
        occupancy = self._occupancy
        with occupancy.lock:
            if block.state is not HERE or occupancy.must_stay(block):
                return
            if block.is_clean and occupancy.send_out(block, PAGE_OUT, flash=self._flash):
                return
        self._transfers.leave(block, deadline=deadline)

    def _send_away(self, short: int, *, wanted_bytes: int) -> None:
        """Let blocks leave until `short` bytes will be free, the highest rank first, each storage from its front.

        Raises:
            InfeasibleError: what has to stay leaves less, even without any prefetch.
        """
        storages = self._occupancy.storages
        # Ties go by number. A heap, as few of many are taken as a rule.
        ranked = [(-self._rank(managed), number) for number, managed in storages.items() if not managed.stays]
        heapq.heapify(ranked)
        while ranked and short > 0:
            for block in storages[heapq.heappop(ranked)[1]].blocks:
                if short > 0 and block.state is HERE and not self._occupancy.must_stay(block):
                    self._counts.evictions += 1
                    self.leave(block, deadline=self._running.now)
                    short -= block.span.length
        # Prefetches last: they were planned, and are wanted soon.
        if short > 0 and not self._call_off_prefetches():
            raise self._too_small(wanted_bytes)

    def _call_off_prefetches(self) -> bool:
        """Stop what is on its way in for later operators; return whether there was anything."""
        occupancy = self._occupancy
        coming = [
            block for block in occupancy.blocks() if block.state is COMING and not occupancy.must_stay(block)
        ]
        for block in coming:
            self._transfers.cancel(block)
            with occupancy.lock:
                # It may have arrived before it could be stopped. What failed is tried again by whoever needs it.
                if block.state is COMING:
                    occupancy.change(block, CALL_OFF)
        return bool(coming)

    def _too_small(self, wanted_bytes: int) -> InfeasibleError:
        occupancy, running = self._occupancy, self._running
        # What the operator touches and is not in memory yet is wanted already.
        pinned = sum(
            block.span.length
            for block in occupancy.blocks()
            if block.state in COUNTED and occupancy.must_stay(block)
        )
        needed = pinned + wanted_bytes
        return InfeasibleError(
            f"operator {running.now}{running.what and f' ({running.what})'} needs {format_bytes(needed)} of "
            f"fast memory at once, the budget has {format_bytes(occupancy.budget_bytes)} for what can be moved: give it "
            f"{format_bytes(needed - occupancy.budget_bytes)} more, or the step a smaller batch",
            limit="memory",
            needed_bytes=needed,
            capacity_bytes=occupancy.budget_bytes,
            operator=running.what or None,
            operator_index=running.now,
        )
