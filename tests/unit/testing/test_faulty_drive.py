"""What the helpers of `tmtrain.testing` promise to tests: faults where they were ordered, and nowhere else."""

import mmap
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from tmtrain.errors import FlashError, InputError
from tmtrain.runtime.host.drive import measure_drive
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.runtime.tier.pages import PAGE_BYTES
from tmtrain.testing import Fault, FaultKind, FaultyDrive, faults
from tmtrain.testing.faulty_drive import FaultOnRead, FaultOnWrite

KINDS: tuple[FaultKind, ...] = (*get_args(FaultOnRead), *get_args(FaultOnWrite))
HARMLESS = ("slow read", "slow write", "short read", "short write")
"""What a flash file makes good."""


@pytest.fixture
def page() -> memoryview:
    """Two of them, with something in them."""
    memory = memoryview(mmap.mmap(-1, 2 * PAGE_BYTES))
    memory[:] = bytes(range(256)) * (len(memory) // 256)
    return memory


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_survived_or_detected_and_says_that_it_struck(
    kind: FaultKind, tmp_path: Path, page: memoryview
) -> None:
    with faults(Fault(kind=kind, at=1, seconds=0.001)) as drive:
        flash = FlashFile(tmp_path, size_bytes=4 * PAGE_BYTES)
    errors = 0
    for content in (1, 2):  # another one each time: the loss of a write that changes nothing is no loss
        page[:] = bytes([content]) * len(page)
        try:
            flash.write(page, offset=0)
            page[:] = bytes(len(page))
            flash.read(page, offset=0)
            assert bytes(page) == bytes([content]) * len(page)
        except FlashError:
            errors += 1
    assert errors == (kind not in HARMLESS)
    assert [fault.kind for fault in drive.struck] == [kind]
    flash.close()


def test_a_drive_without_room_refuses_to_grow(tmp_path: Path) -> None:
    with faults() as drive:
        flash = FlashFile(tmp_path, size_bytes=8 * PAGE_BYTES)
    drive.inject(Fault(kind="no room"))
    flash.grow(
        9 * PAGE_BYTES
    )  # the first try is for a quarter more than there is, the second for what is needed
    assert flash.size_bytes == 9 * PAGE_BYTES
    drive.inject(Fault(kind="no room", times=None))
    with pytest.raises(
        FlashError, match=r"has no room for 40.00 KiB, 36.00 KiB are taken \(No space left on device\)"
    ):
        flash.grow(10 * PAGE_BYTES)
    flash.close()


def test_a_fault_strikes_at_the_calls_that_were_ordered_counted_since_it_was_injected(
    tmp_path: Path, page: memoryview
) -> None:
    with faults() as drive:
        flash = FlashFile(tmp_path, size_bytes=4 * PAGE_BYTES)
    flash.write(page, offset=0)
    drive.inject(Fault(kind="EIO on write", at=2, times=2))
    outcomes: list[bool] = []
    for _ in range(6):
        try:
            flash.write(page, offset=0)
            outcomes.append(True)
        except FlashError:
            outcomes.append(False)
    assert outcomes == [True, True, False, False, True, True]


def test_nothing_happens_while_disarmed_or_after_mending(tmp_path: Path, page: memoryview) -> None:
    fault = Fault(kind="EIO on write", times=None)
    with faults(fault) as drive:
        flash = FlashFile(tmp_path, size_bytes=4 * PAGE_BYTES)
    drive.disarm()
    flash.write(page, offset=0)
    drive.arm()
    with pytest.raises(FlashError):
        flash.write(page, offset=0)
    drive.mend()
    flash.write(page, offset=0)
    assert drive.struck == [fault]


def test_only_what_is_opened_inside_in_the_folder_is_faulty(tmp_path: Path, page: memoryview) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.mkdir()
    bad.mkdir()
    with faults(Fault(kind="EIO on write", times=None), folder=bad):
        beside = FlashFile(good, size_bytes=4 * PAGE_BYTES)
        faulty = FlashFile(bad, size_bytes=4 * PAGE_BYTES)
    later = FlashFile(bad, size_bytes=4 * PAGE_BYTES)
    beside.write(page, offset=0)
    later.write(page, offset=0)
    with pytest.raises(FlashError, match="/bad: Input/output error"):
        faulty.write(page, offset=0)


def test_faults_reach_whatever_opens_flash(tmp_path: Path) -> None:
    with faults(Fault(kind="EIO on read")), pytest.raises(FlashError, match="cannot read"):
        measure_drive([tmp_path], blocks=2)


def test_two_threads_together_meet_a_fault_once() -> None:
    class Nothing:
        def write(self, file: int, data: memoryview, *, offset: int) -> int:
            return len(data)

        def read(self, file: int, into: memoryview, *, offset: int) -> int:
            return len(into)

        def allocate(self, file: int, *, offset: int, size_bytes: int) -> None: ...

    drive = FaultyDrive(Fault(kind="lost write", at=500), Fault(kind="short write", at=900), behind=Nothing())
    block = memoryview(bytearray(2 * PAGE_BYTES))
    threads = [
        threading.Thread(target=lambda: [drive.write(0, block, offset=0) for _ in range(1000)])
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(fault.kind for fault in drive.struck) == {"lost write": 1, "short write": 1}


def test_an_unknown_fault_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"no such fault: 'rust'; there are slow read, .* torn write"):
        Fault(kind="rust")  # pyright: ignore[reportArgumentType]


def test_the_room_imports_no_torch() -> None:
    code = "import sys, tmtrain.testing; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
