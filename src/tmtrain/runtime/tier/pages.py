"""Pages of a live storage: where they are, giving them back to the system, and guarding what is out.

Works on any memory that the allocator has handed out: only whole pages inside a storage are ever touched, never its
neighbours or the allocator's own records. Addresses stay the same, so every view of the storage stays valid.

What is out is closed to reading and writing: an access that nobody prepared for is a fault that ends the process, never a
page of zeros.
"""

import ctypes
import errno
import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass

PAGE_BYTES = mmap.PAGESIZE

SMALLEST_BYTES = 128 * 1024
"""Of a block of memory that malloc maps by itself, and so of a storage that is moved: smaller ones stay."""

_PROT_NONE, _PROT_READ_WRITE = 0, 1 | 2
_MADV_DONTNEED = 4
_M_MMAP_THRESHOLD = -3
_libc = ctypes.CDLL(None, use_errno=True)
for _name in ("madvise", "mprotect"):
    getattr(_libc, _name).argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


Range = tuple[int, int]
"""First byte of a storage, and the one behind the last."""
Ranges = Mapping[int, Range]
"""By the number of the storage."""


@dataclass(frozen=True, slots=True)
class Span:
    """A run of bytes in this process's memory."""

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


def page_out(span: Span) -> None:
    """Return whole pages to the system and close them: their content is gone, touching them is a fault."""
    _call("mprotect", span, _PROT_NONE)
    _call("madvise", span, _MADV_DONTNEED)


def page_in(span: Span) -> None:
    """Let pages that were given back be filled again."""
    _call("mprotect", span, _PROT_READ_WRITE)


def keep_large_blocks_apart(threshold_bytes: int = SMALLEST_BYTES) -> None:
    """Ask malloc to map every larger block by itself and to unmap it when it is freed.

    By default glibc keeps freed blocks of up to 32 MiB in its heap, which hides most of what a budget saves
    (feasibility.md, B2). Without effect on other allocators.
    """
    if hasattr(_libc, "mallopt"):
        _libc.mallopt(_M_MMAP_THRESHOLD, threshold_bytes)


def _call(name: str, span: Span, argument: int) -> None:
    if span.length and getattr(_libc, name)(span.address, span.length, argument):
        code = ctypes.get_errno()
        if code == errno.ENOMEM:
            raise OSError(code, f"{name}: too many separate pieces of memory; see /proc/sys/vm/max_map_count")
        raise OSError(code, f"{name}: {os.strerror(code)}")
