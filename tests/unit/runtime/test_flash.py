"""The flash file and the pages: what was written comes back, what is damaged or absent is never read."""

import errno
import mmap
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tmtrain.errors import FlashError, InputError
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.runtime.tier.pages import PAGE_BYTES, Span, interior, page_in, page_out, view

MIB = 1 << 20


def _block(seed: int, pages: int = 4) -> tuple[NDArray[np.uint8], Span]:
    """An array, and the whole pages inside it, filled by `seed`."""
    array = np.random.default_rng(seed).integers(0, 256, (pages + 1) * PAGE_BYTES, np.uint8)
    return array, interior(Span(array.ctypes.data, array.nbytes))


@pytest.fixture
def flash(tmp_path: Path) -> FlashFile:
    return FlashFile(tmp_path, size_bytes=MIB)


def test_pages_given_back_are_filled_again_in_place(flash: FlashFile) -> None:
    array, span = _block(1)
    before, address = array.copy(), array.ctypes.data
    flash.write(view(span), offset=0)
    page_out(span)
    page_in(span)
    assert not np.array_equal(array, before)  # the system took the pages: they are zeros now
    flash.read(view(span), offset=0)
    assert np.array_equal(array, before)
    assert array.ctypes.data == address


def test_the_edges_of_a_storage_outside_its_whole_pages_stay(flash: FlashFile) -> None:
    array, span = _block(2)
    head, tail = span.address - array.ctypes.data, span.end - array.ctypes.data
    edges = array[:head].tobytes(), array[tail:].tobytes()
    flash.write(view(span), offset=0)
    page_out(span)
    assert (array[:head].tobytes(), array[tail:].tobytes()) == edges
    page_in(span)


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


def test_a_flipped_bit_is_found(flash: FlashFile) -> None:
    _keep, span = _block(3)
    flash.write(view(span), offset=0)
    os.pwrite(flash._file, _flipped(bytes(view(span))), 0)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(FlashError, match="not what was written"):
        flash.read(view(span), offset=0)


def _flipped(data: bytes) -> mmap.mmap:
    """A copy on pages of its own, as direct access wants it, with one bit changed."""
    copy = mmap.mmap(-1, len(data))
    copy[:] = data
    copy[100] ^= 1
    return copy


def test_what_another_block_wrote_there_is_not_taken_for_ours(flash: FlashFile) -> None:
    _one, first = _block(5)
    _two, second = _block(6, pages=2)
    flash.write(view(first), offset=0)
    flash.write(view(second), offset=0)
    with pytest.raises(FlashError, match="not what was written"):
        flash.read(view(first), offset=0)


def test_a_file_cut_short_under_us_is_found(flash: FlashFile) -> None:
    _keep, span = _block(7)
    flash.write(view(span), offset=PAGE_BYTES)
    os.ftruncate(flash._file, 2 * PAGE_BYTES)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(FlashError, match="truncated"):
        flash.read(view(span), offset=PAGE_BYTES)


@pytest.mark.parametrize("verb", ["write", "read"])
def test_an_error_of_the_drive_names_place_and_reason(
    flash: FlashFile, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _keep, span = _block(8)
    flash.write(view(span), offset=0)

    def refuse(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "pwrite" if verb == "write" else "preadv", refuse)
    with pytest.raises(
        FlashError, match=rf"cannot {verb} 16.00 KiB at 0 B of the file in .*Input/output error"
    ):
        getattr(flash, verb)(view(span), offset=0)


def test_short_reads_and_writes_are_carried_on(flash: FlashFile, monkeypatch: pytest.MonkeyPatch) -> None:
    array, span = _block(9)
    before = array.copy()
    write, read = os.pwrite, os.preadv
    monkeypatch.setattr(os, "pwrite", lambda file, data, at: write(file, data[:PAGE_BYTES], at))
    monkeypatch.setattr(os, "preadv", lambda file, into, at: read(file, [into[0][:PAGE_BYTES]], at))
    flash.write(view(span), offset=0)
    view(span)[:] = bytes(span.length)
    flash.read(view(span), offset=0)
    assert np.array_equal(array, before)


def test_a_drive_that_is_too_full_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has .* free, the plan needs 1024.00 TiB"):
        FlashFile(tmp_path, size_bytes=1 << 50)


def test_memory_is_no_flash() -> None:
    with pytest.raises(InputError, match="which is memory itself"):
        FlashFile(Path("/dev/shm"), size_bytes=MIB)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        FlashFile(tmp_path / "nowhere", size_bytes=MIB)
