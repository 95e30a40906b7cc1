"""What a step teaches a prefetcher that has seen it once: the uses of each slice, and how long ago each extent was used."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import slice_of_access


class SliceUse(NamedTuple):
    """One access."""

    extent: int
    needs_content: bool
    ago: int
    """Slices since the access before, cyclic; the number of slices where it is the only one of the step."""


def uses_by_slice(timeline: Timeline) -> list[list[SliceUse]]:
    """Return the uses of every slice.

    >>> from tmtrain.planning.example import example_timeline
    >>> uses_by_slice(example_timeline())[0][0]
    SliceUse(extent=0, needs_content=True, ago=1)
    """
    access, at = timeline.accesses, slice_of_access(timeline).astype(np.int64)
    order = np.lexsort((at, access.extent))
    extent, slices = access.extent[order], at[order]
    starts = np.flatnonzero(np.concatenate([[True], extent[1:] != extent[:-1]]))
    ends = np.append(starts[1:], len(extent)) - 1
    before = np.concatenate([slices[:1], slices[:-1]])
    before[starts] = slices[ends]
    ago = np.empty(len(at), np.int64)
    ago[order] = (slices - before - 1) % len(timeline.slices) + 1
    uses = [
        SliceUse(e, needs, n)
        for e, needs, n in zip(
            access.extent.tolist(), access.needs_content.tolist(), ago.tolist(), strict=True
        )
    ]
    return [uses[a:b] for a, b in pairwise(access.ptr.tolist())]
