"""Pages of a live storage: where they are, paging them out and in, and guarding what is out.

Works on any memory that the allocator has handed out: only whole pages inside a storage are ever touched, never its
neighbours or the allocator's own records. Addresses stay the same, so every view of the storage stays valid.

What is paged out is closed to reading and writing: an access that nobody prepared for is a fault that ends the process,
never a page of zeros. What comes back arrives in staging memory and is moved into place as pages, in one call of the
system: whoever looks meanwhile finds the pages closed, or complete, and nothing in between. Measured 2026-11-30 (2 virtual
CPUs, a virtio drive, O_DIRECT, 64 blocks of 1 MiB in turns): out and in again took 0.47 ms of CPU and 1.6 ms a block so,
and 0.47 and 1.6 where the pages were opened first and read into in place.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

PAGE_BYTES = mmap.PAGESIZE

SMALLEST_BYTES = 128 * 1024
"""Of a block of memory that malloc maps by itself, and so of a storage that is moved: smaller ones stay."""

_PROT_NONE, _PROT_READ, _PROT_READ_WRITE = 0, 1, 1 | 2
_PRIVATE_MEMORY = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_MAP_FIXED, _MAP_NORESERVE = 0x10, 0x4000
_MREMAP_MAYMOVE, _MREMAP_FIXED, _MREMAP_DONTUNMAP = 1, 2, 4
_M_MMAP_THRESHOLD = -3
_libc = ctypes.CDLL(None, use_errno=True)
_libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.mmap.restype = _libc.mremap.restype = ctypes.c_void_p
_libc.mmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, *(ctypes.c_int,) * 3, ctypes.c_long)
_libc.mremap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)


Range = tuple[int, int]
"""First byte of a storage, and the one behind the last."""
Ranges = Mapping[int, Sequence[Range]]
"""By the number of the storage; at least one each, in order and apart."""


class Span(NamedTuple):
    """A run of bytes in this process's memory; a tuple, as many are made."""

    address: int
    length: int

    @property
    def end(self) -> int:
        """Address behind it."""
        return self.address + self.length


def interior(span: Span) -> Span:
    """Return the whole pages inside `span`; of length 0 if there are none.

    >>> interior(Span(PAGE_BYTES - 8, 2 * PAGE_BYTES)) == Span(PAGE_BYTES, PAGE_BYTES)
    True
    """
    first = -(-span.address // PAGE_BYTES) * PAGE_BYTES
    end = span.end // PAGE_BYTES * PAGE_BYTES
    return Span(first, max(0, end - first))


def view(span: Span) -> memoryview:
    """Return the bytes of `span` themselves, not a copy; the caller keeps them alive."""
    return memoryview((ctypes.c_char * span.length).from_address(span.address)).cast("B")


class Staging:
    """Memory in which whole pages wait to be moved into place; it holds none before it is filled, and none after that."""

    def __init__(self, size_bytes: int) -> None:
        self._memory = mmap.mmap(-1, size_bytes, flags=_PRIVATE_MEMORY)
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    def view(self, size_bytes: int) -> memoryview:
        """Return the first bytes, to be filled."""
        return memoryview(self._memory)[:size_bytes]

    def move_to(self, span: Span) -> None:
        """Move the first pages over those of `span`, whatever was there: they are open then, and complete."""
        flags = _MREMAP_MAYMOVE | _MREMAP_FIXED | _MREMAP_DONTUNMAP
        _check(
            "mremap",
            _libc.mremap(self._address, span.length, span.length, flags, span.address) == span.address,
        )


def page_out(span: Span) -> None:
    """Return whole pages to the system and close them, in one call: their content is gone, touching them is a fault."""
    flags = _PRIVATE_MEMORY | _MAP_FIXED | _MAP_NORESERVE
    # A new mapping, not only new rights: it is one with its neighbours that are closed, whatever was moved there before.
    _check("mmap", _libc.mmap(span.address, span.length, _PROT_NONE, flags, -1, 0) == span.address)


def page_in(span: Span, staging: Staging) -> None:
    """Let pages that were paged out appear, complete, with what was put into `staging`."""
    staging.move_to(span)


def reopen(span: Span) -> None:
    """Open pages for whoever gets the memory next: what was paged out reads as zeros, what was not is what it was."""
    _protect(span, _PROT_READ_WRITE)


def forbid_writing(span: Span) -> None:
    """Let pages be read only, until `reopen` or `page_out`: what they hold is what they will hold."""
    _protect(span, _PROT_READ)


def keep_large_blocks_apart(threshold_bytes: int = SMALLEST_BYTES) -> None:
    """Ask malloc to map every larger block by itself and to unmap it when it is freed.

    By default glibc keeps freed blocks in its heap, up to a threshold that grows to 32 MiB (mallopt(3), M_MMAP_THRESHOLD).
    That hides most of what a budget saves. Measured 2026-11-23 on a step of GPT-2 small, 4 sequences of 256: paging out
    brought the peak of the resident set from 4476 to 4035 MiB as it was, and from 3941 to 2325 with this threshold.
    Without effect on other allocators.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, threshold_bytes)


def _protect(span: Span, rights: int) -> None:
    _check("mprotect", not span.length or not _libc.mprotect(span.address, span.length, rights))


def _check(name: str, has_worked: bool) -> None:
    if has_worked:
        return
    code = ctypes.get_errno()
    if code == errno.ENOMEM:  # pages of another protection are another mapping, and their number is limited
        raise OSError(code, f"{name}: too many separate mappings of memory; see /proc/sys/vm/max_map_count")
    raise OSError(code, f"{name}: {os.strerror(code)}")
