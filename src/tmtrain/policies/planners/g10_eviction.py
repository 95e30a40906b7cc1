"""G10's algorithm 1, compiled: which inactive periods to evict, best first, on an account of pressure and bandwidth."""

import heapq
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray


class Account(NamedTuple):
    """Slices and periods as the algorithm sees them; the first three columns of slices are used up as it goes."""

    excess: NDArray[np.float64]
    """Per slice: pages above the line."""
    write: NDArray[np.float64]
    """Per slice: pages that can still go out, come in, and both together."""
    read: NDArray[np.float64]
    both: NDArray[np.float64]
    duration_s: NDArray[np.float64]
    pages: NDArray[np.float64]
    """Per period, as what follows: its tensor's pages, its first and last slice, and its length."""
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    length_s: NDArray[np.float64]
    content: NDArray[np.int64]
    """What its tensor holds; periods of one content need one transfer out; -1: none."""
    pages_out_per_s: float
    pages_in_per_s: float
    by_cost: bool
    """The paper's rule; else the artifact's."""


class Evicted(NamedTuple):
    """The outcome, one row per period."""

    chosen: NDArray[np.bool_]
    fetch: NDArray[np.int64]
    """Latest safe slice at which the transfer in begins; the end of the period where it was not chosen."""


def evict(account: Account, candidates: NDArray[np.int64]) -> Evicted:
    """Choose periods until the line is exceeded nowhere, or nothing helps.

    Args:
        account: The account; its slices are changed.
        candidates: Periods that may be chosen.
    """
    by_content = np.argsort(account.content, kind="stable")
    return Evicted(*_evict(account, candidates, by_content, account.content[by_content]))


@njit(cache=True)
def _evict(
    account: Account,
    candidates: NDArray[np.int64],
    by_content: NDArray[np.int64],
    contents: NDArray[np.int64],
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:  # pragma: no cover - compiled
    chosen, fetch = np.zeros(len(account.pages), np.bool_), account.end.copy()
    written = np.zeros(contents.max() + 2 if len(contents) else 0, np.bool_)  # the last one stands for -1
    heap = [(0.0, 0.0, -1) for _ in range(0)]
    hot = np.flatnonzero(account.excess > 0)
    for p in candidates:
        first, second = _rank(account, written, hot, p)
        heap.append((first, second, p))
    heapq.heapify(heap)
    while len(heap) > 0 and len(hot) > 0:
        p = heapq.heappop(heap)[2]
        if chosen[p]:
            continue
        # Benefits and bandwidth only shrink, so who is first after an update is first of all.
        first, second = _rank(account, written, hot, p)
        if first >= 0:
            continue
        if len(heap) > 0 and (first, second, p) > heap[0]:
            heapq.heappush(heap, (first, second, p))
            continue
        fetch[p], chosen[p] = _take(account, written, p), True
        hot = np.flatnonzero(account.excess > 0)
        content = account.content[p]
        if content >= 0:  # the other periods of this content need no transfer out any more
            begin, end = np.searchsorted(contents, content), np.searchsorted(contents, content + 1)
            for other in by_content[begin:end]:
                if not chosen[other]:
                    first, second = _rank(account, written, hot, other)
                    heapq.heappush(heap, (first, second, other))
    return chosen, fetch


@njit(cache=True)
def _rank(
    account: Account, written: NDArray[np.bool_], hot: NDArray[np.int64], p: int
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Return the key of period p, least first; no benefit, no number below 0. `hot`: slices above the line, in order."""
    begin, end, _ = _window(account, written, p)
    if end <= begin:
        return 0.0, 0.0
    pages = account.pages[p]
    num_slices = len(account.excess)
    begin, end = begin % num_slices, begin % num_slices + end - begin
    area = _area(account, hot, pages, begin, min(end, num_slices), 0.0)
    area = _area(account, hot, pages, 0, end - num_slices, area)  # what goes on in the next step
    if account.by_cost:
        out = _pages_out(account, written, p)
        return -area / (pages / account.pages_in_per_s + out / account.pages_out_per_s), 0.0
    return -area, -pages * account.length_s[p]


@njit(cache=True)
def _take(account: Account, written: NDArray[np.bool_], p: int) -> int:  # pragma: no cover - compiled
    """Evict the tensor over period p; return the slice at which its transfer in begins."""
    begin, end, fetch = _window(account, written, p)
    pages, first, last = account.pages[p], account.start[p], account.end[p]
    _spend(account.write, account.both, _pages_out(account, written, p), first + 1, last, 1)
    _spend(account.read, account.both, pages, last - 1, first, -1)
    for t in range(begin, end):
        account.excess[t % len(account.excess)] -= pages
    written[account.content[p]] = True
    return fetch


@njit(cache=True)
def _pages_out(account: Account, written: NDArray[np.bool_], p: int) -> float:  # pragma: no cover - compiled
    content = account.content[p]
    return 0.0 if content < 0 or written[content] else account.pages[p]


@njit(cache=True)
def _window(
    account: Account, written: NDArray[np.bool_], p: int
) -> tuple[int, int, int]:  # pragma: no cover - compiled
    """Return the slices ``begin .. end - 1`` without the tensor, by the bandwidth left, and where the way back begins."""
    pages, start, end = account.pages[p], account.start[p], account.end[p]
    share = 1.0 if account.by_cost else 0.5
    gone, out = _reach(account.write, account.both, _pages_out(account, written, p), start + 1, end, 1, share)
    back, into = _reach(account.read, account.both, pages, end - 1, start, -1, share)
    if out > into + 1:
        return end, end, end
    return gone, back + 1, into + 1


@njit(cache=True)
def _reach(
    lane: NDArray[np.float64],
    both: NDArray[np.float64],
    pages: float,
    first: int,
    stop: int,
    way: int,
    share: float,
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Return the slices in which a share of `pages` has passed, from `first` on, and after which all have; else `stop`."""
    left, half, t, i = pages, first, first, first % len(lane)
    while left > 0 and t != stop:
        left -= min(lane[i], both[i])
        t += way
        i += way
        if i < 0 or i == len(lane):
            i = 0 if i > 0 else len(lane) - 1
        if left > pages * (1 - share):
            half = t
    return (half, t) if left <= 0 else (stop, stop + way)


@njit(cache=True)
def _spend(
    lane: NDArray[np.float64], both: NDArray[np.float64], pages: float, first: int, stop: int, way: int
) -> None:  # pragma: no cover - compiled
    """Use up bandwidth for `pages`, from `first` on."""
    t = first
    while pages > 0 and t != stop:
        i = t % len(lane)
        used = min(pages, lane[i], both[i])
        lane[i] -= used
        both[i] -= used
        pages -= used
        t += way


@njit(cache=True)
def _area(
    account: Account, hot: NDArray[np.int64], pages: float, begin: int, end: int, area: float
) -> float:  # pragma: no cover - compiled
    """Add to `area` what `pages` take away of the excess over slices ``begin .. end - 1``, in page seconds."""
    k = np.searchsorted(hot, begin)
    while k < len(hot) and hot[k] < end:
        area += float(min(pages, account.excess[hot[k]]) * account.duration_s[hot[k]])
        k += 1
    return area
