"""The flash file and the pages: what was written comes back, what is damaged or absent is never read."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from tmtrain.errors import FlashError, InputError
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.runtime.tier.pages import PAGE_BYTES, Span, Staging, interior, page_in, page_out, reopen, view
from tmtrain.testing import Fault, FaultKind, FaultyDrive, faults

MIB = 1 << 20


def _block(seed: int, pages: int = 4) -> tuple[NDArray[np.uint8], Span]:
    """An array, and the whole pages inside it, filled by `seed`."""
    array = np.random.default_rng(seed).integers(0, 256, (pages + 1) * PAGE_BYTES, np.uint8)
    return array, interior(Span(array.ctypes.data, array.nbytes))


@pytest.fixture
def drive() -> Iterator[FaultyDrive]:
    with faults() as drive:
        yield drive


@pytest.fixture
def flash(tmp_path: Path, drive: FaultyDrive) -> FlashFile:
    return FlashFile(tmp_path, size_bytes=MIB)


def test_pages_that_were_paged_out_are_filled_in_place(flash: FlashFile) -> None:
    array, span = _block(1)
    before, address = array.copy(), array.ctypes.data
    flash.write(view(span), offset=0)
    page_out(span)
    reopen(span)
    assert not np.array_equal(array, before)  # the system took the pages: they are zeros now
    page_out(span)
    staging = Staging(span.length)
    flash.read(staging.view(span.length), offset=0)
    page_in(span, staging)
    assert np.array_equal(array, before)
    assert array.ctypes.data == address


def test_the_edges_of_a_storage_outside_its_whole_pages_stay(flash: FlashFile) -> None:
    array, span = _block(2)
    head, tail = span.address - array.ctypes.data, span.end - array.ctypes.data
    edges = array[:head].tobytes(), array[tail:].tobytes()
    flash.write(view(span), offset=0)
    page_out(span)
    assert (array[:head].tobytes(), array[tail:].tobytes()) == edges
    reopen(span)


def test_touching_what_is_out_ends_the_process_instead_of_reading_zeros() -> None:
    program = (
        "import numpy as np\n"
        "from tmtrain.runtime.tier.pages import Span, page_out, interior\n"
        "a = np.ones(1 << 20, np.uint8)\n"
        "page_out(interior(Span(a.ctypes.data, a.nbytes)))\n"
        "print('read', a.sum(), flush=True)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == -11  # SIGSEGV
    assert ended.stdout == ""


def test_nothing_has_a_name_on_the_drive(flash: FlashFile, tmp_path: Path) -> None:
    assert list(tmp_path.iterdir()) == []
    flash.close()
    flash.close()


def test_the_room_is_taken_at_once_and_given_back(tmp_path: Path) -> None:
    free = os.statvfs(tmp_path).f_bfree
    flash = FlashFile(tmp_path, size_bytes=64 * MIB)
    assert free - os.statvfs(tmp_path).f_bfree >= 60 * MIB // os.statvfs(tmp_path).f_frsize
    flash.close()


def test_what_flash_holds_is_told_without_reading_it(flash: FlashFile) -> None:
    array, span = _block(4)
    assert not flash.holds(view(span), offset=0)
    flash.write(view(span), offset=0)
    assert flash.holds(view(span), offset=0)
    array[PAGE_BYTES] ^= 1
    assert not flash.holds(view(span), offset=0)


def test_staging_is_empty_once_its_pages_have_moved() -> None:
    _array, span = _block(4)
    staging = Staging(span.length)
    for value in (1, 2):
        staging.view(span.length)[:] = bytes([value]) * span.length
        page_out(span)
        page_in(span, staging)
        assert bytes(view(span)) == bytes([value]) * span.length
        assert bytes(staging.view(span.length)) == bytes(span.length)


@pytest.mark.parametrize("kind", ["flipped bit", "lost write", "torn write"])
def test_what_is_not_what_was_written_is_found(flash: FlashFile, drive: FaultyDrive, kind: FaultKind) -> None:
    _keep, span = _block(3)
    drive.inject(Fault(kind=kind))
    flash.write(view(span), offset=0)
    with pytest.raises(FlashError, match="not what was written"):
        flash.read(view(span), offset=0)
    assert [fault.kind for fault in drive.struck] == [kind]


def test_what_another_block_wrote_there_is_not_taken_for_ours(flash: FlashFile) -> None:
    _one, first = _block(5)
    _two, second = _block(6, pages=2)
    flash.write(view(first), offset=0)
    flash.write(view(second), offset=0)
    with pytest.raises(FlashError, match="not what was written"):
        flash.read(view(first), offset=0)


def test_a_file_cut_short_under_us_is_found(flash: FlashFile, drive: FaultyDrive) -> None:
    _keep, span = _block(7)
    flash.write(view(span), offset=PAGE_BYTES)
    drive.inject(Fault(kind="truncated file"))
    with pytest.raises(FlashError, match="truncated"):
        flash.read(view(span), offset=PAGE_BYTES)


@pytest.mark.parametrize("verb", ["write", "read"])
def test_an_error_of_the_drive_names_address_and_reason(
    flash: FlashFile, drive: FaultyDrive, verb: Literal["write", "read"]
) -> None:
    _keep, span = _block(8)
    flash.write(view(span), offset=0)
    drive.inject(Fault(kind="EIO on write" if verb == "write" else "EIO on read"))
    with pytest.raises(
        FlashError, match=rf"cannot {verb} 16.00 KiB at 0 B of the file in .*Input/output error"
    ):
        getattr(flash, verb)(view(span), offset=0)


def test_short_reads_and_writes_are_carried_on(flash: FlashFile, drive: FaultyDrive) -> None:
    array, span = _block(9)
    before = array.copy()
    drive.inject(Fault(kind="short write", times=None), Fault(kind="short read", times=None))
    flash.write(view(span), offset=0)
    view(span)[:] = bytes(span.length)
    flash.read(view(span), offset=0)
    assert np.array_equal(array, before)
    assert len(drive.struck) >= 6  # four pages: one by one in, and by halves out


def test_a_drive_that_is_too_full_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has .* free, the plan needs 1024.00 TiB"):
        FlashFile(tmp_path, size_bytes=1 << 50)


def test_memory_is_no_flash() -> None:
    with pytest.raises(InputError, match="which is memory itself"):
        FlashFile(Path("/dev/shm"), size_bytes=MIB)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        FlashFile(tmp_path / "nowhere", size_bytes=MIB)
