"""Which blocks leave where room is short, and how they leave."""

import heapq
from collections.abc import Callable

from tmtrain.errors import InfeasibleError
from tmtrain.runtime.tier.block_state import CALL_OFF, COMING, HERE, LEAVE, PAGE_OUT
from tmtrain.runtime.tier.counts import Counts
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
        self, *, occupancy: Occupancy, transfers: BlockTransfers, running: RunningOperator, counts: Counts
    ) -> None:
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
                self._transfers.wait(block)

    def leave(self, block: TierBlock, *, deadline: int) -> None:
        """Let `block` go as soon as flash has it; what the running operator touches stays."""
        with self._occupancy.lock:
            if block.state is not HERE or self._occupancy.must_stay(block):
                return
            if block.is_clean:
                self._occupancy.change(block, PAGE_OUT)
                return
            self._occupancy.change(block, LEAVE)
            if block.writing == block.version:
                return  # on its way already: saved ahead, or called back while it was leaving
        self._transfers.write(block, deadline=deadline)

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
            raise self._too_small(short, wanted_bytes)

    def _call_off_prefetches(self) -> bool:
        """Stop what is on its way in for later operators; return whether there was anything."""
        coming = [
            block
            for block in self._occupancy.blocks()
            if block.state is COMING and not self._occupancy.must_stay(block)
        ]
        for block in coming:
            self._transfers.cancel(block)
            assert block.job is not None, "what is coming has a job"
            with self._occupancy.lock:
                # It may have arrived before it could be stopped; what failed stays COMING, for whoever needs it to be told.
                if block.state is COMING and block.job.error is None:
                    self._occupancy.change(block, CALL_OFF)
        return bool(coming)

    def _too_small(self, short: int, wanted_bytes: int) -> InfeasibleError:
        occupancy, running = self._occupancy, self._running
        pinned = sum(block.span.length for block in occupancy.blocks() if occupancy.must_stay(block))
        return InfeasibleError(
            f"operator {running.now}{running.what and f' ({running.what})'} needs {format_bytes(pinned + wanted_bytes)} of "
            f"fast memory at once, the budget has {format_bytes(occupancy.budget_bytes)} for what can be moved: give it "
            f"{format_bytes(short)} more, or the step a smaller batch",
            limit="memory",
            needed_bytes=pinned + wanted_bytes,
            capacity_bytes=occupancy.budget_bytes,
            operator=running.what or None,
            operator_index=running.now,
        )
