"""On-demand LRU that is told when tensors die.

Source: the classic policy, at the granularity of pages; fetch on a miss, evict the pages unused for longest, write them
only if flash has no valid copy. Sees the past only. Generous to the rival: it knows dead tensors and clean pages, and a
miss costs the device's latency, not a fault.
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence

from tmtrain.deciding.policy import Decision, Knowledge, Pager, Policy, take_pages
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine


class Lru(Policy):
    """LRU over pages with knowledge of tensor death."""

    name = "lru"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Manage `timeline` by recency."""
        del machine
        return Decision(timeline=timeline, knowledge=Knowledge.FREED, pager=LruPager())


class LruPager(Pager):
    """Extents by recency of use; the pages of one extent are always used together, so they leave in order."""

    def __init__(self) -> None:
        self._recency: OrderedDict[int, None] = OrderedDict()

    def touch(self, extent: int, access: int) -> None:
        """Make `extent` the most recent."""
        del access
        self._recency[extent] = None
        self._recency.move_to_end(extent)

    def gone(self, extent: int) -> None:
        """Forget `extent`."""
        self._recency.pop(extent, None)

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose from the least recent on; those of the current slice stand at the other end."""
        chosen = take_pages(self._recency, pages, held=held)
        for extent, taken in chosen:
            if taken == held[extent]:
                self.gone(extent)
        return chosen

    def carries(self) -> Hashable:
        """Nothing: in a step every extent is touched."""
        return ()
