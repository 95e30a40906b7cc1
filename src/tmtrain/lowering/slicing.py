"""Cut loop nests until no slice needs more than its share of fast memory."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

from tmtrain.lowering.loops import LoopNest
from tmtrain.trace import Operands

MOST_CUTS = 1024
"""No loop is cut into more parts than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceTouch:
    """One operand of one slice, as a run of pages of its storage."""

    row: int
    first_page: int
    end_page: int
    again: bool
    """An earlier slice of the same operator has touched the same pages: they hold what it made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One part of a loop nest."""

    touches: tuple[SliceTouch, ...]
    share: float
    """Of the nest's work; the shares of a nest add up to 1."""
    dims: dict[str, float]
    """Share of each dimension of the matrix product that this slice covers (1 where not cut)."""


def choose_cuts(nest: LoopNest, operands: Operands, *, page_bytes: int, limit_pages: int) -> tuple[int, ...]:
    """Return into how many parts each loop is cut, powers of two: the fewest, greedily, that meet the limit.

    Where even the finest cut does not, the finest useful one is returned; whether it fits is for the caller to check.
    """
    spans = _spans(nest, operands, page_bytes=page_bytes)
    cuts = [1] * len(nest.trips)
    while _working_set(spans, cuts) > limit_pages:
        candidates = [
            _doubled(cuts, i) for i, trip in enumerate(nest.trips) if cuts[i] * 2 <= min(trip, MOST_CUTS)
        ]
        best = min(candidates, key=lambda candidate: _working_set(spans, candidate), default=None)
        # A finer cut that needs no less memory would only make more slices.
        if best is None or _working_set(spans, best) >= _working_set(spans, cuts):
            break
        cuts = best
    return tuple(cuts)


def slices_of(
    nest: LoopNest, operands: Operands, *, cuts: tuple[int, ...], page_bytes: int
) -> Iterator[Slice]:
    """Yield the slices of a nest in order: passes outermost, then the loops as they are nested.

    Page runs are cut in the ratio of the loop, so runs of different operators nest where the cuts are powers of two. The
    runs of two parts of an operand are disjoint, or, where there are more parts than pages, the same page.
    """
    passes = nest.passes if prod(cuts) > 1 else 1
    seen: set[tuple[int, int]] = set()
    for number in range(passes):
        for index in product(*(range(c) for c in cuts)):
            touches: list[SliceTouch] = []
            for o in nest.operands:
                if passes > 1 and number < o.first_pass:
                    continue
                part, parts = (0, 1) if o.loop is None else (index[o.loop], cuts[o.loop])
                first, end = _run(operands, o.row, part, parts, page_bytes)
                touches.append(
                    SliceTouch(row=o.row, first_page=first, end_page=end, again=(o.row, first) in seen)
                )
                seen.add((o.row, first))
            yield Slice(
                touches=tuple(touches),
                share=1 / (passes * prod(cuts)),
                dims={name: 1 / c for name, c in zip(nest.matrix_dims, cuts, strict=False)},
            )


def pages_of(operands: Operands, row: int, *, page_bytes: int) -> int:
    """Return the pages that an operand spans."""
    first, end = _run(operands, row, 0, 1, page_bytes)
    return end - first


def _run(operands: Operands, row: int, part: int, parts: int, page_bytes: int) -> tuple[int, int]:
    """Return the first and the end page of part `part` of so many of an operand."""
    offset, span = int(operands.offset_bytes[row]), int(operands.span_bytes[row])
    first, end = offset // page_bytes, -(-(offset + span) // page_bytes)
    pages = end - first
    if pages <= 0:
        return first, first
    # No part is empty: where there are more parts than pages, several of them share one.
    start = min(first + pages * part // parts, end - 1)
    return start, max(first + pages * (part + 1) // parts, start + 1)


def most_pages(nest: LoopNest, operands: Operands, *, cuts: tuple[int, ...], page_bytes: int) -> int:
    """Return how many pages no slice of a nest exceeds."""
    return _working_set(_spans(nest, operands, page_bytes=page_bytes), cuts)


def _spans(nest: LoopNest, operands: Operands, *, page_bytes: int) -> list[tuple[int, int | None]]:
    return [(pages_of(operands, o.row, page_bytes=page_bytes), o.loop) for o in nest.operands]


def _working_set(spans: list[tuple[int, int | None]], cuts: Sequence[int]) -> int:
    return sum(-(-pages // cuts[loop]) if loop is not None else pages for pages, loop in spans)


def _doubled(cuts: list[int], index: int) -> list[int]:
    return [c * 2 if i == index else c for i, c in enumerate(cuts)]
