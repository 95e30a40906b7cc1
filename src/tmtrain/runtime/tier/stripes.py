"""The flash tier over several drives: its room is dealt out in turns, a block to each, as in RAID 0.

What is moved at a time goes to all drives alike, so together they are as fast as the slowest of them times their number.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from tmtrain.runtime.tier.flash import Flash, FlashFile, check_room
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES

STRIPE_BYTES = BLOCK_BYTES
"""Dealt out at a time: less would cut blocks into more parts. Blocks begin at any page, so most lie on two drives."""


class Stripes:
    """A `FlashFile` on each drive, in turns; each has its own checksums, and its errors name its folder.

    Known limitation: nobody checks whether folders are on drives of their own, for the system does not say it reliably
    (partitions, logical volumes). Two folders of one drive are correct, and no faster than one; the rates that are measured
    show it, and plans are made by them.
    """

    def __init__(self, folders: Sequence[Path], *, size_bytes: int) -> None:
        """Take each drive's share of the room, or none; arguments and errors as of `FlashFile`."""
        self._files: list[FlashFile] = []
        try:
            for folder in folders:
                self._files.append(FlashFile(folder, size_bytes=share_bytes(size_bytes, drives=len(folders))))
        except BaseException:
            self.close()
            raise
        self.size_bytes = self._size_bytes()

    def grow(self, size_bytes: int) -> None:
        """Take more room on every drive that lacks it; what one has got before another refuses is there for the next time.

        Raises:
            FlashError: a drive has no such room.
        """
        share = share_bytes(size_bytes, drives=len(self._files))
        for file in self._files:
            if file.size_bytes < share:
                file.grow(share)
        self.size_bytes = self._size_bytes()

    def write(self, data: memoryview, *, offset: int) -> None:
        """Write all of `data`, each drive's part on it; errors as of `FlashFile`."""
        for file, part, file_offset in self._parts(data, offset):
            file.write(part, offset=file_offset)

    def read(self, into: memoryview, *, offset: int) -> None:
        """Fill `into` with what was written at `offset`, the same length; errors as of `FlashFile`."""
        for file, part, file_offset in self._parts(into, offset):
            file.read(part, offset=file_offset)

    def holds(self, data: memoryview, *, offset: int) -> bool:
        """Return whether `data` is what was written at `offset`, as far as digests tell."""
        return all(file.holds(part, offset=at) for file, part, at in self._parts(data, offset))

    def close(self) -> None:
        """Release the room; a second time does nothing."""
        for file in self._files:
            file.close()

    def _size_bytes(self) -> int:
        smallest = min(file.size_bytes for file in self._files)
        return len(self._files) * (smallest // STRIPE_BYTES * STRIPE_BYTES)

    def _parts(self, data: memoryview, offset: int) -> Iterator[tuple[FlashFile, memoryview, int]]:
        """Yield the file of each part, the part, and its offset there."""
        at = 0
        while at < len(data):
            stripe, within = divmod(offset + at, STRIPE_BYTES)
            row, drive = divmod(stripe, len(self._files))
            size = min(STRIPE_BYTES - within, len(data) - at)
            yield self._files[drive], data[at : at + size], row * STRIPE_BYTES + within
            at += size


def open_flash(folders: Sequence[Path], *, size_bytes: int) -> Flash:
    """Take room in these folders: of several drives in turns, of one as it is; arguments and errors as of `FlashFile`.

    Training and measurement open flash here and nowhere else. To put another drive behind a folder, wrap the call in
    `tmtrain.testing.faults`, or in `tmtrain.runtime.tier.local_drive.drives_from`.
    """
    if len(folders) == 1:
        return FlashFile(folders[0], size_bytes=size_bytes)
    return Stripes(folders, size_bytes=size_bytes)


def share_bytes(size_bytes: int, *, drives: int) -> int:
    """Return what each drive holds of so many bytes: whole stripes.

    >>> share_bytes(5 * STRIPE_BYTES, drives=2) // STRIPE_BYTES
    3
    """
    return -(-size_bytes // (drives * STRIPE_BYTES)) * STRIPE_BYTES


def check_rooms(folders: Sequence[Path], size_bytes: int) -> None:
    """Refuse drives that have less room than their share of so many bytes; errors as `check_room`."""
    share, file_systems = share_bytes(size_bytes, drives=len(folders)), _file_systems(folders)
    for folder, file_system in zip(folders, file_systems, strict=True):
        check_room(folder, share * file_systems.count(file_system))


def capacity_bytes(folders: Sequence[Path]) -> int:
    """Return what the file systems behind these folders could hold in equal shares, if they were empty."""
    file_systems = _file_systems(folders)
    states = [os.statvfs(folder) for folder in folders]
    return len(folders) * min(
        state.f_blocks * state.f_frsize // file_systems.count(file_system)
        for state, file_system in zip(states, file_systems, strict=True)
    )


def _file_systems(folders: Sequence[Path]) -> list[int]:
    return [folder.stat().st_dev for folder in folders]
