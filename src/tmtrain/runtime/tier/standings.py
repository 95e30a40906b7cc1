"""What becomes of whole storages: each call of Note [Standing of a storage] (managed_storage.py)."""

from collections.abc import Iterable, Sequence

from tmtrain.runtime.tier.block_state import AWAY, CALL_OFF, COMING, DISCARD, FREE, FREED, HERE, REFILL
from tmtrain.runtime.tier.eviction import Eviction
from tmtrain.runtime.tier.flash import Flash
from tmtrain.runtime.tier.flash_room import FlashRoom
from tmtrain.runtime.tier.managed_storage import (
    BLOCK_BYTES,
    ManagedStorage,
    Standing,
    TierBlock,
    cut_into_blocks,
)
from tmtrain.runtime.tier.occupancy import Occupancy
from tmtrain.runtime.tier.pages import Ranges, Span, Staging, interior, view
from tmtrain.runtime.tier.running_operator import RunningOperator
from tmtrain.runtime.tier.transfers import BlockTransfers


class Standings:
    """Changes the standing of storages. `Tier` says what each call is for, and what its errors are."""

    def __init__(
        self,
        flash: Flash,
        *,
        occupancy: Occupancy,
        transfers: BlockTransfers,
        eviction: Eviction,
        running: RunningOperator,
    ) -> None:
        self._occupancy, self._transfers, self._eviction = occupancy, transfers, eviction
        self._running = running
        self._flash_room = FlashRoom(flash)

    def admit(self, number: int, memory: Span, *, standing: Standing = Standing.MOVES) -> None:
        """Take in a storage that is in memory and not managed yet."""
        first = self._flash_room.take(memory)
        managed = cut_into_blocks(number, memory, flash_page=first, now=self._running.now)
        managed.standing = standing
        self._occupancy.admit(managed)
        self._running.makes(number, num_blocks=len(managed.blocks), memory_bytes=memory.length)

    def begin_at_once(self, now: int, numbers: Iterable[int], *, what: str, makes_bytes: int) -> bool:
        """Let operator `now` run if all that it touches is there, and room for what it makes; else do nothing.

        The same as `Tier.begin` and `Tier.reserve`, in the time that small operators have; return whether it was done.
        """
        occupancy = self._occupancy
        if occupancy.is_torn or occupancy.used_bytes + makes_bytes > occupancy.budget_bytes:
            return False
        pinned: dict[int, Sequence[int]] = {}
        for number in numbers:
            managed = occupancy.storages.get(number)
            if managed is None:
                continue
            # No lock: what is HERE stays so, since only this thread sends blocks away.
            for block in managed.blocks:
                if block.state is not HERE:
                    return False
            pinned[number] = range(len(managed.blocks))
            managed.last_use = now
        self._running.begin(now, what, pinned)
        self._running.reserve(makes_bytes)
        return True

    def most_room_bytes(self) -> int:
        """Return what could be made now: the budget without what the operator touches and what stays for good."""
        occupancy = self._occupancy
        touched = [occupancy.storages[number] for number in self._running.pinned]
        blocks = (block for managed in touched if not managed.stays for block in managed.blocks)
        pinned_bytes = sum(block.span.length for block in blocks if occupancy.must_stay(block))
        return max(0, occupancy.budget_bytes - occupancy.staying_bytes - pinned_bytes)

    def take_over(self, number: int, memory: Span, *, ranges: Ranges) -> None:
        """Take in an operand that was there before it came under the budget, and may be larger.

        It comes under the budget block by block: what is not in `ranges` may leave at once.

        Raises:
            InfeasibleError: what the operator touches exceeds the budget.
            FlashError: the drive failed, or is full.
        """
        with self._occupancy.gradual():
            self.admit(number, memory)
            self._running.pinned[number] = self._occupancy.storages[number].positions_in(ranges)
            try:
                self._eviction.make_room(0)
            except BaseException:
                self.dismiss(number)
                raise

    def lend(self, number: int) -> None:
        """Let the running operator put it elsewhere."""
        managed = self._managed(number)
        assert managed.standing in (Standing.MOVES, Standing.STAYS), (
            f"what is {managed.standing.value} is not lent"
        )
        assert all(block.state is HERE for block in managed.blocks), "what is lent is in memory"
        managed.returns_to = managed.standing
        managed.standing = Standing.LENT
        for block in managed.blocks:
            self._transfers.cancel(block)

    def take_back(self, number: int, memory: Span | None) -> None:
        """Manage what was lent as before, at its memory."""
        managed = self._occupancy.storages.get(number)
        if managed is None or managed.standing is not Standing.LENT:
            return
        if managed.memory == memory:
            managed.standing = managed.returns_to
            return
        self.dismiss(number)
        if memory is not None:
            self._eviction.make_room(interior(memory).length)
            self.admit(number, memory, standing=managed.returns_to)

    def dismiss(self, number: int) -> None:
        """Forget what dies; what an exception has interrupted is done to its end by a second call."""
        managed = self._occupancy.storages.get(number)
        if managed is None:
            return
        for block in managed.blocks:
            self._transfers.cancel(block)
            with self._occupancy.lock:
                if block.state is not FREED:
                    self._occupancy.change(block, FREE)
        self._running.forget(number)
        self._occupancy.strike_off(managed)
        self._flash_room.free(managed)

    def may_discard(self, number: int) -> bool:
        """Whether nobody touches it now, and it fits twice."""
        managed = self._managed(number)
        must_stay = any(map(self._occupancy.must_stay, managed.blocks))
        free_bytes = self._occupancy.budget_bytes - self._occupancy.staying_bytes
        return not must_stay and 2 * managed.bytes <= free_bytes

    def discard(self, number: int) -> None:
        """Forget what it holds."""
        managed = self._occupancy.storages.get(number)
        if managed is None:
            return
        managed.standing = Standing.DISCARDED
        for block in managed.blocks:
            self._transfers.cancel(block)
            with self._occupancy.lock:
                block.version += 1
                block.is_clean = False
                if block.state is not AWAY:
                    self._occupancy.change(block, DISCARD)

    def refill(self, number: int, source: Span) -> None:
        """Let what was discarded appear, block by block."""
        managed = self._managed(number)
        assert source.length == managed.memory.length, "what is recomputed is as large as it was"
        self._eviction.make_room(managed.bytes)
        for at, block in enumerate(managed.blocks):
            # An exception may have come before all was discarded, so it may be on its way.
            self._transfers.cancel(block)
            self._refill(
                block, Span(source.address + managed.lead_bytes + at * BLOCK_BYTES, block.span.length)
            )
        managed.standing = Standing.MOVES

    def _refill(self, block: TierBlock, source: Span) -> None:
        staging = Staging(source.length)
        staging.view(source.length)[:] = view(source)
        with self._occupancy.lock:
            if block.state is COMING:
                self._occupancy.change(block, CALL_OFF)
            if block.state is AWAY:
                block.is_clean = False
                self._occupancy.change(block, REFILL, staging=staging)

    def _managed(self, number: int) -> ManagedStorage:
        return self._occupancy.storages[number]
