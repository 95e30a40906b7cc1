"""The step as the checker walks it: the accesses of each extent, and the access gaps between them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from tmtrain.lowering.timeline import Timeline


class Access(NamedTuple):
    """One slice touching one extent."""

    slice: int
    needs: bool
    """Uses the content that was there."""
    writes: bool


class Gap(NamedTuple):
    """An access gap: the stretch between two consecutive accesses, over whose end the content is needed; cyclic."""

    extent: int
    start: int
    end: int
    """``end <= start``: in the next step."""
    pages: int
    last_write: int
    """Slice that wrote the content; later than `start`: in the previous step. -1: nothing in the step writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The accesses of a step, extent by extent and slice by slice."""

    num_slices: int
    accesses: list[list[Access]]
    """Of each extent, in order of slices."""
    gaps: list[Gap]
    """Those in which at least one slice runs, by extent and start."""
    touched: list[list[tuple[int, Access]]]
    """Of each slice: (extent, access)."""


def walk(timeline: Timeline) -> Walk:
    """Walk a step once.

    >>> from tmtrain.checking.example import example_step
    >>> len(walk(example_step()).gaps)
    6
    """
    num_slices, access = len(timeline.slices), timeline.accesses
    per_extent: list[list[Access]] = [[] for _ in range(len(timeline.extents))]
    per_slice: list[list[tuple[int, Access]]] = [[] for _ in range(num_slices)]
    rows = list(
        zip(access.extent.tolist(), access.needs_content.tolist(), access.writes.tolist(), strict=True)
    )
    for t, (begin, end) in enumerate(pairwise(access.ptr.tolist())):
        for extent, needs, writes in rows[begin:end]:
            per_extent[extent].append(Access(t, needs, writes))
            per_slice[t].append((extent, per_extent[extent][-1]))
    pages = timeline.extents.pages.tolist()
    gaps = [
        gap
        for extent, accesses in enumerate(per_extent)
        for gap in _gaps(extent, accesses, pages[extent], num_slices)
    ]
    return Walk(num_slices=num_slices, accesses=per_extent, gaps=gaps, touched=per_slice)


def _gaps(extent: int, accesses: list[Access], pages: int, num_slices: int) -> list[Gap]:
    writes = [a.slice for a in accesses if a.writes]
    last_write = writes[-1] if writes else -1  # of the previous step, until this one has written
    gaps: list[Gap] = []
    for number, access in enumerate(accesses):
        following = accesses[(number + 1) % len(accesses)]
        last_write = access.slice if access.writes else last_write
        slices_inside = (following.slice - access.slice - 1) % num_slices
        if following.needs and slices_inside:
            gaps.append(Gap(extent, access.slice, following.slice, pages, last_write))
    return gaps
