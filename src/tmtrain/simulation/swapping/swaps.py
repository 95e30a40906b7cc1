"""Timeline x Result -> Swaps: what one steady step asks of the flash, with a flash address for every byte.

Note [Flash addresses]
    Of an extent the front leaves and comes back (prefix rule), so chunks of one copy follow one another from the extent's
    first byte on: a copy on flash is the front of an extent. Every extent that ever leaves has addresses of its own, one
    extent behind the other. An allocator that let extents share them, as they are not all out at once, would need less.
    So `Swaps.space_bytes` is what a runtime without one needs.

Note [Deaths]
    A copy is of use until it is fetched for the last time: what is in fast memory then will be changed, or is dead. Whoever
    knows the step (plans do, and allocators see it when memory is freed) discards it there and then; a pager that knows
    nothing (`Knowledge.NEVER`) only ever overwrites. Parts of a copy that are fetched for the last time earlier than the
    rest are discarded with it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.simulation.result import Result, Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Copies:
    """One row per content of an extent that lies on flash for some time; an extent may have several in turn."""

    extent: NDArray[np.int32]
    first_byte: NDArray[np.int64]
    """Its flash address."""
    bytes: NDArray[np.int64]
    write_bytes: NDArray[np.int64]
    """Written per step; 0: it is only read."""
    born_s: NDArray[np.float64]
    """When its first byte is written, from the start of the step; nan: never."""
    dies_s: NDArray[np.float64]
    """When it has been fetched for the last time: in the step that wrote it, or in the next one; nan: overwritten unread,
    or never dead, as more is fetched than is written."""
    is_there_at_start: NDArray[np.bool_]
    """Fetched in a step before it is written, or more than is written (a pager that alternates)."""

    def __len__(self) -> int:
        return len(self.extent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swaps:
    """One steady step; a row is a chunk on the link, in order of its start."""

    step_s: float
    start_s: NDArray[np.float64]
    """Negative: in the step before."""
    end_s: NDArray[np.float64]
    """When it was done, at the rates of the machine file."""
    is_write: NDArray[np.bool_]
    first_byte: NDArray[np.int64]
    """A flash address."""
    bytes: NDArray[np.int64]
    copy: NDArray[np.int32]
    """Row of `copies`."""
    copies: Copies
    space_bytes: int
    """Of all flash addresses."""
    peak_bytes: int
    """Most that is of use at once."""
    discards: bool
    """Somebody knows when a copy is dead."""

    def __len__(self) -> int:
        return len(self.start_s)

    @property
    def write_bytes(self) -> int:
        """Written per step."""
        return int(self.bytes[self.is_write].sum())

    @property
    def read_bytes(self) -> int:
        """Read per step."""
        return int(self.bytes[~self.is_write].sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Last:
    """Of each chunk, the last event of its extent that had happened when it began."""

    event: NDArray[np.int64]
    """Numbers grow with time; -1: the extent has none."""
    wraps: NDArray[np.bool_]
    """It was in the step before."""


def swaps_of(timeline: Timeline, result: Result, *, discards: bool = True) -> Swaps:
    """Find out what the steady step of `result` asks of the flash.

    Args:
        timeline: The step that was simulated (`Decision.timeline`).
        result: Of `simulate`.
        discards: Whether somebody knows when copies are dead: Note [Deaths].
    """
    traffic = _in_order(result.traffic)
    writing = timeline.accesses.writes
    version = _last_access(timeline, result, traffic, among=writing)
    touch = _last_access(timeline, result, traffic, among=np.ones_like(writing))
    within = np.where(
        traffic.is_write,
        _followed(traffic, version, is_write=True),
        _followed(traffic, touch, is_write=False),
    )
    keys, copy = np.unique(np.stack([traffic.extent, version.event]), axis=1, return_inverse=True)
    copies = _copies(traffic, version, within, copy, keys[0], step_s=result.shown_s)
    first_byte = copies.first_byte[copy] + within
    return Swaps(
        step_s=result.shown_s,
        start_s=traffic.start_s,
        end_s=traffic.end_s,
        is_write=traffic.is_write,
        first_byte=first_byte,
        bytes=traffic.bytes,
        copy=copy.astype(np.int32),
        copies=copies,
        space_bytes=int((copies.first_byte + copies.bytes).max(initial=0)),
        peak_bytes=_peak(copies, step_s=result.shown_s),
        discards=discards,
    )


def _in_order(traffic: Traffic) -> Traffic:
    order = np.argsort(traffic.start_s, kind="stable")
    return Traffic(**{name: getattr(traffic, name)[order] for name in Traffic.__slots__})


def _last_access(timeline: Timeline, result: Result, traffic: Traffic, *, among: NDArray[np.bool_]) -> _Last:
    """Find the last of some accesses of each chunk's extent; at its end content is final, and may leave."""
    slices = np.repeat(np.arange(len(timeline.slices)), np.diff(timeline.accesses.ptr))[among]
    extent = timeline.accesses.extent[among].astype(np.int64)
    ends = result.series.end_s[slices]
    times = np.unique(np.concatenate([ends, traffic.start_s]))
    # One key for (extent, time), so that a search in it finds the last access of an extent before a time.
    key = extent * len(times) + np.searchsorted(times, ends)
    order = np.argsort(key, kind="stable")
    key, extent = key[order], extent[order]
    begun = traffic.extent * np.int64(len(times)) + np.searchsorted(times, traffic.start_s)
    before = np.searchsorted(key, begun, side="right") - 1
    last = np.searchsorted(extent, traffic.extent, side="right") - 1
    wraps = ~_is_of(extent, before, traffic.extent)
    event = np.where(wraps, last, before)
    return _Last(event=np.where(_is_of(extent, event, traffic.extent), event, -1), wraps=wraps)


def _is_of(extent: NDArray[np.int64], row: NDArray[np.int64], wanted: NDArray[np.int32]) -> NDArray[np.bool_]:
    if not len(extent):
        return np.zeros(len(row), bool)
    return (row >= 0) & (extent[np.maximum(row, 0)] == wanted)


def _followed(traffic: Traffic, last: _Last, *, is_write: bool) -> NDArray[np.int64]:
    """Return how many bytes of its extent went the same way before each chunk, since the last event."""
    rows = np.flatnonzero(traffic.is_write == is_write)
    rows = rows[np.lexsort((last.wraps[rows], last.event[rows], traffic.extent[rows]))]
    size = traffic.bytes[rows]
    before = np.cumsum(size) - size
    same = (np.diff(traffic.extent[rows]) == 0) & (np.diff(last.event[rows]) == 0)
    first = np.maximum.accumulate(np.where(np.append(False, same), 0, np.arange(len(rows))))
    followed = np.zeros(len(traffic.bytes), np.int64)
    followed[rows] = before - before[first]
    return followed


def _copies(
    traffic: Traffic,
    version: _Last,
    within: NDArray[np.int64],
    copy: NDArray[np.intp],
    extent: NDArray[np.int64],
    *,
    step_s: float,
) -> Copies:
    n = len(extent)
    written, fetched = np.zeros(n, np.int64), np.zeros(n, np.int64)
    born, dies, early = np.full(n, np.inf), np.full(n, -np.inf), np.zeros(n, bool)
    write, read = traffic.is_write, ~traffic.is_write
    np.maximum.at(written, copy[write], (within + traffic.bytes)[write])
    np.maximum.at(fetched, copy[read], (within + traffic.bytes)[read])
    size, lasts = np.maximum(written, fetched), fetched > written
    np.minimum.at(born, copy[write], (traffic.start_s + version.wraps * step_s)[write])
    np.maximum.at(dies, copy[read], (traffic.end_s + version.wraps * step_s)[read])
    early[copy[read & (version.wraps | (version.event < 0))]] = True
    sizes = np.zeros(int(extent.max(initial=-1)) + 2, np.int64)
    np.maximum.at(sizes, extent + 1, size)
    return Copies(
        extent=extent.astype(np.int32),
        first_byte=np.cumsum(sizes)[extent],
        bytes=size,
        write_bytes=written,
        born_s=np.where(np.isinf(born), np.nan, born),
        dies_s=np.where(np.isinf(dies) | lasts, np.nan, dies),
        is_there_at_start=early | lasts,
    )


def _peak(copies: Copies, *, step_s: float) -> int:
    """Return the most bytes of copies that live at once in the cyclic step; unread ones live all the time."""
    lives = ~np.isnan(copies.dies_s)
    size, born, dies = copies.bytes[lives], copies.born_s[lives], copies.dies_s[lives]
    whole = np.floor((dies - born) / step_s)
    begin, end = born % step_s, dies % step_s
    # A copy that lives longer than a step has one copy of itself alive all the time for each whole step.
    always = int(copies.bytes[~lives].sum()) + int((size * whole).sum()) + int(size[end < begin].sum())
    times = np.concatenate([begin, end])
    # At equal times what dies goes first: its addresses are free by then.
    change = np.concatenate([size, -size])[np.lexsort((np.repeat([1, 0], len(size)), times))]
    return always + int(np.cumsum(change).max(initial=0))
