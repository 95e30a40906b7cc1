"""Active and inactive lists: evict what has been used once only, keep what has been used again.

Source: the two page lists of Linux, as improved for tiered memory by Nimble (Yan et al., ASPLOS 2019); "IAL" is the
baseline of Sentinel (HPCA 2021). A page enters the inactive list; used again there, it is promoted to the active one, where
further uses do not move it. Room is taken from the oldest inactive pages, and while more pages are active than inactive
the oldest active ones are made inactive. On demand, with the past only. Granularity: pages.

In its favour: every use is seen (Linux sees accessed bits when it looks), and it is told when tensors die, like `lru`.
Simplified: in its papers the processor reads slow memory in place, and a page is promoted when it proves active there; here
what a slice touches has to come in, so every page is admitted at its first use.
"""

from collections import OrderedDict
from collections.abc import Sequence
from itertools import chain

from tmtrain.deciding.eviction import SparingPager
from tmtrain.deciding.policy import Decision, Knowledge, Policy, take_pages
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine


class Ial(Policy):
    """Two lists with promotion."""

    name = "ial"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Manage `timeline` by two lists."""
        del machine
        return Decision(timeline=timeline, knowledge=Knowledge.FREED, pager=IalPager(timeline))


class IalPager(SparingPager):
    """Both lists, oldest first; an extent is in one of them while it holds pages."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self._pages: list[int] = timeline.extents.pages.tolist()
        self._active: OrderedDict[int, None] = OrderedDict()
        self._inactive: OrderedDict[int, None] = OrderedDict()
        self._surplus = 0
        """Pages of active extents less those of inactive ones."""

    def touch(self, extent: int, access: int) -> None:
        """Enter `extent`, or promote it."""
        super().touch(extent, access)
        if extent in self._inactive:
            self._move(extent, self._inactive, self._active)
            self._surplus += 2 * self._pages[extent]
        elif extent not in self._active:
            self._inactive[extent] = None
            self._surplus -= self._pages[extent]

    def gone(self, extent: int) -> None:
        """Forget `extent`."""
        if extent in self._inactive:
            del self._inactive[extent]
            self._surplus += self._pages[extent]
        elif extent in self._active:
            del self._active[extent]
            self._surplus -= self._pages[extent]

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose from the oldest inactive extent on; the oldest active ones follow when those are too few."""
        self._balance()
        oldest_first = chain(self._inactive, self._active)
        chosen = take_pages((e for e in oldest_first if e not in self.spared), pages, held=held)
        for extent, taken in chosen:
            if taken == held[extent]:
                self.gone(extent)
        return chosen

    def _balance(self) -> None:
        while self._surplus > 0:
            oldest = next(iter(self._active))
            self._move(oldest, self._active, self._inactive)
            self._surplus -= 2 * self._pages[oldest]

    @staticmethod
    def _move(extent: int, source: OrderedDict[int, None], target: OrderedDict[int, None]) -> None:
        del source[extent]
        target[extent] = None
