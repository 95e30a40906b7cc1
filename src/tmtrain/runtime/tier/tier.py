"""The fast tier of a real run: which blocks of which storages are in memory, and the one budget over them.

Law 1: before an operator runs, everything it touches is HERE, whatever any plan said: of a storage that it touches in part,
the blocks of that part. Law 3: bytes in memory, those under way included, never exceed the budget.

Only the training thread calls; the mover's threads report through `_arrived` and `_written`, under the lock.
"""

import heapq
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType

from tmtrain.errors import InfeasibleError
from tmtrain.policies.shared.best_fit import BestFit
from tmtrain.runtime.tier.flash import Flash
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES, BlockState, ManagedStorage, TierBlock
from tmtrain.runtime.tier.mover import Job, Mover
from tmtrain.runtime.tier.pages import PAGE_BYTES, Ranges, Span, interior, page_in, page_out, view
from tmtrain.units import format_bytes

NOWHERE: Ranges = MappingProxyType({})
"""All storages are touched as a whole."""


def least_recently_used(managed: ManagedStorage) -> float:
    """Rank who was not used for longest first: what to go by where the future is not known."""
    return -managed.last_use


@dataclass(slots=True)
class Counts:
    """What happened so far."""

    misses: int = 0
    """Blocks that an operator had to wait for because nobody had fetched them."""
    evictions: int = 0
    """Blocks that left because room was short, not because somebody had planned it."""
    stall_s: float = 0.0
    """Waited for the drive, by the training thread."""
    peak_bytes: int = 0


@dataclass(slots=True)
class Tier:
    """The budget, its managed storages, and the flash behind it."""

    flash: Flash
    mover: Mover
    budget_bytes: int
    """For managed storages; what cannot be moved is counted elsewhere."""
    rank: Callable[[ManagedStorage], float] = least_recently_used
    """Who leaves first where room is needed: the highest."""
    counts: Counts = field(default_factory=Counts)
    used_bytes: int = 0
    """In memory or under way."""
    now: int = 0
    """Operator that runs now."""
    what: str = ""
    """Its name, for messages."""
    _managed: dict[int, ManagedStorage] = field(default_factory=dict)
    _pinned: dict[int, range] = field(default_factory=dict)
    """What the current operator touches: places of blocks by managed storage."""
    _leaving: dict[int, TierBlock] = field(default_factory=dict)
    """Blocks that are LEAVING, by place on flash, who has been told first in front."""
    _leaving_bytes: int = 0
    _staying_bytes: int = 0
    _managed_bytes: int = 0
    _reserved_bytes: int = 0
    """For what the current operator makes: nobody else may take it."""
    _places: BestFit = field(default_factory=BestFit)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def __contains__(self, number: int) -> bool:
        return number in self._managed

    def __len__(self) -> int:
        return len(self._managed)

    @property
    def managed_bytes(self) -> int:
        """Of all managed storages, wherever they are."""
        return self._managed_bytes

    @property
    def free_bytes(self) -> int:
        """Of the budget, for managed storages that do not stay for good."""
        return self.budget_bytes - self._staying_bytes

    def begin(self, now: int, numbers: Iterable[int], *, ranges: Ranges = NOWHERE, what: str = "") -> None:
        """Let operator `now` run: bring in all it touches, and hold it there until the next one begins.

        Args:
            now: Number of the operator.
            numbers: Managed storages that it touches; those of others are ignored.
            ranges: What it touches of those that it does not touch as a whole.
            what: Its name, for messages.

        Raises:
            InfeasibleError: together they exceed the budget.
            FlashError: the drive failed.
        """
        self.now, self.what, self._reserved_bytes = now, what, 0
        managed_storages = [self._managed[number] for number in numbers if number in self._managed]
        self._pinned = {managed.number: managed.places_in(ranges) for managed in managed_storages}
        elsewhere: list[TierBlock] = []
        for managed in managed_storages:
            managed.last_use = now
            if managed.is_discarded:
                raise RuntimeError(f"{what} reads what was dropped and not recomputed")
            # What is HERE stays so: only this thread sends blocks away.
            elsewhere += [block for block in managed.blocks_in(ranges) if block.state is not BlockState.HERE]
        self._call_back(elsewhere)
        absent = [block for block in elsewhere if block.state is BlockState.AWAY]
        self.make_room(sum(block.span.length for block in absent))
        for block in absent:
            self.counts.misses += 1
            self._fetch(block, deadline=now)
        for block in elsewhere:
            if block.state is BlockState.COMING:
                self._wait(block)

    def end(self, changed: Iterable[int], *, ranges: Ranges = NOWHERE) -> None:
        """The operator is over and has changed these: their copies on flash are stale. Anything may leave now."""
        self.wrote(changed, ranges=ranges)
        self._pinned = {}

    def wrote(self, numbers: Iterable[int], *, ranges: Ranges = NOWHERE) -> None:
        """Somebody changed these, as far as in `ranges`: copies on flash are stale."""
        with self._lock:
            for number in numbers:
                if number in self._managed:
                    for block in self._managed[number].blocks_in(ranges):
                        block.version += 1
                        block.is_clean = False

    def keep(self, number: int) -> None:
        """Let a managed storage that is in memory stay there until it dies: others touch it when they please."""
        managed = self._managed[number]
        if not managed.stays:
            managed.stays = True
            self._staying_bytes += managed.bytes

    def admit(self, number: int, memory: Span) -> None:
        """Take in a new storage, which is in memory and written; room for it has been made before.

        Raises:
            FlashError: the drive is full.
        """
        span = interior(memory)
        pages = span.length // PAGE_BYTES
        first = self._places.take(pages)
        if (first + pages) * PAGE_BYTES > self.flash.size_bytes:
            self.flash.grow((first + pages) * PAGE_BYTES)
        blocks = [
            TierBlock(
                owner=number,
                span=Span(span.address + at, min(BLOCK_BYTES, span.length - at)),
                offset=first * PAGE_BYTES + at,
            )
            for at in range(0, span.length, BLOCK_BYTES)
        ]
        self._managed[number] = ManagedStorage(
            number=number, blocks=blocks, lead_bytes=span.address - memory.address, first_page=first, last_use=self.now
        )  # fmt: skip
        self._pinned[number] = range(len(blocks))
        self._managed_bytes += span.length
        self._reserved_bytes = max(0, self._reserved_bytes - memory.length)
        with self._lock:
            self._use(span.length)

    def dismiss(self, number: int) -> None:
        """The storage is about to be freed: nothing of it may be under way, and its pages must be open."""
        managed = self._managed.pop(number, None)
        if managed is None:
            return
        for block in managed.blocks:
            if block.job is not None:
                self.mover.cancel(block.job)
            with self._lock:
                if block.state is BlockState.AWAY:
                    page_in(block.span)
                else:
                    self.used_bytes -= block.span.length
                self._settle(block)
        self._managed_bytes -= managed.bytes
        self._staying_bytes -= managed.bytes if managed.stays else 0
        self._places.give(managed.first_page, managed.bytes // PAGE_BYTES)
        self._pinned.pop(number, None)

    def reserve(self, wanted_bytes: int) -> None:
        """Make room for what the current operator is about to make, and keep it for that; errors as `make_room`."""
        self.make_room(wanted_bytes)
        self._reserved_bytes = wanted_bytes

    def make_room(self, wanted_bytes: int) -> None:
        """Let managed storages leave, by rank, until so much is free; those of the current operator stay.

        Raises:
            InfeasibleError: what has to stay leaves less.
            FlashError: the drive failed.
        """
        while True:
            with self._lock:
                short = self.used_bytes + wanted_bytes - self.budget_bytes
                to_come = short - self._leaving_bytes
            if short <= 0:
                return
            if to_come > 0:
                self._choose(to_come, wanted_bytes)
            with self._lock:
                block = next(iter(self._leaving.values()), None)
            if block is not None:  # it may have gone just now
                self._wait(block)

    def save(self, block: TierBlock, *, deadline: int) -> None:
        """Write `block` out and keep it: it can leave at once later, if nobody changes it until then."""
        if block.state is BlockState.HERE and not block.is_clean and block.writing is None:
            self._write(block, deadline=deadline)

    def leave(self, block: TierBlock, *, deadline: int) -> None:
        """Give `block` up: it goes when flash has it. What the current operator uses stays, whoever says otherwise."""
        with self._lock:
            if block.state is not BlockState.HERE or self._must_stay(block):
                return
            if block.is_clean:
                self._go(block)
                return
            block.state = BlockState.LEAVING
            self._leaving[block.offset] = block
            self._leaving_bytes += block.span.length
            if block.writing == block.version:
                return  # on its way already: somebody had needed it after all
        self._write(block, deadline=deadline)

    def discard(self, number: int) -> bool:
        """Forget what a managed storage holds; False where it has to stay, or the budget has no room to copy it from elsewhere."""
        managed = self._managed[number]
        if any(map(self._must_stay, managed.blocks)) or 2 * managed.bytes > self.free_bytes:
            return False
        managed.is_discarded = True
        for block in managed.blocks:
            if block.job is not None:
                self.mover.cancel(block.job)
            with self._lock:
                block.version += 1
                block.is_clean = False
                if block.state is not BlockState.AWAY:
                    self._go(block)
        return True

    def reopen(self, number: int) -> None:
        """Let a managed storage that was dropped be filled again; errors as `make_room`."""
        managed = self._managed[number]
        self.make_room(managed.bytes)
        with self._lock:
            for block in managed.blocks:
                page_in(block.span)
                block.state = BlockState.HERE
            self._use(managed.bytes)
        managed.is_discarded = False

    def fetch(self, block: TierBlock, *, deadline: int) -> bool:
        """Bring `block` back ahead of time, if there is room; return whether it is there or under way."""
        if block.state is BlockState.AWAY and not self._managed[block.owner].is_discarded:
            if self.used_bytes + self._reserved_bytes + block.span.length > self.budget_bytes:
                return False
            self._fetch(block, deadline=deadline)
        return True

    def blocks_of(self, number: int) -> list[TierBlock]:
        """Return the blocks of a managed storage, in order."""
        return self._managed[number].blocks

    @property
    def away_bytes(self) -> int:
        """Of managed storages, on flash only."""
        return sum(block.span.length for block in self._all_blocks() if block.state is BlockState.AWAY)

    def close(self, *, restores: bool = True) -> None:
        """Let go of the drive, when everything is back: the storages outlive the tier.

        Args:
            restores: Else what is away stays closed for good, and only what is under way is waited for.

        Raises:
            FlashError: something could not be read.
        """
        self.budget_bytes = max(self.budget_bytes, self._managed_bytes)
        try:
            if restores:
                self.begin(self.now + 1, list(self._managed))
            else:
                self._end_jobs()
        finally:
            self.mover.close()
            self.flash.close()

    def _end_jobs(self) -> None:
        for block in self._all_blocks():
            if block.job is not None:
                self._wait(block)

    def _choose(self, short: int, wanted: int) -> None:
        """Let blocks leave, from the highest rank on, the front of each managed storage first."""
        ranked = [
            (-self.rank(managed), number) for number, managed in self._managed.items() if not managed.stays
        ]
        heapq.heapify(ranked)
        while ranked and short > 0:
            for block in self._managed[heapq.heappop(ranked)[1]].blocks:
                if short > 0 and block.state is BlockState.HERE and not self._must_stay(block):
                    self.counts.evictions += 1
                    self.leave(block, deadline=self.now)
                    short -= block.span.length
        if short > 0 and not self._call_off():
            pinned = sum(block.span.length for block in self._all_blocks() if self._must_stay(block))
            raise InfeasibleError(
                f"operator {self.now}{self.what and f' ({self.what})'} needs {format_bytes(pinned + wanted)} of fast "
                f"memory at once, the budget has {format_bytes(self.budget_bytes)} for what can be moved: give it "
                f"{format_bytes(short)} more, or the step a smaller batch"
            )

    def _call_off(self) -> bool:
        """Call back what is on its way in for later operators; return whether there was anything."""
        coming = [
            block
            for block in self._all_blocks()
            if block.state is BlockState.COMING and not self._must_stay(block)
        ]
        for block in coming:
            assert block.job is not None
            self.mover.cancel(block.job)
            with self._lock:
                if block.state is BlockState.COMING and block.job.error is None:
                    self._go(block)
        return bool(coming)

    def _all_blocks(self) -> Iterator[TierBlock]:
        return (block for managed in self._managed.values() for block in managed.blocks)

    def _must_stay(self, block: TierBlock) -> bool:
        managed = self._managed[block.owner]
        touched = self._pinned.get(block.owner)
        return managed.stays or (touched is not None and managed.place_of(block) in touched)

    def _call_back(self, blocks: Iterable[TierBlock]) -> None:
        """Let those stay that have not gone yet."""
        with self._lock:
            for block in blocks:
                if block.state is BlockState.LEAVING:
                    self._settle(block)

    def _settle(self, block: TierBlock) -> None:
        """Make `block` HERE, whatever it was about to do."""
        block.state = BlockState.HERE
        if self._leaving.pop(block.offset, None) is not None:
            self._leaving_bytes -= block.span.length

    def _write(self, block: TierBlock, *, deadline: int) -> None:
        if block.job is not None:
            # An older content may be on its way: two writes of one place must not overtake each other.
            self._wait(block)
        version = block.writing = block.version
        block.job = Job(
            direction="out", block=view(block.span), offset=block.offset, deadline=deadline,
            done=lambda _: self._written(block, version),
        )  # fmt: skip
        self.mover.submit(block.job)

    def _fetch(self, block: TierBlock, *, deadline: int) -> None:
        with self._lock:
            page_in(block.span)
            block.state = BlockState.COMING
            self._use(block.span.length)
        block.job = Job(
            direction="in", block=view(block.span), offset=block.offset, deadline=deadline,
            done=lambda _: self._arrived(block),
        )  # fmt: skip
        self.mover.submit(block.job)

    def _wait(self, block: TierBlock) -> None:
        job = block.job
        assert job is not None
        if job.finished.is_set():
            return job.wait()
        began = time.perf_counter()
        self.mover.hurry(job, deadline=self.now)
        try:
            job.wait()
        finally:
            self.counts.stall_s += time.perf_counter() - began

    def _written(self, block: TierBlock, version: int) -> None:
        with self._lock:
            block.is_clean, block.writing = block.version == version, None
            if block.state is BlockState.LEAVING:
                if block.is_clean:
                    self._go(block)
                else:
                    self._settle(block)

    def _arrived(self, block: TierBlock) -> None:
        with self._lock:
            block.state, block.is_clean = BlockState.HERE, True

    def _go(self, block: TierBlock) -> None:
        page_out(block.span)
        self._settle(block)
        block.state = BlockState.AWAY
        self.used_bytes -= block.span.length

    def _use(self, size: int) -> None:
        self.used_bytes += size
        self.counts.peak_bytes = max(self.counts.peak_bytes, self.used_bytes)
