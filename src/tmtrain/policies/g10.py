"""G10's smart tensor eviction and prefetching: whole tensors, best inactive period first.

Source: H. Zhang et al., "G10: Enabling an efficient unified GPU memory and storage architecture with smart tensor
migrations", MICRO 2023 (arXiv 2310.09443), section 4.3 and algorithm 1; artifact platformxlab/G10 at de2c8c6.

Inputs: order and durations of the kernels, sizes and inactive periods of all tensors, cyclic for those that outlive the
step.

Rule: while the pressure (bytes of tensors that are not evicted) exceeds the capacity somewhere, evict the tensor with the
most *benefit* over its period: the integral over time of the bytes above the capacity that it takes away, where

* `g10-paper`: benefit per second of transfer, between the end of the transfer out and the start of the one in;
* `g10`: benefit, between the middles of both transfers, ties by seconds x bytes; no periods shorter than 2.5 transfers or
  with a single kernel inside; the capacity is 99 % of the fast tier (the artifact).

A tensor leaves at the start of its period. Its transfers take what bandwidth the slices of its period still have, out from
the start on, in up to the end; where they do not fit it stays. Each prefetch starts at the latest safe time by that
account, then, in order of those times, at the earliest slice from which the tensor has room. What is missing is fetched on
demand.

Simplified: no host memory between GPU and SSD (there is none here), so what the SSD has no bandwidth for stays. In the
rival's favour: clean copies are free, pressure is counted slice by slice, the fallback is Belady's rule instead of LRU
faults, and as kernels that wait for the link last longer than profiled, variants plan with all of them stretched until the
link can carry what has to move, or with a link that carries anything.
"""

import heapq
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numba import njit
from numpy.typing import NDArray

from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan.prediction import channel_seconds, predict
from tmtrain.policies.advice import advise, fetch_where_it_fits
from tmtrain.policies.policy import Decision, Policy
from tmtrain.policies.tensors import Tensors, find_tensors

SAFE_TRANSFERS = 2.5
"""The artifact's shortest period, in transfers of the tensor one way."""
ARTIFACT_LINE = 0.99
"""The artifact's capacity, as a share of the fast tier."""


class Rule(Enum):
    """How periods are ranked."""

    PAPER = "benefit per cost"
    ARTIFACT = "area above the line"


class LinkAccount(Enum):
    """How much bandwidth a slice is taken to have."""

    PROFILED = "durations as profiled"
    STRETCHED = "durations stretched to the pace of the link"
    UNLIMITED = "as much as is asked for"


class G10(Policy):
    """G10 as its artifact has it."""

    name = "g10"
    rule = Rule.ARTIFACT

    def __init__(self, *, link: LinkAccount = LinkAccount.STRETCHED) -> None:
        self._link = link

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Choose periods, then schedule their transfers."""
        tensors = find_tensors(timeline, machine=machine)
        evicted = _evict(tensors, self.rule, stretch=_stretch(tensors, self.rule, self._link))
        fetch = fetch_where_it_fits(
            tensors, evicted.chosen, latest=evicted.fetch, earliest=tensors.periods.start + 1
        )
        return advise(tensors, evicted.chosen, fetch=fetch, name=self.name)

    def variants(self) -> tuple[Policy, ...]:
        """The accounts of the link."""
        return tuple(type(self)(link=link) for link in LinkAccount)


class G10Paper(G10):
    """G10 as its paper has it."""

    name = "g10-paper"
    rule = Rule.PAPER


@dataclass(frozen=True, slots=True, kw_only=True)
class _Evicted:
    """The outcome of algorithm 1, one row per period."""

    chosen: NDArray[np.bool_]
    fetch: NDArray[np.int64]
    """Latest safe slice at which the transfer in begins; the end of the period where it was not chosen."""


def _stretch(tensors: Tensors, rule: Rule, link: LinkAccount) -> float:
    """Return by how much kernels are taken to be longer; infinitely where bandwidth is no matter."""
    if link is not LinkAccount.STRETCHED:
        return 1.0 if link is LinkAccount.PROFILED else np.inf
    chosen = _evict(tensors, rule, stretch=np.inf).chosen
    timeline, machine = tensors.timeline, tensors.machine
    told = predict(tensors.problem, tensors.moved_pages(chosen), timeline=timeline, machine=machine)
    busy_s = channel_seconds(machine, bytes_in=told.bytes_in, bytes_out=told.bytes_out)
    return max(1.0, busy_s / timeline.compute_s)


def _evict(tensors: Tensors, rule: Rule, *, stretch: float) -> _Evicted:
    """Run algorithm 1: best period first, with benefits kept up to date."""
    periods = tensors.periods
    account = _Account(tensors, rule, stretch=stretch)
    chosen, fetch = np.zeros(len(periods), bool), periods.end.copy()
    siblings: dict[int, list[int]] = {}
    for p, content in enumerate(tensors.content.tolist()):
        siblings.setdefault(content, []).append(p)
    heap = [(*account.rank(p), p) for p in account.candidates()]
    heapq.heapify(heap)
    while heap and account.exceeded():
        *_, p = heapq.heappop(heap)
        if chosen[p]:
            continue
        # Benefits and bandwidth only shrink, so who is first after an update is first of all.
        rank = account.rank(p)
        if rank[0] >= 0:
            continue
        if heap and (*rank, p) > heap[0]:
            heapq.heappush(heap, (*rank, p))
            continue
        fetch[p], chosen[p] = account.take(p), True
        if tensors.content[p] >= 0:  # the other periods of this content need no transfer out any more
            for other in siblings[int(tensors.content[p])]:
                if not chosen[other]:
                    heapq.heappush(heap, (*account.rank(other), other))
    return _Evicted(chosen=chosen, fetch=fetch)


class _Account:
    """Pressure above the line and bandwidth that is left, slice by slice."""

    def __init__(self, tensors: Tensors, rule: Rule, *, stretch: float) -> None:
        self._tensors, self._rule = tensors, rule
        timeline, machine, page = tensors.timeline, tensors.machine, tensors.timeline.page_bytes
        line = int(ARTIFACT_LINE * timeline.fast_pages) if rule is Rule.ARTIFACT else timeline.fast_pages
        self._excess = (tensors.problem.over_pages + timeline.fast_pages - line).astype(np.float64)
        self._duration_s = timeline.slices.duration_s
        seconds = self._duration_s * stretch if np.isfinite(stretch) else np.full(tensors.num_slices, np.inf)
        self._pages_out_per_s = machine.write_bytes_per_s / page
        self._pages_in_per_s = machine.read_bytes_per_s / page
        self._write = seconds * self._pages_out_per_s
        self._read = seconds * self._pages_in_per_s
        self._both = seconds * (machine.shared_bytes_per_s / page)
        periods = tensors.periods
        slower = min(self._pages_in_per_s, self._pages_out_per_s)
        self._one_way_s = periods.pages / np.where(periods.is_dirty, slower, self._pages_in_per_s)
        self._length_s = tensors.length_s() * (stretch if np.isfinite(stretch) else 1.0)
        self._written: set[int] = set()

    def exceeded(self) -> bool:
        """Whether the line is still exceeded somewhere."""
        return bool(self._excess.max() > 0)

    def candidates(self) -> list[int]:
        """Return the periods that are long enough."""
        periods = self._tensors.periods
        if self._rule is Rule.PAPER:
            return list(range(len(periods)))
        safe = self._length_s >= SAFE_TRANSFERS * self._one_way_s
        return np.flatnonzero(safe & (periods.end - periods.start > 2)).tolist()

    def rank(self, p: int) -> tuple[float, float]:
        """Return the key of period p, least first; no benefit, no number below 0."""
        window = self._window(p)
        if window.end <= window.begin:
            return 0.0, 0.0
        pages = float(self._tensors.periods.pages[p])
        area = _area(self._excess, self._duration_s, pages, window.begin, window.end)
        if self._rule is Rule.PAPER:
            return -area / (pages / self._pages_in_per_s + self._pages_out(p) / self._pages_out_per_s), 0.0
        return -area, -pages * float(self._length_s[p])

    def take(self, p: int) -> int:
        """Evict the tensor over period p; return the slice at which its transfer in begins."""
        window = self._window(p)
        periods, T = self._tensors.periods, self._tensors.num_slices
        pages, start, end = float(periods.pages[p]), int(periods.start[p]), int(periods.end[p])
        _spend(self._write, self._both, self._pages_out(p), start + 1, end, 1)
        _spend(self._read, self._both, pages, end - 1, start, -1)
        self._excess[np.arange(window.begin, window.end) % T] -= pages
        self._written.add(int(self._tensors.content[p]))
        return window.fetch

    def _pages_out(self, p: int) -> float:
        content = int(self._tensors.content[p])
        return 0.0 if content < 0 or content in self._written else float(self._tensors.periods.pages[p])

    def _window(self, p: int) -> "_Window":
        """Find the slices during which the tensor counts as absent, by the bandwidth that is left."""
        periods, pages = self._tensors.periods, float(self._tensors.periods.pages[p])
        start, end = int(periods.start[p]), int(periods.end[p])
        share = 0.5 if self._rule is Rule.ARTIFACT else 1.0
        out = _reach(self._write, self._both, self._pages_out(p), start + 1, end, 1, share)
        into = _reach(self._read, self._both, pages, end - 1, start, -1, share)
        if out[1] > into[1] + 1:
            return _Window(begin=end, end=end, fetch=end)
        return _Window(begin=out[0], end=into[0] + 1, fetch=into[1] + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Slices ``begin .. end - 1`` without the tensor; `fetch` is where its way back begins."""

    begin: int
    end: int
    fetch: int


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
    left, half, t = pages, first, first
    while left > 0 and t != stop:
        i = t % len(lane)
        left -= min(lane[i], both[i])
        t += way
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
    excess: NDArray[np.float64], duration_s: NDArray[np.float64], pages: float, begin: int, end: int
) -> float:  # pragma: no cover - compiled
    """Integrate what `pages` take away of the excess over slices ``begin .. end - 1``, in page seconds."""
    area = 0.0
    for t in range(begin, end):
        i = t % len(excess)
        if excess[i] > 0:
            area += min(pages, excess[i]) * duration_s[i]
    return area
