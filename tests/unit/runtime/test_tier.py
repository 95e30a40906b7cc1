"""The tier: the budget holds at every moment, everything comes back as it was, and errors reach who waits."""

import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.support.tier_caller import read_past

from tmtrain.errors import FlashError, InfeasibleError
from tmtrain.runtime.tier.block_state import BlockState
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.runtime.tier.local_drive import LocalDrive, drives_from
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES
from tmtrain.runtime.tier.mover import Mover
from tmtrain.runtime.tier.pages import PAGE_BYTES, Span, keep_large_blocks_apart
from tmtrain.runtime.tier.tier import Tier
from tmtrain.testing import Fault, FaultyDrive, faults
from tmtrain.units import format_bytes

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _apart() -> None:  # pyright: ignore[reportUnusedFunction]
    keep_large_blocks_apart()


@pytest.fixture
def drive() -> Iterator[FaultyDrive]:
    with faults() as drive:
        yield drive


@pytest.fixture
def flash(tmp_path: Path, drive: FaultyDrive) -> FlashFile:
    return FlashFile(tmp_path, size_bytes=64 * MIB)


@pytest.fixture
def tier(flash: FlashFile) -> Iterator[Tier]:
    yield from _closed_afterwards(Tier(flash=flash, mover=Mover(flash), budget_bytes=8 * MIB))


def _closed_afterwards(tier: Tier) -> Iterator[Tier]:
    yield tier
    tier.close()  # pages that are out stay closed for whoever gets the memory next
    _ADMITTED.clear()


class _WatchedDrive(LocalDrive):
    """Writes slowly, and notes which writes met another one of the same flash address."""

    def __init__(self) -> None:
        self.under_way: list[int] = []
        self.overtaken: list[int] = []
        self.may_end = threading.Event()
        self.may_end.set()

    def write(self, file: int, data: memoryview, *, offset: int) -> int:
        self.overtaken += [address for address in self.under_way if address == offset]
        self.under_way.append(offset)
        time.sleep(0.002)
        assert self.may_end.wait(timeout=60)
        size = super().write(file, data, offset=offset)
        self.under_way.remove(offset)
        return size


@pytest.fixture
def watched() -> _WatchedDrive:
    return _WatchedDrive()


@pytest.fixture
def watched_tier(tmp_path: Path, watched: _WatchedDrive) -> Iterator[Tier]:
    with drives_from(lambda _: watched):
        flash = FlashFile(tmp_path, size_bytes=64 * MIB)
    yield from _closed_afterwards(Tier(flash=flash, mover=Mover(flash), budget_bytes=8 * MIB))


def _array(seed: int, size: int = 3 * MIB) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, size, np.uint8)


_ADMITTED: dict[int, NDArray[np.uint8]] = {}
"""By number: must not be freed while pages of them are out."""


def _admit(tier: Tier, number: int, array: NDArray[np.uint8]) -> None:
    _ADMITTED[number] = array
    tier.make_room(array.nbytes)
    tier.admit(number, Span(array.ctypes.data, array.nbytes))


def test_a_loop_larger_than_the_budget_comes_back_as_it_was(tier: Tier) -> None:
    arrays = {n: _array(n) for n in range(6)}  # 18 MiB under 8
    copies = {n: array.copy() for n, array in arrays.items()}
    for n, array in arrays.items():
        tier.begin(n, ())
        _admit(tier, n, array)
    for now in range(6, 30):
        n = now % 6
        tier.begin(now, [n])
        assert np.array_equal(arrays[n], copies[n])
        arrays[n] += 1
        copies[n] += 1
        tier.wrote([n])
        assert tier.used_bytes <= tier.budget_bytes
    assert tier.counts.peak_bytes <= tier.budget_bytes
    assert tier.counts.misses > 0
    tier.close()
    assert all(np.array_equal(arrays[n], copies[n]) for n in arrays)


def test_a_clean_block_leaves_without_being_written_again(tier: Tier) -> None:
    arrays = [_array(n, size=6 * MIB) for n in range(2)]  # one at a time in memory
    for n, array in enumerate(arrays):
        tier.begin(n, ())
        _admit(tier, n, array)
    for now in range(2, 8):
        tier.begin(now, [now % 2])
    assert tier.mover.moved.bytes_in > tier.mover.moved.bytes_out
    # Each was written once, in at most all of its whole pages.
    assert tier.mover.moved.bytes_out <= 2 * 6 * MIB


def test_what_is_touched_in_part_comes_and_counts_in_part(tier: Tier) -> None:
    arrays = {n: _array(n, size=6 * MIB) for n in range(3)}  # each alone fits into 8, no two do
    copies = {n: array.copy() for n, array in arrays.items()}
    for n, array in arrays.items():
        tier.begin(n, ())
        _admit(tier, n, array)
    for step in range(24):
        at = step % 6 * MIB
        part = (at + 7, at + 5000)  # of one or two blocks
        tier.begin(3 + step, arrays, ranges={n: [part] for n in arrays})
        for n, array in arrays.items():
            assert np.array_equal(array[slice(*part)], copies[n][slice(*part)])
            array[slice(*part)] += 1
            copies[n][slice(*part)] += 1
        tier.end(arrays, ranges={n: [part] for n in arrays})
        assert tier.used_bytes <= tier.budget_bytes
    for n in arrays:
        tier.begin(30, [n])
        assert np.array_equal(arrays[n], copies[n])


def test_what_was_not_written_in_a_part_is_still_clean(tier: Tier) -> None:
    one, two = _array(1, size=6 * MIB), _array(2, size=6 * MIB)
    for n, array in ((1, one), (2, two)):
        tier.begin(n, ())
        _admit(tier, n, array)
    tier.begin(3, [1])
    written = tier.mover.moved.bytes_out
    tier.end([1], ranges={1: [(0, 4096)]})
    tier.begin(4, [2])
    tier.begin(5, [1])
    # Of one, a block or two; the rest of two.
    assert tier.mover.moved.bytes_out - written <= 2 * MIB + 5 * MIB


def test_the_edges_of_the_last_block_are_pages(tier: Tier) -> None:
    array = _array(1, size=2 * MIB + 5000)
    _admit(tier, 1, array)
    blocks = tier.blocks_of(1)
    assert all(block.span.length == BLOCK_BYTES for block in blocks[:-1])
    assert blocks[-1].span.length % PAGE_BYTES == 0
    assert blocks[-1].span.end <= array.ctypes.data + array.nbytes


def test_what_the_operator_uses_never_leaves_for_it(tier: Tier) -> None:
    arrays = {n: _array(n) for n in range(3)}
    for n in (0, 1):
        tier.begin(n, ())
        _admit(tier, n, arrays[n])
    tier.begin(2, [0, 1])
    # Whole pages alone can move, so how much is pinned depends on where the arrays begin.
    pinned = sum(block.span.length for n in (0, 1) for block in tier.blocks_of(n))
    need = format_bytes(pinned + arrays[2].nbytes)
    with pytest.raises(InfeasibleError, match=rf"operator 2 needs {need} .* the budget has 8.00 MiB"):
        tier.make_room(arrays[2].nbytes)
    assert all(block.state is BlockState.HERE for n in (0, 1) for block in tier.blocks_of(n))


def test_a_storage_that_dies_is_open_again_and_its_room_is_free(tier: Tier) -> None:
    one, two = _array(1, size=6 * MIB), _array(2, size=6 * MIB)
    _admit(tier, 1, one)
    tier.begin(1, ())
    _admit(tier, 2, two)
    assert any(block.state is BlockState.AWAY for block in tier.blocks_of(1))
    before = tier.used_bytes
    tier.dismiss(1)
    one[:] = 7  # may be freed or written: no fault
    assert tier.used_bytes <= before
    assert 1 not in tier


def test_a_prefetch_takes_only_room_that_is_free(tier: Tier) -> None:
    one, two = _array(1, size=6 * MIB), _array(2, size=6 * MIB)
    _admit(tier, 1, one)
    tier.begin(1, ())
    _admit(tier, 2, two)
    away = [block for block in tier.blocks_of(1) if block.state is BlockState.AWAY]
    free = (tier.budget_bytes - tier.used_bytes) // BLOCK_BYTES
    assert [tier.fetch(block, deadline=9) for block in away] == [n < free for n in range(len(away))]


def test_an_error_of_the_drive_reaches_the_operator_that_waits(tier: Tier, drive: FaultyDrive) -> None:
    one, two = _array(1, size=6 * MIB), _array(2, size=6 * MIB)
    _admit(tier, 1, one)
    tier.begin(1, ())

    drive.inject(Fault(kind="EIO on write", times=None))
    with pytest.raises(FlashError, match=r"cannot write .*Input/output error"):
        _admit(tier, 2, two)
    # Nothing left without a copy.
    assert all(block.state is not BlockState.AWAY for block in tier.blocks_of(1))
    drive.mend()


def test_what_is_queued_when_the_mover_ends_keeps_nobody_waiting(tier: Tier, drive: FaultyDrive) -> None:
    drive.inject(Fault(kind="slow write", times=None, seconds=0.05))
    array = _array(1, size=6 * MIB)
    _admit(tier, 1, array)
    for block in tier.blocks_of(1):
        tier.save(block, deadline=1)
    tier.mover.close()
    tier.dismiss(1)
    assert tier.used_bytes == 0


def test_a_saved_block_leaves_at_once_unless_it_was_changed(tier: Tier) -> None:
    array = _array(1, size=3 * MIB)
    _admit(tier, 1, array)
    tier.end([])
    first, second = tier.blocks_of(1)[:2]
    for block in (first, second):
        tier.save(block, deadline=1)
        assert block.job is not None
        block.job.wait()
        assert block.state is BlockState.HERE
    written = tier.mover.moved.bytes_out
    tier.leave(first, deadline=1)
    assert first.state is BlockState.AWAY
    assert tier.mover.moved.bytes_out == written
    tier.wrote([1])
    tier.leave(second, deadline=1)
    assert second.state is BlockState.LEAVING


def test_what_the_operator_uses_stays_whoever_says_otherwise(tier: Tier) -> None:
    array = _array(1, size=3 * MIB)
    _admit(tier, 1, array)
    tier.end([])
    tier.begin(1, [1])
    for block in tier.blocks_of(1):
        tier.save(block, deadline=1)
        tier.leave(block, deadline=1)
        assert block.job is not None
        block.job.wait()
        assert block.state is BlockState.HERE
    tier.end([])
    for block in tier.blocks_of(1):
        tier.leave(block, deadline=1)
        assert block.state is BlockState.AWAY


def test_a_prefetch_makes_way_for_the_operator_at_hand(tier: Tier, drive: FaultyDrive) -> None:
    one, two = _array(1, size=6 * MIB), _array(2, size=6 * MIB)
    _admit(tier, 1, one)
    tier.begin(1, ())
    _admit(tier, 2, two)
    tier.begin(2, ())
    for block in tier.blocks_of(2):
        tier.leave(block, deadline=2)
        if block.job is not None:
            block.job.wait()
    drive.inject(Fault(kind="slow read", times=None, seconds=0.01))
    for block in tier.blocks_of(1):
        tier.fetch(block, deadline=9)
    three = _array(3, size=7 * MIB)
    tier.begin(3, ())
    _admit(tier, 3, three)
    assert tier.used_bytes <= tier.budget_bytes


def test_the_file_grows_with_what_is_admitted(tmp_path: Path) -> None:
    flash = FlashFile(tmp_path, size_bytes=2 * MIB)
    tier = Tier(flash=flash, mover=Mover(flash), budget_bytes=64 * MIB)
    array = _array(1, size=9 * MIB)
    _admit(tier, 1, array)
    assert flash.size_bytes >= 9 * MIB - 2 * PAGE_BYTES
    tier.close()


def test_random_uses_with_a_slow_drive_never_lose_a_byte(watched: _WatchedDrive, watched_tier: Tier) -> None:
    """Writes that end late overlap new contents, changes of mind and deaths."""
    dice, tier = random.Random(1), watched_tier
    arrays: dict[int, NDArray[np.uint8]] = {}
    copies: dict[int, NDArray[np.uint8]] = {}
    for now in range(150):
        chosen = dice.sample(sorted(arrays), k=min(2, len(arrays)))
        tier.begin(now, chosen)
        for n in chosen:
            assert np.array_equal(arrays[n], copies[n])
        if dice.random() < 0.5:
            for n in chosen:
                value = dice.randrange(256)
                arrays[n][::4096] = value
                copies[n][::4096] = value
            tier.wrote(chosen)
        if dice.random() < 0.2 and len(arrays) > 3:
            dead = dice.choice(sorted(arrays))
            tier.dismiss(dead)
            del arrays[dead], copies[dead], _ADMITTED[dead]
        if len(arrays) < 8:
            array = _array(now, size=dice.randrange(MIB // 4, 2 * MIB))
            _admit(tier, 1000 + now, array)
            arrays[1000 + now], copies[1000 + now] = array, array.copy()
        for n in dice.sample(sorted(arrays), k=1):
            for block in tier.blocks_of(n):
                tier.leave(block, deadline=now + 5)
        assert tier.used_bytes <= tier.budget_bytes
        tier.forget_peak()  # compares the books with the blocks
    tier.close()
    assert watched.overtaken == []  # two writes of one flash address could end in either order
    assert all(np.array_equal(arrays[n], copies[n]) for n in arrays)


def test_what_is_kept_stays_until_it_dies(tier: Tier) -> None:
    arrays = {n: _array(n, 2 * MIB) for n in range(5)}
    for n, array in arrays.items():
        tier.begin(n, ())
        _admit(tier, n, array)
    tier.begin(5, [0])
    tier.keep(0)
    tier.keep(0)
    assert tier.free_bytes == tier.budget_bytes - sum(b.span.length for b in tier.blocks_of(0))
    for now in range(6, 20):
        tier.begin(now, [1 + now % 4])
        for block in tier.blocks_of(0):
            tier.leave(block, deadline=now)
            assert block.state is BlockState.HERE
    tier.begin(20, [1, 2, 3])
    held = sum(
        b.span.length for n in range(4) for b in tier.blocks_of(n)
    )  # whole pages: what the allocator aligned
    needs = re.escape(format_bytes(held + 2 * MIB))
    with pytest.raises(InfeasibleError, match=f"needs {needs} of"):  # what is kept is part of it
        tier.make_room(2 * MIB)
    tier.begin(21, ())
    tier.dismiss(0)
    assert tier.free_bytes == tier.budget_bytes


def test_without_restoring_only_what_is_under_way_is_waited_for(flash: FlashFile) -> None:
    tier = Tier(flash=flash, mover=Mover(flash), budget_bytes=4 * MIB)
    arrays = {n: _array(n) for n in range(3)}
    for n, array in arrays.items():
        tier.begin(n, ())
        _admit(tier, n, array)
    away = tier.away_bytes
    assert away > 0
    tier.close(restores=False)
    assert tier.away_bytes >= away
    assert tier.mover.moved.bytes_in == 0
    for n in arrays:
        tier.dismiss(n)  # opens the pages for whoever gets the memory next
    _ADMITTED.clear()


def test_who_leaves_first_is_who_the_rank_says(tier: Tier) -> None:
    for n in range(2):
        tier.begin(n, ())
        _admit(tier, n, _array(n))
    tier.evict_by(lambda managed: managed.number)
    tier.begin(2, ())
    _admit(tier, 2, _array(2))
    assert all(block.state is BlockState.HERE for block in tier.blocks_of(0))  # the least recently used one
    assert any(block.state is BlockState.AWAY for block in tier.blocks_of(1))


def test_a_peak_is_forgotten_and_the_books_are_compared(tier: Tier) -> None:
    _admit(tier, 1, _array(1))
    tier.begin(1, ())
    _admit(tier, 2, _array(2))
    tier.dismiss(2)
    assert tier.counts.peak_bytes > tier.used_bytes
    tier.forget_peak()
    assert tier.counts.peak_bytes == tier.used_bytes
    tier.blocks_of(1)[0].state = BlockState.AWAY  # as if somebody had passed by `Occupancy.change`
    with pytest.raises(AssertionError):
        tier.forget_peak()
    tier.blocks_of(1)[0].state = BlockState.HERE


def test_a_block_that_was_written_to_while_it_was_away_does_not_arrive(
    tier: Tier, drive: FaultyDrive
) -> None:
    """A bug of ours, by hand: the content that comes would undo what was written."""
    _admit(tier, 1, _array(1, size=2 * MIB))
    tier.end([])
    block = tier.blocks_of(1)[0]
    tier.leave(block, deadline=1)
    assert block.job is not None
    block.job.wait()
    drive.inject(Fault(kind="slow read", seconds=0.05))
    tier.fetch(block, deadline=1)
    tier.wrote([1])
    with pytest.raises(AssertionError, match="not in memory"):
        tier.begin(1, [1])
    tier.dismiss(1)


def test_whoever_looks_while_blocks_come_and_go_sees_them_complete_or_closed(
    tier: Tier, drive: FaultyDrive
) -> None:
    """Never zeros, never half of it: bytes arrive elsewhere and appear at once."""
    arrays = [_array(n, size=6 * MIB) for n in range(2)]  # one at a time in memory
    copies = [array.tobytes() for array in arrays]
    for n, array in enumerate(arrays):
        tier.begin(n, ())
        _admit(tier, n, array)
    seen, is_over = {"complete": 0, "closed": 0, "other": 0}, threading.Event()

    def look() -> None:
        while not is_over.is_set():
            for array, copy in zip(arrays, copies, strict=True):
                for at in range(MIB, 5 * MIB, 64 << 10):  # pieces that lie in one block, as a rule
                    found = read_past(Span(array.ctypes.data + at, PAGE_BYTES))
                    kind = (
                        "closed"
                        if found is None
                        else "complete"
                        if found == copy[at : at + PAGE_BYTES]
                        else "other"
                    )
                    seen[kind] += 1

    drive.inject(Fault(kind="short read", times=None), Fault(kind="slow read", times=None, seconds=0.001))
    thread = threading.Thread(target=look)
    thread.start()
    for now in range(2, 8):
        tier.begin(now, [now % 2])
    is_over.set()
    thread.join()
    assert seen["other"] == 0
    assert seen["complete"] > 0
    assert seen["closed"] > 0


def test_what_somebody_else_writes_to_a_clean_block_is_written_before_it_leaves(tier: Tier) -> None:
    """By numpy, or in another thread: the tier was not told, and finds it out where it matters."""
    one, two = _array(1, size=6 * MIB), _array(2, size=6 * MIB)
    for n, array in ((1, one), (2, two)):
        tier.begin(n, ())
        _admit(tier, n, array)
    tier.begin(3, [1])
    one[3 * MIB] ^= 255
    expected = one.copy()
    tier.end(())
    tier.begin(4, [2])
    tier.begin(5, [1])
    assert np.array_equal(one, expected)


def test_what_somebody_else_writes_while_it_is_on_its_way_is_not_lost(
    watched: _WatchedDrive, watched_tier: Tier
) -> None:
    tier, array = watched_tier, _array(1, size=3 * MIB)
    _admit(tier, 1, array)
    tier.end(())
    watched.may_end.clear()  # what has left is closed: to write to it would end the process
    for block in tier.blocks_of(1):
        tier.leave(block, deadline=1)
    while not watched.under_way:
        pass
    array[:-MIB] += 1
    watched.may_end.set()
    expected = array.copy()
    tier.begin(2, [1])
    assert np.array_equal(array, expected)
    for block in tier.blocks_of(1):
        tier.save(block, deadline=2)
    tier.end(())
    tier.begin(3, ())
    for block in tier.blocks_of(1):
        tier.leave(block, deadline=2)
    tier.begin(4, [1])
    assert np.array_equal(array, expected)


def test_what_is_away_counts_once_in_what_an_operator_needs(tier: Tier) -> None:
    arrays = {n: _array(n, size=5 * MIB) for n in range(2)}
    for n, array in arrays.items():
        tier.begin(n, ())
        _admit(tier, n, array)
    needed = sum(block.span.length for n in arrays for block in tier.blocks_of(n))
    more = needed - tier.budget_bytes
    with pytest.raises(
        InfeasibleError, match=rf"needs {format_bytes(needed)} of .* give it {format_bytes(more)} more"
    ) as refused:
        tier.begin(2, arrays)
    assert refused.value.needed_bytes == needed
    tier.budget_bytes = needed
    tier.begin(3, arrays)  # and that is enough


def test_what_is_lent_comes_back_with_its_standing(tier: Tier) -> None:
    arrays = {n: _array(n, size=2 * MIB) for n in range(3)}
    for n, array in arrays.items():
        _admit(tier, n, array)
    tier.begin(1, arrays)
    tier.keep(0)
    staying = tier.budget_bytes - tier.free_bytes
    for n, array in arrays.items():
        tier.lend(n)
        tier.take_back(n, Span(array.ctypes.data, array.nbytes))
    assert tier.budget_bytes - tier.free_bytes == staying
    tier.lend(0)
    moved = _ADMITTED[0] = _array(7, size=MIB)
    tier.take_back(0, Span(moved.ctypes.data, moved.nbytes))
    assert tier.budget_bytes - tier.free_bytes == sum(block.span.length for block in tier.blocks_of(0))
    tier.begin(2, ())
    for block in tier.blocks_of(0):
        tier.leave(block, deadline=2)
        assert block.state is BlockState.HERE
    tier.begin(3, [1])
    tier.lend(1)
    tier.take_back(1, None)
    assert 1 not in tier


def test_a_fetch_that_failed_can_be_tried_again(tier: Tier, drive: FaultyDrive) -> None:
    one, two = _array(1, size=6 * MIB), _array(2, size=6 * MIB)
    copy = one.copy()
    for n, array in ((1, one), (2, two)):
        tier.begin(n, ())
        _admit(tier, n, array)
    drive.inject(Fault(kind="EIO on read"))
    with pytest.raises(FlashError, match="cannot read"):
        tier.begin(3, [1])
    tier.begin(4, [1])
    assert np.array_equal(one, copy)


def test_a_prefetch_that_failed_makes_way_like_any_other(tier: Tier, drive: FaultyDrive) -> None:
    """It would have kept its room for ever, and whoever wanted that would have waited as long."""
    one, two = _array(1, size=6 * MIB), _array(2, size=6 * MIB)
    for n, array in ((1, one), (2, two)):
        tier.begin(n, ())
        _admit(tier, n, array)
    tier.begin(2, ())
    for block in tier.blocks_of(2):
        tier.leave(block, deadline=2)
    tier.begin(3, ())
    tier.make_room(7 * MIB)
    drive.inject(Fault(kind="EIO on read", times=None))
    for block in tier.blocks_of(1):
        tier.fetch(block, deadline=9)
    drive.mend()
    three = _array(3, size=7 * MIB)
    tier.begin(4, ())
    _admit(tier, 3, three)
    assert tier.used_bytes <= tier.budget_bytes
