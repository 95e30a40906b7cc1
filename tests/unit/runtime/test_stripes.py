"""Several drives are one: what was written comes back, each takes its share, and one that fails is named."""

import errno
import os
import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tmtrain.errors import FlashError, InputError
from tmtrain.runtime.host.drive import measure_drive
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.runtime.tier.pages import PAGE_BYTES, Span, interior, view
from tmtrain.runtime.tier.stripes import STRIPE_BYTES, Stripes, capacity_bytes, check_rooms, open_flash

MIB = 1 << 20


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    made = [tmp_path / name for name in ("one", "two", "three")]
    for folder in made:
        folder.mkdir()
    return made


def _room(size: int) -> tuple[NDArray[np.uint8], Span]:
    """An array, and so many bytes on whole pages inside it."""
    array = np.zeros(size + PAGE_BYTES, np.uint8)
    return array, Span(interior(Span(array.ctypes.data, array.nbytes)).address, size)


def _files(stripes: Stripes) -> list[FlashFile]:
    return stripes._files  # pyright: ignore[reportPrivateUsage]


def _on_drive(file: FlashFile) -> int:
    """Bytes that are allocated for it."""
    return os.fstat(file._file).st_blocks * 512  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("drives", [2, 3])
def test_what_was_written_anywhere_comes_back(drives: int, folders: list[Path]) -> None:
    """Pieces of random sizes side by side, in any order; then some of them anew."""
    dice = random.Random(drives)
    stripes = Stripes(folders[:drives], size_bytes=20 * MIB)
    edges = [0, *sorted(dice.sample(range(1, 20 * MIB // PAGE_BYTES), 24)), 20 * MIB // PAGE_BYTES]
    places = [(at * PAGE_BYTES, (end - at) * PAGE_BYTES) for at, end in pairwise(edges)]
    assert max(size for _, size in places) > 2 * STRIPE_BYTES  # some pieces go round
    content: dict[int, bytes] = {}
    for offset, size in [*dice.sample(places, len(places)), *dice.sample(places, 8)]:
        _keep, span = _room(size)
        content[offset] = dice.randbytes(size)
        view(span)[:] = content[offset]
        stripes.write(view(span), offset=offset)
    for offset, size in dice.sample(places, len(places)):
        _keep, span = _room(size)
        stripes.read(view(span), offset=offset)
        assert bytes(view(span)) == content[offset]
    stripes.close()
    stripes.close()


def test_one_folder_is_a_plain_file(folders: list[Path]) -> None:
    flash = open_flash(folders[:1], size_bytes=PAGE_BYTES)
    assert type(flash) is FlashFile
    assert flash.size_bytes == PAGE_BYTES


def test_each_drive_holds_its_share_only(folders: list[Path]) -> None:
    stripes = Stripes(folders, size_bytes=7 * MIB)
    assert [_on_drive(file) // MIB for file in _files(stripes)] == [3, 3, 3]
    assert stripes.size_bytes == 9 * MIB
    assert [list(folder.iterdir()) for folder in folders] == [[], [], []]
    stripes.close()


def test_neighbouring_stripes_are_on_different_drives(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stripes = Stripes(folders, size_bytes=6 * MIB)
    written: list[tuple[str, int, int]] = []
    monkeypatch.setattr(
        FlashFile,
        "write",
        lambda file, data, *, offset: written.append((file.folder.name, offset, len(data))),
    )
    _keep, span = _room(3 * MIB)
    stripes.write(view(span), offset=MIB + PAGE_BYTES)
    assert written == [
        ("two", PAGE_BYTES, MIB - PAGE_BYTES),
        ("three", 0, MIB),
        ("one", MIB, MIB),
        ("two", MIB, PAGE_BYTES),
    ]


def test_a_flipped_bit_on_one_drive_is_found_and_the_drive_is_named(folders: list[Path]) -> None:
    stripes = Stripes(folders, size_bytes=6 * MIB)
    _keep, span = _room(MIB)
    stripes.write(view(span), offset=MIB // 2)  # half on the first drive, half on the second
    other, damaged = _room(PAGE_BYTES)
    other[:] = 1
    os.pwrite(_files(stripes)[1]._file, view(damaged), 0)  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(FlashError, match="/two are not what was written"):
        stripes.read(view(span), offset=MIB // 2)


@pytest.mark.parametrize("verb", ["write", "read"])
def test_a_drive_that_refuses_is_named(
    verb: str, folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stripes = Stripes(folders, size_bytes=6 * MIB)
    _keep, span = _room(3 * MIB)
    stripes.write(view(span), offset=0)
    bad, call = _files(stripes)[2]._file, "pwrite" if verb == "write" else "preadv"  # pyright: ignore[reportPrivateUsage]
    well = getattr(os, call)

    def refuse(file: int, data: object, at: int) -> int:
        if file == bad:
            raise OSError(errno.EIO, "Input/output error")
        return well(file, data, at)

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(FlashError, match=rf"cannot {verb} .* of the file in .*/three: Input/output error"):
        getattr(stripes, verb)(view(span), offset=0)


def test_it_grows_and_what_was_there_stays(folders: list[Path]) -> None:
    stripes = Stripes(folders, size_bytes=3 * MIB)
    _keep, span = _room(3 * MIB)
    view(span)[:] = content = random.Random(0).randbytes(3 * MIB)
    stripes.write(view(span), offset=0)
    stripes.grow(10 * MIB)
    assert stripes.size_bytes >= 10 * MIB
    stripes.write(view(span), offset=stripes.size_bytes - 3 * MIB)  # to the very end
    view(span)[:] = bytes(3 * MIB)
    stripes.read(view(span), offset=0)
    assert bytes(view(span)) == content


def test_a_drive_that_cannot_grow_is_named_and_nobody_counts_on_it(
    folders: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    stripes = Stripes(folders, size_bytes=3 * MIB)
    full, take = _files(stripes)[1]._file, os.posix_fallocate  # pyright: ignore[reportPrivateUsage]

    def refuse(file: int, at: int, size: int) -> None:
        if file == full:
            raise OSError(errno.ENOSPC, "No space left on device")
        take(file, at, size)

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with pytest.raises(FlashError, match=r"/two has no room for 2.00 MiB, 1.00 MiB are taken \(No space"):
        stripes.grow(6 * MIB)
    assert stripes.size_bytes == 3 * MIB
    monkeypatch.undo()
    stripes.grow(6 * MIB)
    assert stripes.size_bytes == 6 * MIB
    assert [_on_drive(file) // MIB for file in _files(stripes)] == [2, 2, 2]


def test_a_folder_that_cannot_serve_leaves_nothing_open_on_the_others(folders: list[Path]) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(InputError, match=r"/dev/shm is on tmpfs, which is memory itself"):
        Stripes([*folders, Path("/dev/shm")], size_bytes=6 * MIB)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_each_drive_needs_room_for_its_share_two_folders_of_one_for_both(folders: list[Path]) -> None:
    state = os.statvfs(folders[0])
    free = state.f_bavail * state.f_frsize
    check_rooms(folders, free // 2)
    with pytest.raises(InputError, match=r"has .* free, the plan needs"):
        check_rooms(folders, free * 2)  # two thirds of it each
    assert capacity_bytes(folders) == pytest.approx(capacity_bytes(folders[:1]), abs=len(folders))


def test_drives_are_measured_together(folders: list[Path]) -> None:
    rates = measure_drive(folders[:2], blocks=2)
    assert min(rates.read_bytes_per_s, rates.write_bytes_per_s) <= rates.shared_bytes_per_s
    assert [list(folder.iterdir()) for folder in folders] == [[], [], []]
