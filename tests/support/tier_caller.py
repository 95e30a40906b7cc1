"""Who calls a tier as the dispatch mode does, without torch: what it manages, and the same bytes in plain memory."""

import ctypes
import errno
import os
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tmtrain.runtime.tier.block_state import BlockState
from tmtrain.runtime.tier.pages import Range, Ranges, Span
from tmtrain.runtime.tier.tier import Tier

Bytes = NDArray[np.uint8]
_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class TierCaller:
    """Storages of a tier, by number, and what must be in them; each call may end in an exception."""

    def __init__(self, tier: Tier) -> None:
        self.tier = tier
        self.storages: dict[int, Bytes] = {}
        self.plain: dict[int, Bytes] = {}
        self._graveyard: list[Bytes] = []
        """Memory of the dead: kept, so that nobody else gets it."""
        self._kept: set[int] = set()
        self._discarded: set[int] = set()
        self._lent: dict[int, Bytes] = {}
        self._now = 0

    def admit(self, number: int, size: int) -> None:
        """Make a storage, as an operator makes a result."""
        self._begin(())
        memory = np.random.default_rng(number).integers(0, 256, size, np.uint8)
        self.tier.make_room(size)
        self.storages[number], self.plain[number] = memory, memory.copy()
        self.tier.admit(number, _span(memory))

    def operate(self, numbers: Sequence[int], *, value: int | None = None, part: Range | None = None) -> None:
        """Compare what an operator finds with plain memory; then write, if `value` is given."""
        numbers = [number for number in numbers if number in self.storages]
        ranges = {} if part is None else {number: [part] for number in numbers}
        self._begin(numbers, ranges=ranges)
        touched = slice(*part) if part is not None else slice(None)
        for number in numbers:
            assert np.array_equal(self.storages[number][touched], self.plain[number][touched]), number
            if value is not None:
                for memory in (self.storages[number], self.plain[number]):
                    memory[touched][::509] += np.uint8(value)
        self.tier.end(numbers if value is not None else (), ranges=ranges)

    def keep(self, number: int) -> None:
        """Let it stay."""
        self._begin([number])
        if number in self.tier:
            self.tier.keep(number)
            self._kept.add(number)

    def put_elsewhere(self, number: int, *, size: int | None) -> None:
        """Run an operator that may resize; without a `size` it does not, and one of 0 is not managed any more."""
        self._begin([number])
        if number not in self.tier:
            return
        self._lent = {number: self.storages[number]}
        self.tier.lend(number)
        if size is not None:
            memory = np.resize(self.storages[number], max(size, 1))
            self._graveyard.append(self.storages[number])
            self.storages[number][:] = 0  # the allocator has it
            self.storages[number] = self._lent[number] = memory
            self.plain[number] = memory.copy()
        self._take_back()

    def discard(self, number: int) -> None:
        """Forget what can be recomputed, if the tier agrees."""
        if number in self.tier and number not in self._discarded and self.tier.may_discard(number):
            self._discarded.add(number)
            self.tier.discard(number)

    def leave(self, number: int) -> None:
        """Advise it to leave."""
        for block in self.tier.blocks_of(number) if number in self.tier else ():
            self.tier.leave(block, deadline=self._now)

    def save(self, number: int) -> None:
        """Advise it to be written ahead."""
        for block in self.tier.blocks_of(number) if number in self.tier else ():
            self.tier.save(block, deadline=self._now)

    def fetch(self, number: int) -> None:
        """Advise it to come back."""
        for block in self.tier.blocks_of(number) if number in self.tier else ():
            self.tier.fetch(block, deadline=self._now + 9)

    def dismiss(self, number: int) -> None:
        """Let it die; nobody hears of an exception there, so the rest is done."""
        self._settle()
        self._recompute([number])
        self._kept.discard(number)
        if number not in self.storages:
            return
        try:
            self.tier.dismiss(number)
        except BaseException:
            self.tier.dismiss(number)
            raise
        finally:
            self._graveyard.append(self.storages.pop(number))
            del self.plain[number]
            self._graveyard[-1][:] = 0

    def finds(self, number: int, *, at: int, size: int) -> bool:
        """Whether somebody else who looks there now finds closed pages, or what must be there."""
        found = read_past(_span(self.storages[number][at : at + size]))
        return found is None or found == self.plain[number][at : at + size].tobytes()

    def write_past(self, number: int, *, at: int, size: int, value: int) -> bool:
        """Write as somebody whom the tier does not see, where that is in memory; return whether it was."""
        occupancy = self.tier._occupancy  # pyright: ignore[reportPrivateUsage]
        with occupancy.lock:  # or a page may be closed between asking and writing
            occupancy.mend()
            first = self.storages[number].ctypes.data + at
            is_here = all(
                block.state in (BlockState.HERE, BlockState.LEAVING)
                for block in (self.tier.blocks_of(number) if number in self.tier else [])
                if block.span.address < first + size and first < block.span.end
            )
            if is_here:
                for memory in (self.storages[number], self.plain[number]):
                    memory[at : at + size] = value
            return is_here

    def check_books(self) -> None:
        """Compare the books with the blocks, and see that what is kept is there."""
        self.tier.forget_peak()
        for number in self._kept:
            blocks = self.tier.blocks_of(number) if number in self.tier else ()
            # An exception may have come while it was given up.
            assert all(block.state in (BlockState.HERE, BlockState.FREED) for block in blocks)

    def check(self) -> None:
        """Compare everything, one after the other."""
        for number in list(self.storages):
            self.operate([number])
        self.check_books()

    def _begin(self, numbers: Sequence[int], *, ranges: Ranges | None = None) -> None:
        self._now += 1
        self._settle()
        self._recompute(numbers)
        self.tier.begin(self._now, numbers, ranges=ranges or {})
        assert self.tier.used_bytes <= self.tier.budget_bytes

    def _settle(self) -> None:
        if self._lent:
            self._take_back()

    def _take_back(self) -> None:
        for number, memory in list(self._lent.items()):
            self.tier.take_back(number, _span(memory) if len(memory) > 1 else None)
        self._lent = {}

    def _recompute(self, numbers: Sequence[int]) -> None:
        for number in self._discarded.intersection(numbers):
            self.tier.begin(self._now, ())
            self.tier.refill(number, _span(self.plain[number]))
            self._discarded.discard(number)


def read_past(span: Span) -> bytes | None:
    """Return what is there as another process would read it; None where pages are closed, which kills nobody so."""
    found = ctypes.create_string_buffer(span.length)
    here, there = _Vector(ctypes.addressof(found), span.length), _Vector(span.address, span.length)
    done = _libc.process_vm_readv(os.getpid(), ctypes.byref(here), 1, ctypes.byref(there), 1, 0)
    if done == span.length:
        return found.raw
    assert done >= 0 or ctypes.get_errno() == errno.EFAULT
    return None


def _span(memory: Bytes) -> Span:
    return Span(memory.ctypes.data, memory.nbytes)
