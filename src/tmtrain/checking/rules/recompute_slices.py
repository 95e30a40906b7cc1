"""Whether the step with the recomputations in it has their slices, where the plan wants them, touching the pages of their rows."""

from itertools import pairwise

from tmtrain.checking.findings import Findings
from tmtrain.checking.rules.content import ProducerBook, Recomputation, RowTouch
from tmtrain.lowering import Timeline

_Run = tuple[int, int, int]
"""Storage, first page, end page."""


def check_slices(
    timeline: Timeline,
    longer: Timeline,
    book: ProducerBook,
    recomputations: list[Recomputation],
    *,
    found: Findings,
) -> set[int]:
    """Compare `longer`, the step with `recomputations`, with what each recomputation must touch; return where its recomputations stand."""
    reader = _Reader(longer)
    of_op = _slices_of_operators(timeline)
    pages = _storage_pages(timeline)
    original = _Reader(timeline)
    places: set[int] = set()
    for recomputation in recomputations:
        for op, touches in zip(
            book.ops[recomputation.producer], book.touches[recomputation.producer], strict=True
        ):
            for wanted in _wanted(recomputation, touches, of_op.get(op, []), original, pages):
                place = recomputation.before + len(places)
                places.add(place)
                if place >= len(longer.slices) or int(longer.slices.op[place]) != op:
                    where = f"slice {place} should be operator {op} of recomputation {recomputation.row}"
                    found.add("recomputation-slice", where, 1, "slices")
                    continue
                missing = sum(reader.missing(place, run) for run in wanted)
                if missing:
                    where = f"slice {place} (recomputation {recomputation.row}, operator {op}) does not touch all pages of its rows"
                    found.add("recomputation-slice", where, missing)
    extra = len(longer.slices) - len(timeline.slices) - len(places)
    if extra:
        found.add(
            "recomputation-slice",
            "the step has other slices than its own and the recomputations'",
            abs(extra),
            "slices",
        )
    return places


def _wanted(
    recomputation: Recomputation,
    touches: list[RowTouch],
    slices: list[int],
    original: "_Reader",
    pages: dict[int, int],
) -> list[list[_Run]]:
    """Return the page runs that each slice of one operator of a recomputation must touch."""
    if recomputation.is_whole:
        storages = {touch.storage for touch in touches}
        return [[run for run in original.runs(t) if run[0] in storages] for t in slices]
    runs: list[_Run] = []
    for touch in touches:
        total = pages.get(touch.storage, 0)
        if touch.follows and total >= recomputation.rows:
            first, end = (
                total * row // recomputation.rows for row in (recomputation.first, recomputation.end)
            )
            runs.append((touch.storage, first, end))
        elif not (touch.follows and touch.writes):  # what cannot be cut is made by whichever piece makes it
            runs.append((touch.storage, 0, total))
    return [runs]


class _Reader:
    """The page runs that each slice touches."""

    def __init__(self, timeline: Timeline) -> None:
        extents, access = timeline.extents, timeline.accesses
        self._storage: list[int] = extents.storage.tolist()
        self._first: list[int] = extents.first_page.tolist()
        self._pages: list[int] = extents.pages.tolist()
        rows: list[int] = access.extent.tolist()
        self._touched = [rows[a:b] for a, b in pairwise(access.ptr.tolist())]

    def runs(self, t: int) -> list[_Run]:
        """Return what slice `t` touches."""
        return [(self._storage[e], self._first[e], self._first[e] + self._pages[e]) for e in self._touched[t]]

    def missing(self, t: int, wanted: _Run) -> int:
        """Return how many pages of `wanted` slice `t` does not touch."""
        storage, first, end = wanted
        there = sum(max(0, min(end, b) - max(first, a)) for s, a, b in self.runs(t) if s == storage)
        return end - first - there


def _slices_of_operators(timeline: Timeline) -> dict[int, list[int]]:
    slices: dict[int, list[int]] = {}
    for t, op in enumerate(timeline.slices.op.tolist()):
        slices.setdefault(op, []).append(t)
    return slices


def _storage_pages(timeline: Timeline) -> dict[int, int]:
    pages: dict[int, int] = {}
    for storage, count in zip(
        timeline.extents.storage.tolist(), timeline.extents.pages.tolist(), strict=True
    ):
        pages[storage] = pages.get(storage, 0) + count
    return pages
