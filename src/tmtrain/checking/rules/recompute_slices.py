"""Whether the step with the recomputations in it has their slices, where the plan wants them, on the right pages."""

from itertools import pairwise

from tmtrain.checking.findings import Findings
from tmtrain.checking.rules.content import ProducerBook, Recomputation, RowTouch
from tmtrain.lowering import Timeline

_Run = tuple[int, int, int]
"""Storage, first page, end page."""


def check_slices(
    timeline: Timeline,
    longer_step: Timeline,
    book: ProducerBook,
    recomputations: list[Recomputation],
    *,
    findings: Findings,
) -> set[int]:
    """Compare the step with `recomputations` with what each of them must touch; return where their slices stand.

    Args:
        timeline: The step without recomputations.
        longer_step: The same with them.
        book: Its producers.
        recomputations: Sound ones.
        findings: Where to note what is missing.
    """
    reader, original = _SliceReader(longer_step), _SliceReader(timeline)
    slices_of_op = _slices_of_operators(timeline)
    pages = _storage_pages(timeline)
    positions: set[int] = set()
    for recomputation in recomputations:
        producer = recomputation.producer
        for op, touches in zip(book.ops[producer], book.touches[producer], strict=True):
            for wanted in _wanted(recomputation, touches, slices_of_op.get(op, []), original, pages):
                # Every recomputed slice before this one has pushed it back by one.
                position = recomputation.before + len(positions)
                positions.add(position)
                _check_slice(reader, position, wanted, recomputation, op, findings=findings)
    extra = len(longer_step.slices) - len(timeline.slices) - len(positions)
    if extra:
        where = "the step has other slices than its own and the recomputations'"
        findings.add("recomputation-slice", where, abs(extra), "slices")
    return positions


def _check_slice(
    reader: "_SliceReader",
    position: int,
    wanted: list[_Run],
    recomputation: Recomputation,
    op: int,
    *,
    findings: Findings,
) -> None:
    """Check that a slice is of operator `op` and touches the page runs `wanted`."""
    if position >= len(reader.op) or reader.op[position] != op:
        where = f"slice {position} should be operator {op} of recomputation {recomputation.row}"
        findings.add("recomputation-slice", where, 1, "slices")
        return
    missing = sum(reader.missing(position, run) for run in wanted)
    if missing:
        name = f"slice {position} (recomputation {recomputation.row}, operator {op})"
        findings.add("recomputation-slice", f"{name} does not touch all pages of its rows", missing)


def _wanted(
    recomputation: Recomputation,
    touches: list[RowTouch],
    slices: list[int],
    original: "_SliceReader",
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
        # A result that cannot be cut along the rows is made by whichever recomputation makes it first: not required here.
        elif not (touch.follows and touch.writes):
            runs.append((touch.storage, 0, total))
    return [runs]


class _SliceReader:
    """The operator of each slice, and the page runs that it touches."""

    def __init__(self, timeline: Timeline) -> None:
        extents, access = timeline.extents, timeline.accesses
        self.op: list[int] = timeline.slices.op.tolist()
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
