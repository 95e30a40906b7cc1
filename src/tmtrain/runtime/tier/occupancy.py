"""What of each managed storage is in memory, and what that takes of the budget.

Note [Lock protocol]

Two kinds of threads meet here. The training thread calls everything. The threads of the mover call
`BlockTransfers._written` and `BlockTransfers._arrived`, and nothing else. One lock stands between them.

1. The lock guards the state, version, `is_clean` and `writing` of every block, `used_bytes`, and which blocks are LEAVING.
   Whoever changes one of them holds it. All else (which storages there are, pins, counts) is the training thread's own.
2. A thread of the mover makes one transition for each job: COMING to HERE, LEAVING to AWAY, or LEAVING to HERE. It touches
   the block of its job and the pages under it, and lowers `used_bytes`.
3. So the training thread may read without the lock that a block is HERE or AWAY, for only itself makes that untrue, and may
   read `used_bytes`, which can only be lower by now. What is LEAVING or COMING it asks again under the lock.
4. Nobody waits for a job while holding the lock: the job ends in a callback that needs it. Nor does anybody hold it while
   calling the mover, whose own lock is thus never taken inside of this one.
5. The lock is reentrant, for the case that the user's step turns Python's collector on. It may then free a storage in the
   middle of any line, and the training thread calls `Tier.dismiss` while it holds the lock.
"""

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from tmtrain.runtime.tier.block_state import (
    COUNTED,
    FREED,
    HERE,
    LEAVING,
    OPEN,
    BlockTransition,
    next_state,
)
from tmtrain.runtime.tier.counts import Counts
from tmtrain.runtime.tier.managed_storage import ManagedStorage, TierBlock
from tmtrain.runtime.tier.pages import page_in, page_out
from tmtrain.runtime.tier.running_operator import RunningOperator


class Occupancy:
    """The managed storages, the state of each of their blocks, and the budget that they take together."""

    def __init__(self, *, budget_bytes: int, running: RunningOperator, counts: Counts) -> None:
        self.lock = threading.RLock()
        """See Note [Lock protocol]."""
        self.budget_bytes = budget_bytes
        """Set from outside; a lower one holds from the next time that room is made."""
        self.used_bytes = 0
        """Of blocks in memory or under way: the sum over those whose state is in COUNTED."""
        self.managed_bytes = 0
        """Of all managed storages, wherever they are."""
        self.staying_bytes = 0
        """Of those that stay until they die."""
        self.leaving_bytes = 0
        """Of blocks that are LEAVING: room that comes without further evictions."""
        self.storages: dict[int, ManagedStorage] = {}
        """By number."""
        self._leaving: dict[int, TierBlock] = {}
        """By flash address, which is unique; the one that was sent first is in front, as it will be gone first."""
        self._running, self._counts = running, counts

    def admit(self, managed: ManagedStorage) -> None:
        """Take in a storage that is in memory as a whole."""
        assert managed.number not in self.storages, f"storage {managed.number} is managed already"
        assert all(block.state is HERE for block in managed.blocks), "a new storage is in memory"
        assert managed.bytes == sum(block.span.length for block in managed.blocks), (
            "blocks fill what can be moved"
        )
        self.storages[managed.number] = managed
        self.managed_bytes += managed.bytes
        with self.lock:
            self._charge(managed.bytes)

    def strike_off(self, managed: ManagedStorage) -> None:
        """Forget a storage whose blocks are all FREED."""
        assert all(block.state is FREED for block in managed.blocks), (
            "a freed storage takes nothing of the budget"
        )
        del self.storages[managed.number]
        self.managed_bytes -= managed.bytes
        self.staying_bytes -= managed.bytes if managed.stays else 0
        if not self.storages:
            self.audit()  # costs nothing now, and whatever was lost on the way shows

    def keep(self, managed: ManagedStorage) -> None:
        """Let a storage that is in memory stay there until it dies."""
        assert all(block.state is HERE for block in managed.blocks), "what stays is in memory"
        if not managed.stays:
            managed.stays = True
            self.staying_bytes += managed.bytes

    def change(self, block: TierBlock, transition: BlockTransition) -> None:
        """Make one transition of Note [Tier block states]; the caller holds the lock."""
        before, after = block.state, next_state(block.state, transition)
        assert block.is_clean or not transition.needs_copy, "nothing leaves memory without its copy on flash"
        # Pages first: where the system refuses, the block is still what it was.
        if (before in OPEN) is not (after in OPEN):
            (page_in if after in OPEN else page_out)(block.span)
        block.state = after
        if (before is HERE) is not (after is HERE):
            self.storages[block.owner].elsewhere += 1 if before is HERE else -1
        if before is LEAVING:
            del self._leaving[block.offset]
            self.leaving_bytes -= block.span.length
        elif after is LEAVING:
            self._leaving[block.offset] = block
            self.leaving_bytes += block.span.length
        if (before in COUNTED) is not (after in COUNTED):
            if after in COUNTED:
                self._charge(block.span.length)
            else:
                self._discharge(block.span.length)

    def first_leaving(self) -> TierBlock | None:
        """Return the block that will be gone first of those on their way; it may be gone by the time of the answer."""
        with self.lock:
            return next(iter(self._leaving.values()), None)

    def must_stay(self, block: TierBlock) -> bool:
        """Return whether the operator that runs touches `block`, or its storage stays for good."""
        managed = self.storages[block.owner]
        touched = self._running.pinned.get(block.owner)
        return managed.stays or (touched is not None and managed.position_of(block) in touched)

    def blocks(self) -> Iterator[TierBlock]:
        """Yield the blocks of all managed storages."""
        return (block for managed in self.storages.values() for block in managed.blocks)

    @contextmanager
    def gradual(self) -> Generator[None]:
        """Take what is admitted inside as coming under the budget block by block: the peak is what is used in the end."""
        peak_bytes = self._counts.peak_bytes
        yield
        with self.lock:
            self._counts.peak_bytes = max(peak_bytes, self.used_bytes)

    def forget_peak(self) -> None:
        """Let the peak begin anew at what is used now."""
        with self.lock:
            self._counts.peak_bytes = self.used_bytes

    def audit(self) -> None:
        """Compare every sum that is kept with the blocks themselves: too long for every operator, fine once a step."""
        with self.lock:
            assert self.used_bytes == sum(b.span.length for b in self.blocks() if b.state in COUNTED)
            assert self.leaving_bytes == sum(b.span.length for b in self.blocks() if b.state is LEAVING)
            assert self.leaving_bytes == sum(b.span.length for b in self._leaving.values())
        storages = self.storages.values()
        assert self.managed_bytes == sum(managed.bytes for managed in storages)
        assert self.staying_bytes == sum(managed.bytes for managed in storages if managed.stays)

    def _charge(self, size: int) -> None:
        self.used_bytes += size
        if self.used_bytes > self._counts.peak_bytes:
            self._counts.peak_bytes = self.used_bytes

    def _discharge(self, size: int) -> None:
        self.used_bytes -= size
        assert self.used_bytes >= 0, "more has left the budget than ever entered it"
