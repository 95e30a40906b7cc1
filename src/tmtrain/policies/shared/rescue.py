"""Whom to evict where a plan, stale or incomplete, left no room: what is used furthest in the future (Belady's rule)."""

from collections.abc import Hashable, Sequence

import numpy as np

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.policy import Pager, take_pages


class Rescue(Pager):
    """A pager beside a plan: every extent that is there may be asked for, also one that has just been prefetched."""

    def __init__(self, timeline: Timeline) -> None:
        at, extent = slice_of_access(timeline), timeline.accesses.extent
        period, count = len(timeline.slices), len(timeline.extents)
        following = timeline.accesses.next_slice
        # Slices from this access to the next one of the same extent; dead content holds nothing to evict.
        self._ahead: list[int] = ((following - at - 1) % period + 1).tolist()
        self._slice: list[int] = at.tolist()
        self._period = period
        self._steps = 0
        self._at = -1
        self._touched: list[int] = []
        first = np.full(count, period, np.int64)
        np.minimum.at(first, extent, at)
        self._next_use = first

    def touch(self, extent: int, access: int) -> None:
        """Note when `extent` is used next, and spare it in this slice."""
        at = self._slice[access]
        if at != self._at:
            self._steps += at < self._at
            self._at = at
            self._touched.clear()
        self._touched.append(extent)
        self._next_use[extent] = self._steps * self._period + at + self._ahead[access]

    def gone(self, extent: int) -> None:
        """What is gone holds nothing: `victims` will see it."""

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose from the furthest next use on."""
        there = np.array(held, np.int64)
        there[self._touched] = 0
        candidates = np.flatnonzero(there)
        order = candidates[np.argsort(-self._next_use[candidates], kind="stable")]
        enough = int(np.searchsorted(np.cumsum(there[order]), pages)) + 1
        return take_pages(order[:enough].tolist(), pages, held=held)

    def carries(self) -> Hashable:
        """Nothing: in a step every extent is touched."""
        return ()
