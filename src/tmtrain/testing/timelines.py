"""Timelines from a few words, without the code that lowers a trace: a test against it is no test of itself.

A slice is a text of ``EXTENT:HOW`` words. HOW says what the slice does to the extent:

=======  ==================================================================================
``r``    reads what is there
``rw``   reads what is there and writes
``w``    overwrites all of it; what was there is of no use any more
``new``  is the first to touch it after its birth: like ``w``, nothing was there
=======  ==================================================================================

The rows of a slice stand in the order of the extents, as `lower` leaves them.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from tmtrain.errors import InputError
from tmtrain.lowering.timeline import Accesses, Extents, Frees, Slices, Timeline
from tmtrain.trace import Phase, Role

NEEDS = {"r": True, "rw": True, "w": False, "new": False}
"""What an access needs: that the content is there."""
WRITES = {"r": False, "rw": True, "w": True, "new": True}
"""What it leaves changed."""


def make_timeline(
    slices: Sequence[str],
    *,
    pages: Mapping[str, int],
    fast_pages: int,
    frees: Mapping[int, str] | None = None,
    duration_s: Sequence[float] | None = None,
    roles: Mapping[str, Role] | None = None,
    persistent: str | None = None,
    page_bytes: int = 4096,
    machine: str = "toy",
) -> Timeline:
    """Build a Timeline; every derived column (next access, pointers, persistence) is worked out here, naively.

    Args:
        slices: What each slice touches.
        pages: Size of each extent. ``"w/0", "w/1"`` are extents of one storage ``w``, one behind the other.
        fast_pages: Capacity of the fast tier.
        frees: Slice -> the extents that the framework frees after it.
        duration_s: Seconds of each slice; 1 second by default.
        roles: Role of each extent; `Role.ACTIVATION` by default.
        persistent: The extents whose content survives the end of the step; by default those whose first access
            needs content.
        page_bytes: Size of a page.
        machine: Name of the machine.

    Raises:
        InputError: a word that is no access.

    >>> timeline = make_timeline(["a:new w:r", "b:new a:r", "b:r w:rw"], pages={"a": 2, "b": 1, "w": 3}, fast_pages=5)
    >>> timeline.accesses.next_slice.tolist()
    [1, 2, -1, 2, -1, 0]
    """
    names = list(pages)
    touched = [[_parse(word, names) for word in text.split()] for text in slices]
    first_access = {e: NEEDS[how] for accesses in reversed(touched) for e, how in accesses}
    survives = {e for e, needs in first_access.items() if needs}
    if persistent is not None:
        survives = {names.index(name) for name in persistent.split()}
    seconds = [1.0] * len(slices) if duration_s is None else duration_s
    freed = [[names.index(name) for name in (frees or {}).get(t, "").split()] for t in range(len(slices))]
    return Timeline(
        trace_fingerprint="0" * 64,
        machine=machine,
        machine_fingerprint="1" * 64,
        page_bytes=page_bytes,
        fast_bytes=fast_pages * page_bytes,
        footprint_bytes=sum(pages.values()) * page_bytes,
        samples=1,
        operator_names=tuple(f"aten.slice{t}.default" for t in range(len(slices))),
        slices=_slices(seconds),
        extents=_extents(pages, roles or {}, survives),
        accesses=_accesses(touched),
        frees=Frees(ptr=_pointers(freed), extent=np.array([e for row in freed for e in row], np.int32)),
    )


def _parse(word: str, names: list[str]) -> tuple[int, str]:
    name, _, how = word.rpartition(":")
    if how not in NEEDS or name not in names:
        raise InputError(f"{word!r}: write EXTENT:HOW, an extent of `pages` and one of {', '.join(NEEDS)}")
    return names.index(name), how


def _slices(seconds: Sequence[float]) -> Slices:
    zeros = np.zeros(len(seconds))
    return Slices(
        op=np.arange(len(seconds), dtype=np.int32),
        phase=np.full(len(seconds), Phase.FORWARD, np.int8),
        duration_s=np.array(seconds, np.float64),
        matrix_flops=zeros,
        vector_ops=zeros,
        fast_bytes=zeros,
        sram_bytes=zeros,
    )


def _extents(pages: Mapping[str, int], roles: Mapping[str, Role], survives: set[int]) -> Extents:
    storages = [name.split("/")[0] for name in pages]
    number = {name: i for i, name in enumerate(dict.fromkeys(storages))}
    length = dict.fromkeys(number, 0)
    first: list[int] = []
    for storage, size in zip(storages, pages.values(), strict=True):
        first.append(length[storage])
        length[storage] += size
    return Extents(
        storage=np.array([number[name] for name in storages], np.int32),
        first_page=np.array(first, np.int64),
        pages=np.array(list(pages.values()), np.int64),
        role=np.array([roles.get(name, Role.ACTIVATION) for name in pages], np.int8),
        persistent=np.array([e in survives for e in range(len(pages))]),
    )


def _accesses(touched: list[list[tuple[int, str]]]) -> Accesses:
    rows = [(t, e, how) for t, accesses in enumerate(touched) for e, how in sorted(accesses)]
    return Accesses(
        ptr=_pointers(touched),
        extent=np.array([e for _, e, _ in rows], np.int32),
        needs_content=np.array([NEEDS[how] for _, _, how in rows], bool),
        writes=np.array([WRITES[how] for _, _, how in rows], bool),
        next_slice=np.array([next_use(touched_needs(touched), t, e) for t, e, _ in rows], np.int32),
    )


def touched_needs(touched: list[list[tuple[int, str]]]) -> list[dict[int, bool]]:
    """Per slice: extent -> whether the access needs its content."""
    return [{e: NEEDS[how] for e, how in accesses} for accesses in touched]


def next_use(needs: Sequence[Mapping[int, bool]], slice_: int, extent: int) -> int:
    """Walk on from `slice_`, round the end of the step, to the next slice that touches `extent`.

    Returns:
        That slice, or -1 if it has no use for what the extent holds.
    """
    for ahead in range(1, len(needs) + 1):
        t = (slice_ + ahead) % len(needs)
        if extent in needs[t]:
            return t if needs[t][extent] else -1
    raise AssertionError(f"slice {slice_} does not touch extent {extent}")


def _pointers(rows: Sequence[Sequence[object]]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
