"""A drive that is slow, full, torn or lying, at transfers that a test names.

Faults happen below the checksums of the flash file, where those of real drives do. So a test with them shows what a run
makes of a broken drive: the same bits, or an error that says what is wrong.
"""

import errno
import os
import random
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from tmtrain.errors import InputError
from tmtrain.runtime.tier.local_drive import Drive, LocalDrive, drives_from
from tmtrain.runtime.tier.pages import PAGE_BYTES

FaultOnRead = Literal["slow read", "short read", "EIO on read", "flipped bit", "truncated file"]
FaultOnWrite = Literal["slow write", "short write", "EIO on write", "full disk", "torn write", "lost write"]
FaultOnGrowth = Literal["no room"]
FaultKind = Literal[FaultOnRead, FaultOnWrite, FaultOnGrowth]

_Call = Literal["read", "write", "allocate"]
_CALL_OF: dict[str, _Call] = {
    **dict.fromkeys(get_args(FaultOnRead), "read"),
    **dict.fromkeys(get_args(FaultOnWrite), "write"),
    **dict.fromkeys(get_args(FaultOnGrowth), "allocate"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What goes wrong, and at which calls of its direction.

    A transfer is one call of the system. A block of 1 MiB is one, unless an earlier call of it was short.

    >>> Fault(kind="rust").kind
    Traceback (most recent call last):
    tmtrain.errors.InputError: no such fault: 'rust'; there are slow read, short read, EIO on read, ...
    """

    kind: FaultKind
    """``slow ...``: it takes `seconds` longer. ``short ...``: a page is read, or half is written, and it says so.
    ``EIO ...``: it is refused. ``full disk``: it is refused for want of room. ``torn write``: half is written, all is
    said to be. ``lost write``: nothing is written, all is said to be. ``flipped bit``: one bit of what is read is another.
    ``truncated file``: the file is cut to nothing before it is read. ``no room``: the file cannot be made longer."""
    at: int = 0
    """Calls that go well before, counted from when the fault was injected."""
    times: int | None = 1
    """Calls that it strikes; None: all from then on."""
    seconds: float = 0.0
    """How much longer a slow transfer takes."""

    def __post_init__(self) -> None:
        """Refuse what nobody knows."""
        if self.kind not in _CALL_OF:
            raise InputError(f"no such fault: {self.kind!r}; there are {', '.join(_CALL_OF)}")

    def strikes_at(self, call: int) -> bool:
        """Return whether it strikes at the call of this number.

        >>> [Fault(kind="lost write", at=1, times=2).strikes_at(call) for call in range(4)]
        [False, True, True, False]
        """
        return self.at <= call and (self.times is None or call < self.at + self.times)


@dataclass(slots=True)
class _Injected:
    fault: Fault
    calls: int = 0
    """Of its direction, since it was injected."""


class FaultyDrive:
    """A drive with faults. Without any it is the drive behind it.

    The threads of the mover call it, so faults are drawn under a lock; transfers themselves go on side by side.
    """

    def __init__(
        self, *faults: Fault, behind: Drive | None = None, dice: random.Random | None = None
    ) -> None:
        """Put faults on a drive.

        Args:
            faults: Injected from the beginning.
            behind: What the transfers go to; the local drive by default.
            dice: Chooses the bit that flips; seeded with 0 by default.
        """
        self.struck: list[Fault] = []
        """Those that have happened, in order."""
        self._behind = LocalDrive() if behind is None else behind
        self._dice = random.Random(0) if dice is None else dice
        self._lock = threading.Lock()
        self._injected: list[_Injected] = []
        self._is_armed = True
        self.inject(*faults)

    def inject(self, *faults: Fault) -> None:
        """Add faults; each counts its calls from now on."""
        with self._lock:
            self._injected += map(_Injected, faults)

    def mend(self) -> None:
        """Take all faults away."""
        with self._lock:
            self._injected.clear()

    def arm(self) -> None:
        """Let faults happen, which they do unless the drive was disarmed."""
        self._is_armed = True

    def disarm(self) -> None:
        """Let no fault happen, and count no calls, until the drive is armed again."""
        self._is_armed = False

    def write(self, file: int, data: memoryview, *, offset: int) -> int:
        """Write as the drive behind does, or worse."""
        fault = self._next_fault("write")
        if fault is None:
            return self._behind.write(file, data, offset=offset)
        half = max(PAGE_BYTES, len(data) // 2 // PAGE_BYTES * PAGE_BYTES)
        match fault.kind:
            case "slow write":
                time.sleep(fault.seconds)
                return self._behind.write(file, data, offset=offset)
            case "short write":
                return self._behind.write(file, data[:half], offset=offset)
            case "torn write":
                self._behind.write(file, data[:half], offset=offset)
                return len(data)
            case "lost write":
                return len(data)
            case "full disk":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            case _:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    def read(self, file: int, into: memoryview, *, offset: int) -> int:
        """Read as the drive behind does, or worse."""
        fault = self._next_fault("read")
        if fault is None:
            return self._behind.read(file, into, offset=offset)
        match fault.kind:
            case "EIO on read":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            case "short read":
                return self._behind.read(file, into[:PAGE_BYTES], offset=offset)
            case "slow read":
                time.sleep(fault.seconds)
            case "truncated file":
                os.ftruncate(file, 0)
            case _:
                pass
        size = self._behind.read(file, into, offset=offset)
        if fault.kind == "flipped bit":
            into[self._dice.randrange(len(into))] ^= 1 << self._dice.randrange(8)
        return size

    def allocate(self, file: int, *, offset: int, size_bytes: int) -> None:
        """Take room as the drive behind does, or refuse."""
        if self._next_fault("allocate") is not None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._behind.allocate(file, offset=offset, size_bytes=size_bytes)

    def _next_fault(self, call: _Call) -> Fault | None:
        """Count a call, and return the fault that strikes it: the one injected first, if several do."""
        if not self._is_armed:
            return None
        strike: Fault | None = None
        with self._lock:
            for injected in self._injected:
                if _CALL_OF[injected.fault.kind] == call:
                    if strike is None and injected.fault.strikes_at(injected.calls):
                        strike = injected.fault
                    injected.calls += 1
            if strike is not None:
                self.struck.append(strike)
        return strike


@contextmanager
def faults(
    *faults: Fault, folder: str | Path | None = None, dice: random.Random | None = None
) -> Generator[FaultyDrive]:
    """Let every flash file that is opened inside be on a drive with these faults.

    It holds for whatever opens flash: `tmtrain.train`, ``tmtrain machine measure``, a `FlashFile` of your own. A file stays
    on its drive after the block, so faults can be injected and mended at any time.

    Args:
        faults: Injected from the beginning.
        folder: Only the drive behind this folder is faulty; others are what they are.
        dice: As for `FaultyDrive`.

    Yields:
        The drive: all folders share it, and with it the count of calls.

    Example:
        A write that was lost is found when it is read, and the error names the folder.

        >>> import tempfile, mmap
        >>> from tmtrain.runtime.tier.flash import FlashFile
        >>> page = memoryview(mmap.mmap(-1, 4096))
        >>> page[:] = bytes([1]) * len(page)
        >>> with tempfile.TemporaryDirectory(dir=".") as folder:
        ...     with faults(Fault(kind="lost write")) as drive:
        ...         flash = FlashFile(Path(folder), size_bytes=len(page))
        ...     flash.write(page, offset=0)
        ...     flash.read(page, offset=0)
        Traceback (most recent call last):
        tmtrain.errors.FlashError: 4.00 KiB at 0 B of the file in ... are not what was written: ...
        >>> [fault.kind for fault in drive.struck]
        ['lost write']
        >>> flash.close()
    """
    drive = FaultyDrive(*faults, dice=dice)
    chosen = None if folder is None else Path(folder).resolve()

    def behind(where: Path) -> Drive:
        return drive if chosen is None or where.resolve() == chosen else LocalDrive()

    with drives_from(behind):
        yield drive
