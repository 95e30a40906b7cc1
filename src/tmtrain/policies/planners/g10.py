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

from enum import Enum

import numpy as np

from tmtrain.deciding.policy import Decision, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.placing.prediction import channel_seconds, predict
from tmtrain.policies.planners.g10_eviction import Account, Evicted, evict
from tmtrain.policies.shared.advice import advise, fetch_where_it_fits
from tmtrain.policies.shared.tensors import Tensors, find_tensors

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

    def __init__(
        self, *, link: LinkAccount = LinkAccount.STRETCHED, unlimited: "_Unlimited | None" = None
    ) -> None:
        self._link = link
        self._unlimited = _Unlimited() if unlimited is None else unlimited

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Choose periods, then schedule their transfers."""
        tensors = find_tensors(timeline, machine=machine)
        evicted = self._evict(tensors)
        fetch = fetch_where_it_fits(
            tensors, evicted.chosen, latest=evicted.fetch, earliest=tensors.periods.start + 1
        )
        return advise(tensors, evicted.chosen, fetch=fetch, name=self.name)

    def variants(self) -> tuple[Policy, ...]:
        """The accounts of the link."""
        unlimited = _Unlimited()
        return tuple(type(self)(link=link, unlimited=unlimited) for link in LinkAccount)

    def _evict(self, tensors: Tensors) -> Evicted:
        if self._link is LinkAccount.PROFILED:
            return _evict(tensors, self.rule, stretch=1.0)
        unlimited = self._unlimited.of(tensors, self.rule)
        if self._link is LinkAccount.UNLIMITED:
            return unlimited
        return _evict(tensors, self.rule, stretch=_stretch(tensors, unlimited))


class G10Paper(G10):
    """G10 as its paper has it."""

    name = "g10-paper"
    rule = Rule.PAPER


class _Unlimited:
    """What is evicted where the link carries anything: two of the accounts begin with it."""

    def __init__(self) -> None:
        self._tensors: Tensors | None = None
        self._evicted: Evicted | None = None

    def of(self, tensors: Tensors, rule: Rule) -> Evicted:
        """Run algorithm 1 once for all variants."""
        if self._evicted is None or self._tensors is not tensors:
            self._tensors, self._evicted = tensors, _evict(tensors, rule, stretch=np.inf)
        return self._evicted


def _stretch(tensors: Tensors, unlimited: Evicted) -> float:
    """Return by how much kernels have to be longer for the link to carry what is evicted."""
    chosen = unlimited.chosen
    timeline, machine = tensors.timeline, tensors.machine
    prediction = predict(tensors.problem, tensors.moved_pages(chosen), timeline=timeline, machine=machine)
    busy_s = channel_seconds(machine, bytes_in=prediction.bytes_in, bytes_out=prediction.bytes_out)
    return max(1.0, busy_s / timeline.compute_s)


def _evict(tensors: Tensors, rule: Rule, *, stretch: float) -> Evicted:
    """Run algorithm 1 where the link has `stretch` times its bandwidth in each slice."""
    timeline, machine, periods = tensors.timeline, tensors.machine, tensors.periods
    line = int(ARTIFACT_LINE * timeline.fast_pages) if rule is Rule.ARTIFACT else timeline.fast_pages
    page = timeline.page_bytes
    pages_out_per_s, pages_in_per_s = machine.write_bytes_per_s / page, machine.read_bytes_per_s / page
    unlimited = not np.isfinite(stretch)
    seconds = np.full(tensors.num_slices, np.inf) if unlimited else timeline.slices.duration_s * stretch
    length_s = tensors.length_s() * (1.0 if unlimited else stretch)
    account = Account(
        excess=(tensors.problem.over_pages + timeline.fast_pages - line).astype(np.float64),
        write=seconds * pages_out_per_s,
        read=seconds * pages_in_per_s,
        both=seconds * (machine.shared_bytes_per_s / page),
        duration_s=timeline.slices.duration_s,
        pages=periods.pages.astype(np.float64),
        start=periods.start.astype(np.int64),
        end=periods.end.astype(np.int64),
        length_s=length_s,
        content=tensors.content.astype(np.int64),
        pages_out_per_s=pages_out_per_s,
        pages_in_per_s=pages_in_per_s,
        by_cost=rule is Rule.PAPER,
    )
    candidates = np.arange(len(periods))
    if rule is Rule.ARTIFACT:
        slower = min(pages_in_per_s, pages_out_per_s)
        one_way_s = periods.pages / np.where(periods.is_dirty, slower, pages_in_per_s)
        candidates = np.flatnonzero(
            (length_s >= SAFE_TRANSFERS * one_way_s) & (periods.end - periods.start > 2)
        )
    return evict(account, candidates)
