"""Profile-guided migration in intervals of layers.

Source: Sentinel (Ren et al., HPCA 2021). A profiled step gives sizes, lifetimes and access counts of all tensors. The
step is divided into equal intervals of MIL layers. When an interval begins, the long-lived tensors that the next one needs
are prefetched, in decreasing order of access count; a tensor leaves as soon as no operator of the interval uses it any
more. Short-lived tensors (one layer at most) stay in a reserved pool of RS bytes and are never migrated. MIL is searched:
with the tensors of an interval fitting beside the pool, the one with the least (S - RS) / BW - T(MIL), S being the fast
memory and T the time of an interval: the longest that fits.

Simplified: layers are those of `tmtrain.policies.shared.layers`, and slices stand for operators. Late prefetches are
waited for, as in the paper's version for GPUs ("test-and-trial" needs a processor that reads slow memory).

Granularity: extents. False sharing, which the paper avoids by packing tensors of equal lifetime into pages, cannot occur
here: each storage has pages of its own. Packing would save the unused ends of small tensors' pages: in GPT-2, BERT-large,
ResNet-152 and GPT-3 less than 0.1 % of the footprint.

In its favour: lifetimes are exact, dead tensors leave for free; a tensor that the next interval uses too stays; what is
issued is served in order of need; prefetches leave the room that the rest of the interval will need; where room is short,
the furthest next use goes; and as one great layer keeps all intervals short, longer ones are tried too (`STRETCHES`).
"""

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Knowledge, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.shared.layers import interval_schedule, layer_of_slice
from tmtrain.policies.shared.schedules import FetchSchedule, ScheduledPager

MOST_LENGTHS = 100
"""So many lengths of the interval are searched, in geometric steps."""
STRETCHES = (1, 4, 16, 64)
"""Multiples of that length that are tried."""


class Sentinel(Policy):
    """Prefetch per interval of layers."""

    name = "sentinel"

    def __init__(self, *, stretch: int = STRETCHES[0]) -> None:
        self._stretch = stretch

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Choose the interval and schedule its migrations."""
        del machine
        length = min(interval_length(timeline) * self._stretch, len(timeline.slices))
        pager = ScheduledPager(timeline, schedule=sentinel_schedule(timeline, layers=length))
        return Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, pager=pager)

    def variants(self) -> tuple[Policy, ...]:
        """Longer intervals than that of its formula."""
        return tuple(Sentinel(stretch=stretch) for stretch in STRETCHES)


def interval_length(timeline: Timeline) -> int:
    """Return the most layers of which the long-lived extents fit beside the pool; 1 if none do."""
    layer = layer_of_slice(timeline)
    is_short = _short_lived(timeline, layer)
    room = timeline.fast_pages - _pool_pages(timeline, is_short)
    chosen = 1
    for length in np.unique(np.geomspace(1, layer[-1] + 1, MOST_LENGTHS).astype(np.int64)).tolist():
        if _most_pages(timeline, layer // length, is_short) < room:
            chosen = length
    return chosen


def sentinel_schedule(timeline: Timeline, *, layers: int) -> FetchSchedule:
    """Return what moves when, with so many layers in an interval."""
    layer = layer_of_slice(timeline)
    return interval_schedule(timeline, layer // layers, stays=_short_lived(timeline, layer))


def _short_lived(timeline: Timeline, layer: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the extents that are born in the step and used in one layer, or in two that follow one another."""
    access = timeline.accesses
    first, last = np.full(len(timeline.extents), len(layer)), np.full(len(timeline.extents), -1)
    at = layer[slice_of_access(timeline)]
    np.minimum.at(first, access.extent, at)
    np.maximum.at(last, access.extent, at)
    return ~timeline.extents.persistent & (last - first <= 1)


def _most_pages(timeline: Timeline, interval: NDArray[np.int64], is_short: NDArray[np.bool_]) -> int:
    """Return the pages of the long-lived extents that the greatest interval uses."""
    extent, at = timeline.accesses.extent, interval[slice_of_access(timeline)]
    long = ~is_short[extent]
    key = np.unique(at[long] * len(timeline.extents) + extent[long])
    interval_of, extent_of = np.divmod(key, len(timeline.extents))
    return int(np.bincount(interval_of, weights=timeline.extents.pages[extent_of], minlength=1).max())


def _pool_pages(timeline: Timeline, is_short: NDArray[np.bool_]) -> int:
    """Return the most pages that short-lived extents hold at once, from their first to their last use."""
    T, access, at = len(timeline.slices), timeline.accesses, slice_of_access(timeline)
    first, last = np.full(len(timeline.extents), T), np.full(len(timeline.extents), -1)
    np.minimum.at(first, access.extent, at)
    np.maximum.at(last, access.extent, at)
    used = is_short & (last >= 0)
    change = np.zeros(T + 1, np.int64)
    np.add.at(change, first[used], timeline.extents.pages[used])
    np.subtract.at(change, last[used] + 1, timeline.extents.pages[used])
    return int(np.cumsum(change)[:T].max(initial=0))
