"""The flash tier: one private file, preallocated, read and written past the page cache, checked on every read.

Law 5: it is a cache, not a checkpoint. The file has no name (or loses it at once), so nothing is left when the process
ends, however it ends, and no other process can come upon it.
"""

import errno
import os
from pathlib import Path
from typing import Literal, Protocol

import xxhash

from tmtrain.errors import FlashError, InputError
from tmtrain.runtime.tier.local_drive import drive_behind
from tmtrain.runtime.tier.pages import PAGE_BYTES
from tmtrain.units import format_bytes

_TMPFS = {"tmpfs", "ramfs"}
"""File systems whose files are memory."""


class Flash(Protocol):
    """Where blocks go: a `FlashFile`, or several of them (`tmtrain.runtime.tier.stripes.open_flash` chooses)."""

    @property
    def size_bytes(self) -> int:
        """Taken so far."""
        ...

    def grow(self, size_bytes: int) -> None:
        """Take more room, at least so much in all."""
        ...

    def write(self, data: memoryview, *, offset: int) -> None:
        """Write all of `data`."""
        ...

    def read(self, into: memoryview, *, offset: int) -> None:
        """Fill `into` with what was written at `offset`, the same length."""
        ...

    def holds(self, data: memoryview, *, offset: int) -> bool:
        """Return whether `data` is what was written at `offset`."""
        ...

    def close(self) -> None:
        """Release the room."""
        ...


class FlashFile:
    """So many bytes of a drive. Offsets and sizes are whole pages, buffers are aligned to pages: O_DIRECT wants it so.

    The threads of the mover call `read` and `write`, the training thread all else.
    """

    def __init__(self, folder: Path, *, size_bytes: int) -> None:
        """Take the room on the drive.

        Args:
            folder: Where the drive is mounted.
            size_bytes: Whole pages.

        Raises:
            InputError: no such folder, not writable, in memory itself, without direct access, or too full.
        """
        self.folder = folder
        self.size_bytes = size_bytes
        self._checksums: dict[int, tuple[int, int]] = {}
        """Length and digest of what was written last, by offset. In memory, so no drive can make them fit."""
        _refuse_memory(folder)
        check_room(folder, size_bytes)
        self._drive = drive_behind(folder)
        self._file = _open_unnamed(folder)
        try:
            self._drive.allocate(self._file, offset=0, size_bytes=size_bytes)
        except OSError as error:  # someone else was faster
            os.close(self._file)
            raise InputError(
                f"cannot reserve {format_bytes(size_bytes)} in {folder}: {error.strerror}"
            ) from error

    def grow(self, size_bytes: int) -> None:
        """Take more room on the drive, a quarter more than there is if it can be had, so that it is not asked again soon.

        Raises:
            FlashError: the drive has no such room.
        """
        have, refusal = self.size_bytes, None
        generous = have + have // 4 // PAGE_BYTES * PAGE_BYTES
        for wanted in (max(size_bytes, generous), size_bytes):
            try:
                self._drive.allocate(self._file, offset=have, size_bytes=wanted - have)
            except OSError as error:
                refusal = error
            else:
                self.size_bytes = wanted
                return
        raise FlashError(
            f"{self.folder} has no room for {format_bytes(size_bytes)}, {format_bytes(have)} are taken "
            f"({refusal and refusal.strerror}): choose another drive, or give more fast memory",
            folder=self.folder,
            size_bytes=size_bytes,
            errno=refusal.errno if refusal else None,
        ) from refusal

    def write(self, data: memoryview, *, offset: int) -> None:
        """Write all of `data`.

        Raises:
            FlashError: the drive refuses, whatever the reason.
        """
        digest = xxhash.xxh3_64_intdigest(data)
        done = 0
        while done < len(data):
            done += self._transfer("write", data[done:], offset=offset + done)
        self._checksums[offset] = (
            len(data),
            digest,
        )  # last: what a failed write left does not match the old one

    def read(self, into: memoryview, *, offset: int) -> None:
        """Fill `into` with what was written at `offset`, the same length.

        Raises:
            FlashError: the drive refuses, the file is shorter, or the bytes are not those that were written.
        """
        done = 0
        while done < len(into):
            size = self._transfer("read", into[done:], offset=offset + done)
            if not size:
                raise FlashError(
                    f"the file in {self.folder} ends at {format_bytes(offset + done)}: someone has truncated it; "
                    f"training cannot go on from here, restart from the last checkpoint",
                    folder=self.folder,
                    size_bytes=len(into),
                    offset_bytes=offset + done,
                )
            done += size
        if not self.holds(into, offset=offset):
            raise FlashError(
                f"{format_bytes(len(into))} at {format_bytes(offset)} of the file in {self.folder} are not what was "
                f"written: the drive or its cable is damaged; restart from the last checkpoint on another drive",
                folder=self.folder,
                size_bytes=len(into),
                offset_bytes=offset,
            )

    def holds(self, data: memoryview, *, offset: int) -> bool:
        """Return whether `data` is what was written at `offset`; nothing is read, digests are compared."""
        return self._checksums.get(offset) == (len(data), xxhash.xxh3_64_intdigest(data))

    def close(self) -> None:
        """Release the room; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _transfer(self, direction: Literal["read", "write"], data: memoryview, *, offset: int) -> int:
        """Return how much of `data` was moved in one call: the system may do less than it is asked for."""
        try:
            if direction == "write":
                return self._drive.write(self._file, data, offset=offset)
            return self._drive.read(self._file, data, offset=offset)
        except OSError as error:
            raise FlashError(
                f"cannot {direction} {format_bytes(len(data))} at {format_bytes(offset)} of the file in {self.folder}: "
                f"{os.strerror(error.errno or 0)}",
                folder=self.folder,
                size_bytes=len(data),
                offset_bytes=offset,
                errno=error.errno,
            ) from error


def check_room(folder: Path, size_bytes: int) -> None:
    """Refuse a drive that has less room.

    Raises:
        InputError: there is not enough; says how much there is.
    """
    state = os.statvfs(folder)
    have = state.f_bavail * state.f_frsize
    if have < size_bytes:
        raise InputError(
            f"{folder} has {format_bytes(have)} free, the plan needs {format_bytes(size_bytes)}: choose another drive"
        )


def _open_unnamed(folder: Path) -> int:
    flags = os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC
    try:
        return os.open(folder, flags | os.O_TMPFILE, 0o600)
    except OSError as error:
        # File systems without O_TMPFILE say the first, kernels that do not know it the second.
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise InputError(_unusable(folder, error)) from error
    named = folder / f".tmtrain-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        file = os.open(named, flags | os.O_CREAT | os.O_EXCL, 0o600)
        named.unlink()  # the file lives as long as it is open
    except OSError as error:
        named.unlink(missing_ok=True)
        raise InputError(_unusable(folder, error)) from error
    return file


def _unusable(folder: Path, error: OSError) -> str:
    if error.errno == errno.EINVAL:
        return (
            f"{folder} has no direct access (O_DIRECT): choose a folder on a local drive (ext4, xfs, btrfs)"
        )
    return f"cannot make a file in {folder}: {error.strerror}; choose a folder on a local drive that you may write to"


def _refuse_memory(folder: Path) -> None:
    """Refuse a file system that lives in memory: what is moved there would stay in memory."""
    try:
        target = folder.resolve(strict=True)
    except OSError as error:
        raise InputError(f"no such folder: {folder}") from error
    nearest, kind = Path("/"), ""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount_text, file_system, *_ = line.split()
        mount = Path(mount_text.encode().decode("unicode_escape"))  # blanks stand there as \040
        if target.is_relative_to(mount) and len(mount.parts) >= len(
            nearest.parts
        ):  # of two on one path, the later holds
            nearest, kind = mount, file_system
    if kind in _TMPFS:
        raise InputError(f"{folder} is on {kind}, which is memory itself: choose a folder on a drive")
