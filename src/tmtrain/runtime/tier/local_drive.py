"""A drive as the flash file uses it: three system calls, and the one seam at which somebody may put another drive.

Everything that can go wrong with a drive goes wrong here, below the checksums of `FlashFile`. So `tmtrain.testing.faults`
puts drives here that are slow, full, torn or lying, and nobody has to patch a module.
"""

import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Protocol


class Drive(Protocol):
    """What a `FlashFile` asks of the drive. It may do less than it was asked for, or raise OSError, as the system does."""

    def write(self, file: int, data: memoryview, *, offset: int) -> int:
        """Write the front of `data`, and return how much of it."""
        ...

    def read(self, file: int, into: memoryview, *, offset: int) -> int:
        """Fill the front of `into`, and return how much of it; nothing at the end of the file."""
        ...

    def allocate(self, file: int, *, offset: int, size_bytes: int) -> None:
        """Take room, so that later writes find it."""
        ...


class LocalDrive:
    """The drive itself, by the calls of the system."""

    def write(self, file: int, data: memoryview, *, offset: int) -> int:
        """Write the front of `data`, and return how much of it."""
        return os.pwrite(file, data, offset)

    def read(self, file: int, into: memoryview, *, offset: int) -> int:
        """Fill the front of `into`, and return how much of it; nothing at the end of the file."""
        return os.preadv(file, [into], offset)

    def allocate(self, file: int, *, offset: int, size_bytes: int) -> None:
        """Take room, so that later writes find it."""
        os.posix_fallocate(file, offset, size_bytes)


DriveFactory = Callable[[Path], Drive]
"""Says which drive is behind a folder."""


def _local_drive(folder: Path) -> Drive:  # noqa: ARG001
    return LocalDrive()


_factory: ContextVar[DriveFactory] = ContextVar("tmtrain drives", default=_local_drive)


def drive_behind(folder: Path) -> Drive:
    """Return the drive behind `folder`, which is the real one unless `drives_from` says otherwise."""
    return _factory.get()(folder)


@contextmanager
def drives_from(factory: DriveFactory) -> Generator[None]:
    """Let every flash file that is opened inside, by this thread, be on the drive that `factory` returns for its folder.

    A file stays on the drive that it was opened on.

    >>> opened = []
    >>> with drives_from(lambda folder: opened.append(folder) or LocalDrive()):
    ...     drive = drive_behind(Path("scratch"))
    >>> opened == [Path("scratch")]
    True
    """
    token = _factory.set(factory)
    try:
        yield
    finally:
        _factory.reset(token)
