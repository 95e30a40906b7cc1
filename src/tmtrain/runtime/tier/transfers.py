"""Takes blocks to flash and back through the mover, and notes what has become of them."""

import time

from tmtrain.runtime.tier.block_state import ARRIVED, COMING, FETCH, LEAVING, OVERTAKEN, WRITTEN
from tmtrain.runtime.tier.counts import Counts
from tmtrain.runtime.tier.managed_storage import TierBlock
from tmtrain.runtime.tier.mover import Job, Mover
from tmtrain.runtime.tier.occupancy import Occupancy
from tmtrain.runtime.tier.pages import view
from tmtrain.runtime.tier.running_operator import RunningOperator


class BlockTransfers:
    """The traffic of blocks; a block has at most one job that is not over."""

    def __init__(
        self, mover: Mover, *, occupancy: Occupancy, running: RunningOperator, counts: Counts
    ) -> None:
        self._mover, self._occupancy, self._running, self._counts = mover, occupancy, running, counts

    def write(self, block: TierBlock, *, deadline: int) -> None:
        """Send what `block` holds now to flash; it may change or leave meanwhile.

        Raises:
            FlashError: the last transfer of the block failed.
        """
        if block.job is not None:
            # An older content may be on its way: two writes of one flash address must not overtake each other.
            self.wait(block)
        with self._occupancy.lock:
            version = block.writing = block.version
        block.job = Job(
            direction="out",
            block=view(block.span),
            offset=block.offset,
            deadline=deadline,
            done=lambda _: self._written(block, version),
        )
        self._mover.submit(block.job)

    def fetch(self, block: TierBlock, *, deadline: int) -> None:
        """Bring `block` back; the caller has seen to the room."""
        with self._occupancy.lock:
            self._occupancy.change(block, FETCH)
        version = block.version
        block.job = Job(
            direction="in",
            block=view(block.span),
            offset=block.offset,
            deadline=deadline,
            done=lambda _: self._arrived(block, version),
        )
        self._mover.submit(block.job)

    def wait(self, block: TierBlock) -> None:
        """Wait for the last job of `block`, ahead of everything that is due later.

        Raises:
            FlashError: it failed.
        """
        job = block.job
        assert job is not None, "there is nothing to wait for"
        if job.finished.is_set():
            return job.wait()  # raises what went wrong
        began = time.perf_counter()
        self._mover.hurry(job, deadline=self._running.now)
        try:
            job.wait()
        finally:
            self._counts.stall_s += time.perf_counter() - began

    def wait_for_all(self) -> None:
        """Wait for whatever is under way; errors as `wait`."""
        for block in self._occupancy.blocks():
            if block.job is not None:
                self.wait(block)

    def cancel(self, block: TierBlock) -> None:
        """See to it that the last job of `block` is not under way, whatever came of it."""
        assert block.job is not None, "there is nothing to cancel"
        self._mover.cancel(block.job)

    def _written(self, block: TierBlock, version: int) -> None:
        """The copy of `version` is on flash; called in a thread of the mover."""
        with self._occupancy.lock:
            assert block.writing == version, "the mover has written another version than was asked for"
            block.is_clean, block.writing = block.version == version, None
            if block.state is LEAVING:  # else it was called back, or was only to be saved
                self._occupancy.change(block, WRITTEN if block.is_clean else OVERTAKEN)

    def _arrived(self, block: TierBlock, version: int) -> None:
        """The copy is in memory again; called in a thread of the mover."""
        with self._occupancy.lock:
            assert block.version == version, "somebody has written to a block that was not in memory"
            assert block.state is COMING, f"a block that is {block.state.value} cannot arrive"
            block.is_clean = True
            self._occupancy.change(block, ARRIVED)
