"""Swaps -> Workload: the requests of many steps, in whole pages of a device."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.ragged import lay_flat
from tmtrain.simulation.flash import FlashDevice, RequestKind, Requests, estimate_flash
from tmtrain.simulation.swapping.swaps import Swaps
from tmtrain.units import format_bytes

AT_START = -1
"""Step of what is written before the first one."""
_LARGEST_PAGES = {RequestKind.READ: 16, RequestKind.WRITE: 16, RequestKind.DISCARD: 4096}
"""Of a request. A chunk of the link is asked for bit by bit, at the pace at which the link is to carry it."""
_HEAD_START = 1.25
"""So many times longer than it should take, the writes at the start have the device for themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Requests of many steps, and two columns more."""

    requests: Requests
    step: NDArray[np.int32]
    """That a request is of; `AT_START` before the first."""
    promised_s: NDArray[np.float64]
    """When it would be done at the rates of the machine file; nan: not on the link there."""
    start_s: float
    """When the first step begins."""
    period_s: float
    """From one step to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """Parts of copies, of one kind of request, in bytes that are not yet pages."""

    kind: RequestKind
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    is_promised: bool
    """Whether they are to be done by then."""
    first_byte: NDArray[np.int64]
    bytes: NDArray[np.int64]
    group: NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class _PageRequests:
    """Columns of requests, in pages."""

    time_s: NDArray[np.float64]
    promised_s: NDArray[np.float64]
    kind: NDArray[np.int8]
    first_page: NDArray[np.int64]
    pages: NDArray[np.int64]
    group: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.time_s)

    def take(self, rows: NDArray[np.intp], *, later_s: float | NDArray[np.float64] = 0.0) -> "_PageRequests":
        """Return some rows, put off."""
        return _PageRequests(
            time_s=self.time_s[rows] + later_s,
            promised_s=self.promised_s[rows] + later_s,
            kind=self.kind[rows],
            first_page=self.first_page[rows],
            pages=self.pages[rows],
            group=self.group[rows],
        )

    def in_bytes(self, page: int) -> Requests:
        """Return them as a device of pages of that size takes them."""
        return Requests(
            arrival_s=self.time_s,
            kind=self.kind,
            first_byte=self.first_page * page,
            size_bytes=self.pages * page,
            group=self.group,
        )


def make_workload(
    swaps: Swaps, device: FlashDevice, *, steps: int, groups: NDArray[np.int32], scale: float = 1.0
) -> Workload:
    """Repeat a step on a device.

    What a step finds on flash is written first. Parts are rounded to whole pages at both ends alike, so that neighbours
    neither overlap nor leave pages out, and the sum is right; what falls between two pages vanishes.

    Args:
        swaps: One step.
        device: For its pages, and how fast it takes the writes at the start.
        steps: How many.
        groups: Death group of each copy.
        scale: Each byte stands for so many, and each second too: rates and order stay, the data fill more or less of the
            device.

    Raises:
        InputError: the data do not fit on the device.
    """
    _check_fits(swaps, device, scale=scale)
    page, period_s = device.geometry.page_bytes, swaps.step_s * scale
    at_start = _page_requests([_at_start(swaps, groups)], page, scale)
    write_s = _HEAD_START * int(at_start.pages.sum()) * page / estimate_flash(device).write_bytes_per_s
    once = _page_requests(_one_step(swaps, groups), page, scale)
    step = np.repeat(np.arange(steps, dtype=np.int32), len(once))
    repeated = once.take(
        np.tile(np.arange(len(once)), steps), later_s=write_s + period_s * step.astype(np.float64)
    )
    # A chunk may start in the step before its own, so the steps overlap.
    order = np.argsort(repeated.time_s, kind="stable")
    together = _concatenate([at_start, repeated.take(order)])
    return Workload(
        requests=together.in_bytes(page),
        step=np.concatenate([np.full(len(at_start), AT_START, np.int32), step[order]]),
        promised_s=together.promised_s,
        start_s=write_s + _early_s(swaps) * scale,
        period_s=period_s,
    )


def _check_fits(swaps: Swaps, device: FlashDevice, *, scale: float) -> None:
    needed = swaps.space_bytes * scale
    if round(needed / device.geometry.page_bytes) > device.host_pages:
        raise InputError(
            f"beyond capacity: the step needs {format_bytes(needed)} on flash, and {device.name} has "
            f"{format_bytes(device.host_bytes)} for the host ({format_bytes(device.geometry.capacity_bytes)} less "
            f"{device.translation.over_provisioning:.0%} over-provisioning): give more flash, or more fast memory"
        )


def _early_s(swaps: Swaps) -> float:
    """Return how long before its step the first chunk starts."""
    return max(0.0, -float(swaps.start_s.min(initial=0.0)))


def _at_start(swaps: Swaps, groups: NDArray[np.int32]) -> _Parts:
    """Write what the first step finds there."""
    copies, there = swaps.copies, swaps.copies.is_there_at_start
    return _Parts(
        kind=RequestKind.WRITE,
        start_s=np.zeros(int(there.sum())),
        end_s=np.zeros(int(there.sum())),
        is_promised=False,
        first_byte=copies.first_byte[there],
        bytes=copies.bytes[there],
        group=groups[there],
    )


def _one_step(swaps: Swaps, groups: NDArray[np.int32]) -> list[_Parts]:
    """Return what a step asks, from its first chunk on."""
    early_s = _early_s(swaps)
    parts = [
        _Parts(
            kind=kind,
            start_s=swaps.start_s[rows] + early_s,
            end_s=swaps.end_s[rows] + early_s,
            is_promised=True,
            first_byte=swaps.first_byte[rows],
            bytes=swaps.bytes[rows],
            group=groups[swaps.copy[rows]],
        )
        for kind, rows in ((RequestKind.WRITE, swaps.is_write), (RequestKind.READ, ~swaps.is_write))
    ]
    return [*parts, _discards(swaps, groups)] if swaps.discards else parts


def _discards(swaps: Swaps, groups: NDArray[np.int32]) -> _Parts:
    copies = swaps.copies
    dying = ~np.isnan(copies.dies_s)
    time_s = copies.dies_s[dying] % swaps.step_s + _early_s(swaps)
    return _Parts(
        kind=RequestKind.DISCARD,
        start_s=time_s,
        end_s=time_s,
        is_promised=False,
        first_byte=copies.first_byte[dying],
        bytes=copies.bytes[dying],
        group=groups[dying],
    )


def _page_requests(parts: list[_Parts], page: int, scale: float) -> _PageRequests:
    """Return parts in order of time as requests for whole pages."""
    cut = _concatenate([_cut(part, page, scale) for part in parts])
    rows = np.flatnonzero(cut.pages > 0)
    return cut.take(rows[np.argsort(cut.time_s[rows], kind="stable")])


def _concatenate(parts: list[_PageRequests]) -> _PageRequests:
    return _PageRequests(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _PageRequests.__slots__}
    )


def _cut(part: _Parts, page: int, scale: float) -> _PageRequests:
    """Round to pages, and cut what is larger than a request may be."""
    most = _LARGEST_PAGES[part.kind]
    # Both ends are rounded, not the size: neighbours then meet, and their pages add up.
    first = np.round(part.first_byte * scale / page).astype(np.int64)
    pages = np.round((part.first_byte + part.bytes) * scale / page).astype(np.int64) - first
    count = np.maximum(1, -(-pages // most))
    row, number = lay_flat(count)
    done = number * most
    until = np.minimum(done + most, pages[row])
    pace = ((part.end_s - part.start_s) / np.maximum(pages, 1))[row]
    start = part.start_s[row]
    return _PageRequests(
        time_s=(start + done * pace) * scale,
        promised_s=(start + until * pace) * scale if part.is_promised else np.full(len(row), np.nan),
        kind=np.full(len(row), part.kind, np.int8),
        first_page=first[row] + done,
        pages=until - done,
        group=part.group[row],
    )
