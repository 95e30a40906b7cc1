"""The flash tier: one private file, preallocated, read and written past the page cache, checked on every read.

Law 5: it is a cache, not a checkpoint. The file has no name (or loses it at once), so nothing is left when the process
ends, however it ends, and no other process can come upon it.
"""

import errno
import os
from pathlib import Path
from typing import Protocol

import xxhash

from tmtrain.errors import FlashError, InputError
from tmtrain.runtime.tier.pages import PAGE_BYTES
from tmtrain.units import format_bytes

_TMPFS = {"tmpfs", "ramfs"}


class Flash(Protocol):
    """Where blocks go: a `FlashFile`, or several of them."""

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

    def close(self) -> None:
        """Give the room back."""
        ...


class FlashFile:
    """So many bytes of a drive. Offsets and sizes are whole pages, buffers are aligned to pages."""

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
        """Length and digest of what was written last, by offset."""
        _refuse_memory(folder)
        check_room(folder, size_bytes)
        self._file = _open_unnamed(folder)
        try:
            os.posix_fallocate(self._file, 0, size_bytes)
        except OSError as error:  # someone else was faster
            os.close(self._file)
            raise InputError(
                f"cannot reserve {format_bytes(size_bytes)} in {folder}: {error.strerror}"
            ) from error

    def grow(self, size_bytes: int) -> None:
        """Take more room on the drive, a little more than asked for, so that it need not be asked again soon.

        Raises:
            FlashError: the drive has no such room.
        """
        have, last = self.size_bytes, None
        for wanted in (max(size_bytes, have + have // 4 // PAGE_BYTES * PAGE_BYTES), size_bytes):
            try:
                os.posix_fallocate(self._file, have, wanted - have)
            except OSError as error:
                last = error
            else:
                self.size_bytes = wanted
                return
        raise FlashError(
            f"{self.folder} has no room for {format_bytes(size_bytes)}, {format_bytes(have)} are taken "
            f"({last and last.strerror}): choose another drive, or give more fast memory",
            folder=self.folder,
            size_bytes=size_bytes,
            errno=last.errno if last else None,
        ) from last

    def write(self, data: memoryview, *, offset: int) -> None:
        """Write all of `data`.

        Raises:
            FlashError: the drive refuses, whatever the reason.
        """
        digest = xxhash.xxh3_64_intdigest(data)
        done = 0
        while done < len(data):
            done += self._checked("write", offset + done, len(data) - done, data[done:])
        self._checksums[offset] = len(data), digest

    def read(self, into: memoryview, *, offset: int) -> None:
        """Fill `into` with what was written at `offset`, the same length.

        Raises:
            FlashError: the drive refuses, the file is shorter, or the bytes are not those that were written.
        """
        done = 0
        while done < len(into):
            got = self._checked("read", offset + done, len(into) - done, into[done:])
            if not got:
                raise FlashError(
                    f"the file in {self.folder} ends at {format_bytes(offset + done)}: someone has truncated it; "
                    f"training cannot go on from here, restart from the last checkpoint",
                    folder=self.folder,
                    size_bytes=len(into),
                    offset_bytes=offset + done,
                )
            done += got
        if self._checksums.get(offset) != (len(into), xxhash.xxh3_64_intdigest(into)):
            raise FlashError(
                f"{format_bytes(len(into))} at {format_bytes(offset)} of the file in {self.folder} are not what was "
                f"written: the drive or its cable is damaged; restart from the last checkpoint on another drive",
                folder=self.folder,
                size_bytes=len(into),
                offset_bytes=offset,
            )

    def close(self) -> None:
        """Give the room back; a second time does nothing."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _checked(self, verb: str, offset: int, wanted: int, data: memoryview) -> int:
        try:
            if verb == "write":
                return os.pwrite(self._file, data, offset)
            return os.preadv(self._file, [data], offset)
        except OSError as error:
            raise FlashError(
                f"cannot {verb} {format_bytes(wanted)} at {format_bytes(offset)} of the file in {self.folder}: "
                f"{os.strerror(error.errno or 0)}",
                folder=self.folder,
                size_bytes=wanted,
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
        if error.errno not in (errno.EOPNOTSUPP, errno.EISDIR):
            raise InputError(_unusable(folder, error)) from error
    named = folder / f".tmtrain-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        file = os.open(named, flags | os.O_CREAT | os.O_EXCL, 0o600)
        named.unlink()
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
    place, kind = Path("/"), ""
    try:
        target = folder.resolve(strict=True)
    except OSError as error:
        raise InputError(f"no such folder: {folder}") from error
    for line in Path("/proc/self/mounts").read_text().splitlines():
        mount, found = Path(line.split()[1].encode().decode("unicode_escape")), line.split()[2]
        if target.is_relative_to(mount) and len(mount.parts) >= len(place.parts):
            place, kind = mount, found
    if kind in _TMPFS:
        raise InputError(f"{folder} is on {kind}, which is memory itself: choose a folder on a drive")
