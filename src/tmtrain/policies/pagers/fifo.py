"""First in, first out: evict what came into fast memory first, however often it has been used since.

Source: the classic policy; it is what the artifact of G10 (MICRO 2023) does under the name LRU, as a driver does that sees
migrations but no accesses. On demand, with the past only; like `lru` it is told when tensors die, writes dirty pages only,
and pays the device's latency for a miss, not a fault (in its favour). Granularity: pages. Simplified: an extent that has
given up a part of its pages and fetches them again has arrived anew as a whole.
"""

from collections import OrderedDict
from collections.abc import Sequence

from tmtrain.deciding.eviction import SparingPager
from tmtrain.deciding.policy import Decision, Knowledge, Policy, take_pages
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine


class Fifo(Policy):
    """FIFO over pages with knowledge of tensor death."""

    name = "fifo"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Manage `timeline` by order of arrival."""
        del machine
        return Decision(timeline=timeline, knowledge=Knowledge.FREED, pager=FifoPager(timeline))


class FifoPager(SparingPager):
    """Extents by arrival."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self._arrived: OrderedDict[int, None] = OrderedDict()
        self._broken: set[int] = set()
        """Have given up some of their pages."""

    def touch(self, extent: int, access: int) -> None:
        """What was not there in full has arrived."""
        super().touch(extent, access)
        self._arrived.setdefault(extent)
        if extent in self._broken:
            self._broken.remove(extent)
            self._arrived.move_to_end(extent)

    def gone(self, extent: int) -> None:
        """Forget `extent`."""
        self._arrived.pop(extent, None)
        self._broken.discard(extent)

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose from the first arrival on."""
        chosen = take_pages((e for e in self._arrived if e not in self.spared), pages, held=held)
        for extent, taken in chosen:
            if taken == held[extent]:
                self.gone(extent)
            else:
                self._broken.add(extent)
        return chosen
