"""What of each managed storage is in memory, and what that takes of the budget.

Note [Lock protocol]

Two kinds of threads meet here. The training thread calls everything. The threads of the mover call
`BlockTransfers._written` and `BlockTransfers._arrived`, and nothing else. One lock stands between them.

1. The lock guards the state, version, `is_clean` and `job` of every block, all sums, and which blocks are LEAVING. Whoever
   changes one of them holds it. All else (which storages there are, pins, counts) is the training thread's own.
2. A thread of the mover makes one transition for each job: COMING to HERE, LEAVING to AWAY, or LEAVING to HERE. It touches
   the block of its job and the pages under it, and changes `used_bytes`.
3. So the training thread may read without the lock that a block is HERE or AWAY, for only itself makes that untrue, and may
   read `used_bytes`, which can only be lower by now. What is LEAVING or COMING it asks again under the lock.
4. Nobody waits for a job while holding the lock: the job ends in a callback that needs it. Nor does anybody hold it while
   calling the mover, whose own lock is thus never taken inside of this one.
5. The lock is reentrant, for the case that the user's step turns Python's collector on. It may then free a storage in the
   middle of any line, and the training thread calls `Tier.dismiss` while it holds the lock.

Note [Interrupted changes]

Ctrl-C, or a signal's handler that raises, may end any of our functions between two lines, and the user may catch that and
go on, to save for one. So:

1. One assignment commits each change: that of `block.state`, of `managed.standing`, or of the entry in `storages`. Pages
   and sums follow from it. `is_torn` is set meanwhile, and who comes next finds it set and mends: pages are opened or
   closed as the states say, and sums are summed up anew.
2. What closes is committed before its pages are closed, and what opens after they were filled. So whatever the states say,
   either the pages hold it, or flash does.
3. A block has its job before its state says that something is under way. Who waits does not believe the state: a job that
   was never queued is queued then, and one that was called off is replaced (`BlockTransfers.finish`).
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
    BlockState,
    BlockTransition,
    next_state,
)
from tmtrain.runtime.tier.counts import Counts
from tmtrain.runtime.tier.flash import Flash
from tmtrain.runtime.tier.managed_storage import ManagedStorage, Standing, TierBlock
from tmtrain.runtime.tier.pages import Staging, forbid_writing, page_in, page_out, reopen, view
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
        self.is_torn = False
        """A change has begun and is not over: Note [Interrupted changes]."""
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
        with self.lock:
            was_torn, self.is_torn = self.is_torn, True
            self.storages[managed.number] = managed
            self.managed_bytes += managed.bytes
            self.staying_bytes += managed.bytes if managed.stays_for_good else 0
            self._charge(managed.bytes)
            self.is_torn = was_torn

    def strike_off(self, managed: ManagedStorage) -> None:
        """Forget a storage whose blocks are all FREED."""
        assert all(block.state is FREED for block in managed.blocks), (
            "a freed storage takes nothing of the budget"
        )
        with self.lock:
            was_torn, self.is_torn = self.is_torn, True
            del self.storages[managed.number]
            self.managed_bytes -= managed.bytes
            self.staying_bytes -= managed.bytes if managed.stays_for_good else 0
            self.is_torn = was_torn
        if not self.storages and not self.is_torn:
            self.audit()  # costs nothing now, and whatever was lost on the way shows

    def keep(self, managed: ManagedStorage) -> None:
        """Let a storage that is in memory stay there until it dies."""
        assert all(block.state is HERE for block in managed.blocks), "what stays is in memory"
        assert managed.standing in (Standing.MOVES, Standing.STAYS), (
            f"what is {managed.standing.value} is not kept"
        )
        if managed.standing is Standing.MOVES:
            with self.lock:
                was_torn, self.is_torn = self.is_torn, True
                managed.standing = Standing.STAYS
                self.staying_bytes += managed.bytes
                self.is_torn = was_torn

    def change(
        self, block: TierBlock, transition: BlockTransition, *, staging: Staging | None = None
    ) -> None:
        """Make one transition of Note [Tier block states]; the caller holds the lock.

        Args:
            block: Whose.
            transition: Which.
            staging: What appears, where it is one of those that let something appear.

        Raises:
            OSError: the system refuses; nothing has changed.
        """
        before, after = block.state, next_state(block.state, transition)
        assert block.is_clean or not transition.needs_copy, "nothing leaves memory without its copy on flash"
        assert (staging is not None) is transition.appears, "nothing appears of itself"
        was_torn, self.is_torn = self.is_torn, True
        if staging is not None:
            page_in(block.span, staging)
        elif after in OPEN and before not in OPEN:
            reopen(block.span)
        block.state = after
        if after not in OPEN and before in OPEN:
            self._close(block, before)
        if before is LEAVING:
            self._leaving.pop(block.offset, None)  # it is there, if no exception has come between
            self.leaving_bytes -= block.span.length
        elif after is LEAVING:
            self._leaving[block.offset] = block
            self.leaving_bytes += block.span.length
        if (before in COUNTED) is not (after in COUNTED):
            if after in COUNTED:
                self._charge(block.span.length)
            else:
                self._discharge(block.span.length)
        self.is_torn = was_torn

    def send_out(self, block: TierBlock, transition: BlockTransition, *, flash: Flash) -> bool:
        """Make a transition after which only flash has the content, if it has; the caller holds the lock.

        Returns:
            False where the pages hold something else: somebody whom the tier does not see has written to them. Then they
            stay open, and are to be written.
        """
        was_torn, self.is_torn = self.is_torn, True
        forbid_writing(block.span)
        block.is_clean = block.is_clean and flash.holds(view(block.span), offset=block.offset)
        if block.is_clean:
            self.change(block, transition)
        else:
            reopen(block.span)
        self.is_torn = was_torn
        return block.is_clean

    def mend(self) -> None:
        """Do the rest of a change that an exception has interrupted: Note [Interrupted changes]."""
        with self.lock:
            if self.is_torn:
                for block in self.blocks():
                    # What is lent may be elsewhere by now.
                    if self.storages[block.owner].standing is not Standing.LENT:
                        (reopen if block.state in OPEN else page_out)(block.span)
                self._leaving = {block.offset: block for block in self.blocks() if block.state is LEAVING}
                self.used_bytes, self.leaving_bytes, self.managed_bytes, self.staying_bytes = self._sums()
                self._counts.peak_bytes = max(self._counts.peak_bytes, self.used_bytes)
                self.is_torn = False

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
        # A list: a storage may die meanwhile.
        return (block for managed in list(self.storages.values()) for block in managed.blocks)

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
            self.mend()
            kept = self.used_bytes, self.leaving_bytes, self.managed_bytes, self.staying_bytes
            assert kept == self._sums(), "the books are wrong"
            assert self.leaving_bytes == sum(b.span.length for b in self._leaving.values())

    def _sums(self) -> tuple[int, int, int, int]:
        """Return what is used, leaving, managed and staying, by the blocks themselves."""
        blocks, storages = list(self.blocks()), list(self.storages.values())
        return (
            sum(block.span.length for block in blocks if block.state in COUNTED),
            sum(block.span.length for block in blocks if block.state is LEAVING),
            sum(managed.bytes for managed in storages),
            sum(managed.bytes for managed in storages if managed.stays_for_good),
        )

    def _close(self, block: TierBlock, before: BlockState) -> None:
        try:
            page_out(block.span)
        except OSError:
            block.state = before
            raise

    def _charge(self, size: int) -> None:
        self.used_bytes += size
        if self.used_bytes > self._counts.peak_bytes:
            self._counts.peak_bytes = self.used_bytes

    def _discharge(self, size: int) -> None:
        self.used_bytes -= size
        assert self.used_bytes >= 0 or self.is_torn, "more has left the budget than ever entered it"
