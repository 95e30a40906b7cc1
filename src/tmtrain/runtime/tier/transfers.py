"""Takes blocks to flash and back through the mover, and notes what has become of them."""

import time

from tmtrain.runtime.tier.block_state import (
    ARRIVED,
    CALL_BACK,
    CALL_OFF,
    COMING,
    FETCH,
    LEAVE,
    LEAVING,
    OVERTAKEN,
    WRITTEN,
)
from tmtrain.runtime.tier.counts import Counts
from tmtrain.runtime.tier.flash import Flash
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES, TierBlock
from tmtrain.runtime.tier.mover import Job, Mover
from tmtrain.runtime.tier.occupancy import Occupancy
from tmtrain.runtime.tier.pages import Staging, view
from tmtrain.runtime.tier.running_operator import RunningOperator


class BlockTransfers:
    """The traffic of blocks; a block has at most one job that is not over."""

    def __init__(
        self,
        flash: Flash,
        mover: Mover,
        *,
        occupancy: Occupancy,
        running: RunningOperator,
        counts: Counts,
    ) -> None:
        self._flash, self._mover = flash, mover
        self._occupancy, self._running, self._counts = occupancy, running, counts
        self._stagings: list[Staging] = []
        """Free ones. There are as many as blocks were COMING at a time, and they hold memory only while they are filled."""

    def write(self, block: TierBlock, *, deadline: int) -> None:
        """Send what `block` holds now to flash; it may change or leave meanwhile.

        Raises:
            FlashError: the last transfer of the block failed.
        """
        self._end_last(block)
        with self._occupancy.lock:
            job = block.job = self._way_out(block, deadline=deadline)
        self._mover.submit(job)

    def leave(self, block: TierBlock, *, deadline: int) -> None:
        """Let `block`, which is HERE and not clean, go as soon as flash has it; errors as `write`."""
        if not block.is_being_written:  # saved ahead, or called back while it was leaving
            self._end_last(block)
        with self._occupancy.lock:
            job = block.job
            if job is None or not block.is_being_written:
                job = block.job = self._way_out(block, deadline=deadline)
            self._occupancy.change(block, LEAVE)
        self._mover.submit(job)

    def fetch(self, block: TierBlock, *, deadline: int) -> None:
        """Bring `block` back; the caller has seen to the room."""
        with self._occupancy.lock:
            job = block.job = self._way_in(block, deadline=deadline)
            self._occupancy.change(block, FETCH)
        self._mover.submit(job)

    def finish(self, block: TierBlock) -> None:
        """Wait until `block` is neither LEAVING nor COMING, ahead of everything that is due later.

        Raises:
            FlashError: its job failed. The block is what it was before that, so that it can be tried again.
        """
        while (job := self._job_of(block)) is not None:
            self._wait(job)
            if job.error is not None:
                with self._occupancy.lock:
                    if block.state is COMING:
                        self._occupancy.change(block, CALL_OFF)
                    elif block.state is LEAVING:
                        self._occupancy.change(block, CALL_BACK)
                    block.job = None
                raise job.error

    def finish_all(self) -> None:
        """Wait for whatever is under way; errors as `finish`."""
        for block in self._occupancy.blocks():
            if block.job is not None:
                self._mover.submit(block.job)
                block.job.wait()

    def cancel(self, block: TierBlock) -> None:
        """See to it that the last job of `block` is not under way, whatever came of it."""
        if block.job is not None:
            self._mover.cancel(block.job)

    def _job_of(self, block: TierBlock) -> Job | None:
        """Return the job that takes `block` where its state says; another, where it was called off or never made."""
        with self._occupancy.lock:
            job = block.job
            if block.state not in (LEAVING, COMING):
                return None
            direction = "in" if block.state is COMING else "out"
            if job is None or job.direction != direction or (job.is_over and job.error is None):
                way = self._way_in if block.state is COMING else self._way_out
                job = block.job = way(block, deadline=self._running.now)
            return job

    def _end_last(self, block: TierBlock) -> None:
        """Wait for an older content: two writes of one flash address must not overtake each other."""
        if block.job is not None and not block.job.is_over:
            self._wait(block.job)

    def _wait(self, job: Job) -> None:
        if job.is_over:
            return
        began = time.perf_counter()
        self._mover.hurry(job, deadline=self._running.now)
        try:
            job.sit_out()
        finally:
            self._counts.stall_s += time.perf_counter() - began

    def _way_out(self, block: TierBlock, *, deadline: int) -> Job:
        return Job(
            direction="out",
            block=view(block.span),
            offset=block.offset,
            deadline=deadline,
            version=block.version,
            done=lambda job: self._written(block, job),
        )

    def _way_in(self, block: TierBlock, *, deadline: int) -> Job:
        staging = self._stagings.pop() if self._stagings else Staging(BLOCK_BYTES)
        return Job(
            direction="in",
            block=staging.view(block.span.length),
            offset=block.offset,
            deadline=deadline,
            version=block.version,
            done=lambda job: self._arrived(block, job, staging),
        )

    def _written(self, block: TierBlock, job: Job) -> None:
        """The copy is on flash; called in a thread of the mover."""
        with self._occupancy.lock:
            assert block.job is job, "the mover has written something else than was asked for"
            block.is_clean = block.version == job.version
            if block.state is LEAVING and not (  # else it was called back, or was only to be saved
                block.is_clean and self._occupancy.send_out(block, WRITTEN, flash=self._flash)
            ):
                self._occupancy.change(block, OVERTAKEN)

    def _arrived(self, block: TierBlock, job: Job, staging: Staging) -> None:
        """The copy is in memory again; called in a thread of the mover."""
        with self._occupancy.lock:
            assert block.version == job.version, "somebody has written to a block that was not in memory"
            assert block.state is COMING, f"a block that is {block.state.value} cannot arrive"
            block.is_clean = True
            self._occupancy.change(block, ARRIVED, staging=staging)
        self._stagings.append(staging)
