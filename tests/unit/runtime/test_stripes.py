"""Several drives are one: what was written comes back, each takes its share, and one that fails is named."""

import os
import random
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from tmtrain.errors import FlashError, InputError
from tmtrain.runtime.host.drive import measure_drive
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.runtime.tier.local_drive import drives_from
from tmtrain.runtime.tier.pages import PAGE_BYTES, Span, interior, view
from tmtrain.runtime.tier.stripes import STRIPE_BYTES, Stripes, capacity_bytes, check_rooms, open_flash
from tmtrain.testing import Fault, FaultyDrive, faults

MIB = 1 << 20


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in ("one", "two", "three")]
    for folder in folders:
        folder.mkdir()
    return folders


class _RecordingDrive(FaultyDrive):
    """The drive behind one folder, and what it was asked for."""

    def __init__(self, folder: str, written: list[tuple[str, int, int]]) -> None:
        super().__init__()
        self.folder = folder
        self.written = written
        """Folder, offset and bytes; all drives share it."""
        self.file: int | None = None
        """The last one that took room."""

    def write(self, file: int, data: memoryview, *, offset: int) -> int:
        self.written.append((self.folder, offset, len(data)))
        return super().write(file, data, offset=offset)

    def allocate(self, file: int, *, offset: int, size_bytes: int) -> None:
        self.file = file
        super().allocate(file, offset=offset, size_bytes=size_bytes)

    @property
    def taken_mib(self) -> int:
        """Of the drive, for the file."""
        assert self.file is not None
        return os.fstat(self.file).st_blocks * 512 // MIB


@pytest.fixture
def drives() -> Iterator[list[_RecordingDrive]]:
    """The drives that are opened during the test, in order."""
    opened: list[_RecordingDrive] = []
    written: list[tuple[str, int, int]] = []

    def open_drive(folder: Path) -> _RecordingDrive:
        opened.append(_RecordingDrive(folder.name, written))
        return opened[-1]

    with drives_from(open_drive):
        yield opened


def _room(size: int) -> tuple[NDArray[np.uint8], Span]:
    """An array, and so many bytes on whole pages inside it."""
    array = np.zeros(size + PAGE_BYTES, np.uint8)
    return array, Span(interior(Span(array.ctypes.data, array.nbytes)).address, size)


@pytest.mark.parametrize("num_drives", [2, 3])
def test_what_was_written_anywhere_comes_back(num_drives: int, folders: list[Path]) -> None:
    """Runs of random sizes side by side, in any order; then some of them anew."""
    dice = random.Random(num_drives)
    stripes = Stripes(folders[:num_drives], size_bytes=20 * MIB)
    edges = [0, *sorted(dice.sample(range(1, 20 * MIB // PAGE_BYTES), 24)), 20 * MIB // PAGE_BYTES]
    runs = [(at * PAGE_BYTES, (end - at) * PAGE_BYTES) for at, end in pairwise(edges)]
    assert max(size for _, size in runs) > 2 * STRIPE_BYTES  # some go round
    content: dict[int, bytes] = {}
    for offset, size in [*dice.sample(runs, len(runs)), *dice.sample(runs, 8)]:
        _keep, span = _room(size)
        content[offset] = dice.randbytes(size)
        view(span)[:] = content[offset]
        stripes.write(view(span), offset=offset)
    for offset, size in dice.sample(runs, len(runs)):
        _keep, span = _room(size)
        stripes.read(view(span), offset=offset)
        assert bytes(view(span)) == content[offset]
    stripes.close()
    stripes.close()


def test_one_folder_is_a_plain_file(folders: list[Path]) -> None:
    flash = open_flash(folders[:1], size_bytes=PAGE_BYTES)
    assert type(flash) is FlashFile
    assert flash.size_bytes == PAGE_BYTES


def test_each_drive_holds_its_share_only(folders: list[Path], drives: list[_RecordingDrive]) -> None:
    stripes = Stripes(folders, size_bytes=7 * MIB)
    assert [drive.taken_mib for drive in drives] == [3, 3, 3]
    assert stripes.size_bytes == 9 * MIB
    assert [list(folder.iterdir()) for folder in folders] == [[], [], []]
    stripes.close()


def test_neighbouring_stripes_are_on_different_drives(
    folders: list[Path], drives: list[_RecordingDrive]
) -> None:
    stripes = Stripes(folders, size_bytes=6 * MIB)
    _keep, span = _room(3 * MIB)
    stripes.write(view(span), offset=MIB + PAGE_BYTES)
    assert drives[0].written == [
        ("two", PAGE_BYTES, MIB - PAGE_BYTES),
        ("three", 0, MIB),
        ("one", MIB, MIB),
        ("two", MIB, PAGE_BYTES),
    ]


def test_a_flipped_bit_on_one_drive_is_found_and_the_drive_is_named(folders: list[Path]) -> None:
    with faults(folder=folders[1]) as two:
        stripes = Stripes(folders, size_bytes=6 * MIB)
    _keep, span = _room(MIB)
    stripes.write(view(span), offset=MIB // 2)  # half on the first drive, half on the second
    two.inject(Fault(kind="flipped bit"))
    with pytest.raises(FlashError, match="/two are not what was written"):
        stripes.read(view(span), offset=MIB // 2)


@pytest.mark.parametrize("verb", ["write", "read"])
def test_a_drive_that_refuses_is_named(verb: Literal["write", "read"], folders: list[Path]) -> None:
    with faults(folder=folders[2]) as three:
        stripes = Stripes(folders, size_bytes=6 * MIB)
    _keep, span = _room(3 * MIB)
    stripes.write(view(span), offset=0)
    three.inject(Fault(kind="EIO on write" if verb == "write" else "EIO on read"))
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
    folders: list[Path], drives: list[_RecordingDrive]
) -> None:
    stripes = Stripes(folders, size_bytes=3 * MIB)
    drives[1].inject(Fault(kind="no room", times=None))
    with pytest.raises(FlashError, match=r"/two has no room for 2.00 MiB, 1.00 MiB are taken \(No space"):
        stripes.grow(6 * MIB)
    assert stripes.size_bytes == 3 * MIB
    drives[1].mend()
    stripes.grow(6 * MIB)
    assert stripes.size_bytes == 6 * MIB
    assert [drive.taken_mib for drive in drives] == [2, 2, 2]


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
