"""The fast tier of a real run: which blocks of which storages are in memory, and the one budget over them.

Law 1: before an operator runs, everything it touches is HERE, whatever any plan said: of a storage that it touches in part,
the blocks of that part. Law 3: bytes in memory, those under way included, never exceed the budget.

`Tier` is what the rooms above see. It has four parts: `Occupancy` (block states and the budget), `Standings` (whole
storages), `Eviction` (who leaves where room is short) and `BlockTransfers` (traffic with the drive). Note [Tier block
states] says what may become of a block, Note [Standing of a storage] what of a storage, Note [Lock protocol] what threads
may do, Note [Interrupted changes] what an exception may leave behind.
"""

from collections.abc import Collection, Iterable
from types import MappingProxyType

from tmtrain.runtime.tier.block_state import AWAY, HERE
from tmtrain.runtime.tier.counts import Counts
from tmtrain.runtime.tier.eviction import Eviction, EvictionRank
from tmtrain.runtime.tier.flash import Flash
from tmtrain.runtime.tier.managed_storage import Standing, TierBlock
from tmtrain.runtime.tier.mover import Mover
from tmtrain.runtime.tier.occupancy import Occupancy
from tmtrain.runtime.tier.pages import Ranges, Span
from tmtrain.runtime.tier.running_operator import RunningOperator
from tmtrain.runtime.tier.standings import Standings
from tmtrain.runtime.tier.transfers import BlockTransfers

NOWHERE: Ranges = MappingProxyType({})
"""All storages are touched as a whole."""


class Tier:
    """The budget, its managed storages, and the flash behind it; the training thread calls."""

    def __init__(self, flash: Flash, mover: Mover, budget_bytes: int) -> None:
        """Begin with nothing managed.

        Args:
            flash: Where blocks go; closed by `close`.
            mover: What carries them there and back; closed likewise.
            budget_bytes: For managed storages; what cannot be moved is counted elsewhere.
        """
        self.flash, self.mover = flash, mover
        self.counts = Counts()
        self._running = RunningOperator()
        """Shared with the parts: what must stay, and for which operator."""
        self._occupancy = Occupancy(budget_bytes=budget_bytes, running=self._running, counts=self.counts)
        self._transfers = BlockTransfers(
            flash, mover, occupancy=self._occupancy, running=self._running, counts=self.counts
        )
        self._eviction = Eviction(
            flash,
            occupancy=self._occupancy,
            transfers=self._transfers,
            running=self._running,
            counts=self.counts,
        )
        self._standings = Standings(
            flash,
            occupancy=self._occupancy,
            transfers=self._transfers,
            eviction=self._eviction,
            running=self._running,
        )
        standings = self._standings
        self.begin_at_once, self.take_over = standings.begin_at_once, standings.take_over
        self.most_room_bytes = standings.most_room_bytes

    def __contains__(self, number: int) -> bool:
        return number in self._occupancy.storages

    def __len__(self) -> int:
        return len(self._occupancy.storages)

    @property
    def budget_bytes(self) -> int:
        """For managed storages. A lower one holds from the next operator on."""
        return self._occupancy.budget_bytes

    @budget_bytes.setter
    def budget_bytes(self, budget_bytes: int) -> None:
        self._occupancy.budget_bytes = budget_bytes

    @property
    def used_bytes(self) -> int:
        """In memory or under way."""
        return self._occupancy.used_bytes

    @property
    def managed_bytes(self) -> int:
        """Of all managed storages, wherever they are."""
        return self._occupancy.managed_bytes

    @property
    def away_bytes(self) -> int:
        """Of managed storages, on flash only."""
        return sum(block.span.length for block in self._occupancy.blocks() if block.state is AWAY)

    @property
    def free_bytes(self) -> int:
        """Of the budget, for managed storages that do not stay for good."""
        return self._occupancy.budget_bytes - self._occupancy.staying_bytes

    @property
    def now(self) -> int:
        """Operator that runs now."""
        return self._running.now

    def evict_by(self, rank: EvictionRank) -> None:
        """Let the storages of the highest `rank` leave first from now on, where room is short."""
        self._eviction.evict_by(rank)

    def forget_peak(self) -> None:
        """Let `counts.peak_bytes` begin anew at what is used now; between steps, so the books are compared too."""
        self._occupancy.audit()
        self._occupancy.forget_peak()

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
        if self._occupancy.is_torn:
            self._occupancy.mend()
        storages = self._occupancy.storages
        touched = [storages[number] for number in numbers if number in storages]
        self._running.begin(now, what, {managed.number: managed.positions_in(ranges) for managed in touched})
        elsewhere: list[TierBlock] = []
        for managed in touched:
            managed.last_use = now
            if managed.standing is Standing.DISCARDED:
                raise RuntimeError(f"{what} reads what was discarded and not recomputed")
            # No lock: what is HERE stays so, since only this thread sends blocks away.
            elsewhere += [block for block in managed.blocks_in(ranges) if block.state is not HERE]
        if elsewhere:
            self._eviction.bring_in(elsewhere)
        else:
            self._eviction.make_room(0)  # the budget may be lower than it was

    def end(self, changed: Collection[int], *, ranges: Ranges = NOWHERE) -> None:
        """The operator is over and has changed these: their copies on flash are stale. Anything may leave now."""
        if changed:
            self.wrote(changed, ranges=ranges)
        self._running.end()

    def wrote(self, numbers: Iterable[int], *, ranges: Ranges = NOWHERE) -> None:
        """Somebody changed these, as far as in `ranges`: copies on flash are stale."""
        storages = self._occupancy.storages
        with self._occupancy.lock:
            for number in numbers:
                if number in storages:
                    for block in storages[number].blocks_in(ranges):
                        block.version += 1  # a write under way now ends for an older one
                        block.is_clean = False

    def keep(self, number: int) -> None:
        """Let a managed storage that is in memory stay there until it dies: others touch it when they please."""
        self._occupancy.keep(self._occupancy.storages[number])

    def admit(self, number: int, memory: Span) -> None:
        """Take in a new storage, which is in memory and written; room for it has been made before.

        Raises:
            FlashError: the drive is full.
        """
        self._standings.admit(number, memory)

    def lend(self, number: int) -> None:
        """Let the running operator, which touches all of a managed storage, have its memory for good or for worse.

        Until `take_back` it is in memory, open, and nothing of it is under way: the operator may give it to the allocator.
        """
        self._standings.lend(number)

    def take_back(self, number: int, memory: Span | None) -> None:
        """Manage what was lent as before, wherever its memory is by now.

        Args:
            number: Of the storage; where it is not LENT, nothing is done.
            memory: Where it is now; None where it cannot be moved any more.

        Raises:
            InfeasibleError: it has grown beyond what the budget allows. It is not managed any more.
            FlashError: the drive has no room for it, likewise.
        """
        self._standings.take_back(number, memory)

    def dismiss(self, number: int) -> None:
        """The storage is about to be freed: nothing of it may be under way, and its pages must be open.

        What an exception has interrupted is done to its end by a second call.
        """
        self._standings.dismiss(number)

    def reserve(self, wanted_bytes: int) -> None:
        """Make room for what the current operator is about to make, and keep it for that; errors as `make_room`."""
        self._eviction.make_room(wanted_bytes)
        self._running.reserve(wanted_bytes)

    def make_room(self, wanted_bytes: int) -> None:
        """Let managed storages leave, by rank, until so much is free; those of the current operator stay.

        Raises:
            InfeasibleError: what has to stay leaves less.
            FlashError: the drive failed.
        """
        self._eviction.make_room(wanted_bytes)

    def save(self, block: TierBlock, *, deadline: int) -> None:
        """Write `block` out and keep it: it can leave at once later, if nobody changes it until then."""
        if block.state is HERE and not block.is_clean and not block.is_being_written:
            self._transfers.write(block, deadline=deadline)

    def leave(self, block: TierBlock, *, deadline: int) -> None:
        """Let `block` go as soon as flash has it. What the current operator uses stays, whoever says otherwise."""
        self._eviction.leave(block, deadline=deadline)

    def fetch(self, block: TierBlock, *, deadline: int) -> bool:
        """Bring `block` back ahead of time, if there is room; return whether it is there or under way."""
        occupancy = self._occupancy
        if block.state is AWAY and occupancy.storages[block.owner].standing is not Standing.DISCARDED:
            # No lock: by now it can only be less that is used.
            if occupancy.used_bytes + self._running.reserved_bytes + block.span.length > self.budget_bytes:
                return False
            self._transfers.fetch(block, deadline=deadline)
        return True

    def may_discard(self, number: int) -> bool:
        """Whether a managed storage may be discarded: not where it has to stay, or twice its bytes exceed the budget."""
        return self._standings.may_discard(number)

    def discard(self, number: int) -> None:
        """Forget what a managed storage holds, if it has not died yet; it may be discarded, and can be recomputed."""
        self._standings.discard(number)

    def refill(self, number: int, source: Span) -> None:
        """Let what was discarded appear, block by block, from memory that holds the same; errors as `make_room`."""
        self._standings.refill(number, source)

    def blocks_of(self, number: int) -> list[TierBlock]:
        """Return the blocks of a managed storage, in order."""
        return self._occupancy.storages[number].blocks

    def close(self, *, restores: bool = True) -> None:
        """Let go of the drive, when everything is back: the storages outlive the tier. A second time does no harm.

        Args:
            restores: Else what is away stays closed for good, and only what is under way is waited for.

        Raises:
            FlashError: something could not be read.
        """
        try:
            self._end_traffic(restores=restores)
        except BaseException:  # Ctrl-C, for one: what does not come back now never will
            self._end_traffic(restores=restores)
            raise
        finally:
            try:
                self.mover.close()
            finally:
                self.flash.close()

    def _end_traffic(self, *, restores: bool) -> None:
        self._occupancy.audit()
        self.budget_bytes = max(self.budget_bytes, self.managed_bytes)
        if restores:
            self.begin(self.now + 1, list(self._occupancy.storages))
        else:
            self._transfers.finish_all()
