"""The accesses of a step as plain lists: the engine's loops read them millions of times."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline


class AccessLists:
    """What each slice touches, writes, uses for the last time, and frees."""

    def __init__(self, timeline: Timeline) -> None:
        access, frees = timeline.accesses, timeline.frees
        self.ptr: list[int] = access.ptr.tolist()
        """Rows of slice t: from ``ptr[t]`` to ``ptr[t + 1]``."""
        self.extent: list[int] = access.extent.tolist()
        """Of each row."""
        self.needs_content: list[bool] = access.needs_content.tolist()
        """Of each row."""
        self.rows = [
            tuple(zip(range(a, b), self.extent[a:b], self.needs_content[a:b], strict=True))
            for a, b in pairwise(self.ptr)
        ]
        """(row, extent, needs its content), by slice."""
        self.written = _by_slice(access.extent, access.ptr, among=access.writes)
        """Extents, by slice; so are the next two."""
        self.last_used = _by_slice(access.extent, access.ptr, among=access.next_slice < 0)
        self.freed = _by_slice(frees.extent, frees.ptr)
        self.first_use: dict[int, int] = {}
        """The first slice that touches an extent."""
        for t, (a, b) in enumerate(pairwise(self.ptr)):
            for extent in self.extent[a:b]:
                self.first_use.setdefault(extent, t)

    def of_slice(self, t: int) -> list[int]:
        """Return the extents that slice t touches."""
        return self.extent[self.ptr[t] : self.ptr[t + 1]]


_last: tuple[Timeline, AccessLists] | None = None
"""Of the step that was asked for last: a rival's variants run the same one."""


def access_lists(timeline: Timeline) -> AccessLists:
    """Return the lists of a step, which nobody may change; those of the last one are kept."""
    global _last
    last = _last
    if last is None or last[0] is not timeline:
        last = timeline, AccessLists(timeline)
        _last = last
    return last[1]


def _by_slice(
    extent: NDArray[np.int32], ptr: NDArray[np.int64], *, among: NDArray[np.bool_] | None = None
) -> list[list[int]]:
    """Return the extents of the rows of each slice, of those `among`."""
    if among is not None:
        extent, ptr = extent[among], np.concatenate([[0], np.cumsum(among)])[ptr]
    rows: list[int] = extent.tolist()
    return [rows[a:b] for a, b in pairwise(ptr.tolist())]
