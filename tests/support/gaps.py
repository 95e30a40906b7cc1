"""The planning problem once more, read off a Timeline by walking round the step: the oracle for `build_problem`."""

from dataclasses import dataclass

import numpy as np

from tmtrain.lowering.timeline import Timeline

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkedGap:
    """A stretch over which content must survive although nobody touches it."""

    extent: int
    start: int
    end: int
    pages: int
    inside: frozenset[int]
    """Slices strictly between the two accesses."""
    made_by: int | None
    """Slice that wrote the content; None where nothing in the step writes it."""


def touches(timeline: Timeline) -> list[dict[int, tuple[bool, bool]]]:
    """Per slice: extent -> (needs content, writes)."""
    ptr, access = timeline.accesses.ptr.tolist(), timeline.accesses
    return [
        {
            int(access.extent[row]): (bool(access.needs_content[row]), bool(access.writes[row]))
            for row in range(ptr[t], ptr[t + 1])
        }
        for t in range(len(ptr) - 1)
    ]


def walk_gaps(timeline: Timeline) -> list[WalkedGap]:
    """Find every gap by walking from each access to the next one of the same extent."""
    by_slice = touches(timeline)
    T = len(by_slice)
    found: list[WalkedGap] = []
    for start, accesses in enumerate(by_slice):
        for extent in accesses:
            ahead = next(k for k in range(1, T + 1) if extent in by_slice[(start + k) % T])
            end = (start + ahead) % T
            if not by_slice[end][extent][0]:
                continue
            inside = frozenset((start + k) % T for k in range(1, ahead))
            if inside:
                pages = int(timeline.extents.pages[extent])
                made_by = _maker(by_slice, start, extent)
                found.append(
                    WalkedGap(
                        extent=extent, start=start, end=end, pages=pages, inside=inside, made_by=made_by
                    )
                )
    return found


def _maker(by_slice: list[dict[int, tuple[bool, bool]]], start: int, extent: int) -> int | None:
    T = len(by_slice)
    for back in range(T):
        t = (start - back) % T
        if extent in by_slice[t] and by_slice[t][extent][1]:
            return t
    return None


def lacking(timeline: Timeline, gaps: list[WalkedGap]) -> IntArray:
    """Pages by which each slice exceeds the fast tier if every gap keeps everything."""
    pages = timeline.extents.pages
    use = [sum(int(pages[e]) for e in accesses) for accesses in touches(timeline)]
    for gap in gaps:
        for t in gap.inside:
            use[t] += gap.pages
    return np.array(use, np.int64) - timeline.fast_pages
