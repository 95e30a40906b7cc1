"""What a pager must not give up: the extents of the slice at hand."""

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.policy import Pager


class SparingPager(Pager):
    """A pager that remembers what the current slice has touched, for orders in which that does not come last."""

    def __init__(self, timeline: Timeline) -> None:
        self._slice: list[int] = slice_of_access(timeline).tolist()
        self.at = -1
        """The slice at hand."""
        self.spared: set[int] = set()

    def touch(self, extent: int, access: int) -> None:
        """Spare `extent` in this slice."""
        if self._slice[access] != self.at:
            self.at = self._slice[access]
            self.spared.clear()
        self.spared.add(extent)
