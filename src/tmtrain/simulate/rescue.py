"""Whom to evict where a plan, stale or new, left no room: what is used furthest in the future."""

from bisect import bisect_right
from collections.abc import Sequence

from tmtrain.lower.timeline import Timeline
from tmtrain.plan.problem import slice_of_access
from tmtrain.policies.sparing import SparingPager


class Rescue(SparingPager):
    """A pager beside a plan. It is asked rarely, so it looks at every extent then and keeps no order meanwhile."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__(timeline)
        self._period = len(timeline.slices)
        self._uses: list[list[int]] = [[] for _ in range(len(timeline.extents))]
        slices: list[int] = slice_of_access(timeline).tolist()
        for extent, t in zip(timeline.accesses.extent.tolist(), slices, strict=True):
            self._uses[extent].append(t)

    def gone(self, extent: int) -> None:
        """What is gone holds nothing: `victims` will see it."""

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        """Choose from the furthest next use on."""
        candidates = [e for e, count in enumerate(held) if count and e not in self.spared]
        candidates.sort(key=self._ahead, reverse=True)
        chosen: list[tuple[int, int]] = []
        for extent in candidates:
            if pages <= 0:
                break
            taken = min(held[extent], pages)
            pages -= taken
            chosen.append((extent, taken))
        return chosen

    def _ahead(self, extent: int) -> int:
        """Slices until the next use, cyclic."""
        uses = self._uses[extent]
        after = bisect_right(uses, self.at)
        return uses[after] - self.at if after < len(uses) else uses[0] + self._period - self.at
