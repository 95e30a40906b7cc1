"""Units and recomputations of a certificate's class, in the order in which its multipliers are stored.

A *unit* is some rows of a storage from its last use in forward to its first need in backward: the piece about which keep,
move or recompute is decided. In the file come first, storage by storage in the order in which recomputations ask for them,
those that recomputations of other recompute blocks read: the extents of the storage. Then, block by block and group by
group, those that the block's own recomputations can make: the storage cut into the *strips* of its group. A group is
producers whose rows are the same rows. A strip ends where an extent of something made in the group does.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from math import gcd

from tmtrain.checking.bound.blocks import CheckedBlocks, Life
from tmtrain.checking.walk import Gap, Walk
from tmtrain.lowering.timeline import Timeline

MOST_ROWS = 256
"""A group is cut into no more rows."""
NEARLY_ALL = 0.999
"""An input that lies to this share in units is tied to them; else part of it never leaves, and nothing is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Some pages of a storage, from last use to first need."""

    first_page: int
    pages: int
    start: int
    """Slice of the last use in forward."""
    final: int
    """Slice that made it."""
    end: int | None
    """Slice of the first need in backward; None: only recomputations read it."""
    points: tuple[int, ...]
    """Slices before which recomputations may read or make it."""
    gaps: tuple[int, ...]
    """Gaps of the step that it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitRecomputation:
    """A producer over the rows of one strip."""

    producer: int
    first: int
    end: int
    rows: int
    point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitPart:
    """Rows of a recomputation that lie in a unit."""

    unit: int
    point: int
    """Index into the unit's recompute points."""
    share: float


@dataclass(slots=True)
class Reuse:
    """Everything about recomputation that the programme speaks of."""

    units: list[Unit] = field(default_factory=list[Unit])
    free: set[int] = field(default_factory=set[int])
    """Gaps of small storages that producers make: away for nothing."""
    recomputations: list[UnitRecomputation] = field(default_factory=list[UnitRecomputation])
    impossible: set[int] = field(default_factory=set[int])
    """Recomputations that lack an input for good."""
    makes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(recomputation, unit)."""
    reads: list[tuple[int, list[UnitPart]]] = field(default_factory=list[tuple[int, list[UnitPart]]])
    chains: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(recomputation, recomputation whose result it reads)."""


def find_reuse(timeline: Timeline, walked: Walk, blocks: CheckedBlocks) -> Reuse:
    """List units, recomputations and ties of a class that recomputes."""
    return _UnitFinder(_read_storages(timeline, walked, blocks), walked, blocks).find()


@dataclass(frozen=True, slots=True, kw_only=True)
class _StorageFacts:
    """What the step says about storages and producers."""

    runs: list[list[tuple[int, int, int]]]
    """Of each storage: (extent, first page, end page)."""
    gap_of: dict[int, int]
    """Extent -> its gap from forward to backward."""
    producer_of: dict[int, int]
    """Storage -> the producer that makes it."""
    rows: list[int]
    """Of each producer."""


def _read_storages(timeline: Timeline, walked: Walk, blocks: CheckedBlocks) -> _StorageFacts:
    extents, producers = timeline.extents, timeline.producers
    storages: list[int] = extents.storage.tolist()
    runs: list[list[tuple[int, int, int]]] = [[] for _ in blocks.lives]
    columns = (storages, extents.first_page.tolist(), extents.pages.tolist())
    for extent, (storage, first, pages) in enumerate(zip(*columns, strict=True)):
        runs[storage].append((extent, first, first + pages))
    producer_of: dict[int, int] = {}
    entries = producers.op_ptr.tolist()
    for producer in range(len(producers)):
        begin, end = producers.touch_ptr[[entries[producer], entries[producer + 1]]].tolist()
        for touch in range(begin, end):
            if producers.touch_writes[touch]:
                producer_of[int(producers.touch_storage[touch])] = producer
    return _StorageFacts(
        runs=runs,
        gap_of={
            gap.extent: g
            for g, gap in enumerate(walked.gaps)
            if _is_between_phases(gap, blocks.lives[storages[gap.extent]], blocks.cuts[-1])
        },
        producer_of=producer_of,
        rows=producers.rows.tolist(),
    )


def _is_between_phases(gap: Gap, life: Life, end_of_forward: int) -> bool:
    """From forward to backward of the same step."""
    if life.needed is None or gap.start >= end_of_forward:
        return False
    last_forward = -1 if life.last_forward is None else life.last_forward
    return life.needed <= gap.end > max(gap.start, last_forward)


class _UnitFinder:
    """Lists units and recomputations; the order in which it does is that of the multipliers in the plan file."""

    def __init__(self, storages: _StorageFacts, walked: Walk, blocks: CheckedBlocks) -> None:
        self._storages, self._blocks, self._walked, self._reuse = storages, blocks, walked, Reuse()
        self._units_of: dict[int, list[int | None]] = {}
        """Storage -> its units, in order of pages; None for a strip that no gap of the step needs."""
        self._recomputations_of: dict[int, list[int]] = {}
        """Producer -> its recomputations, strip by strip."""

    def find(self) -> Reuse:
        for storage, points in self._read_across().items():
            self._add_stored(storage, sorted(points))
        for block, producers in self._blocks.producers.items():
            for group in self._groups(block, producers):
                self._add_group(block, group)
            for producer in producers:
                for strip in range(len(self._recomputations_of[producer])):
                    self._tie(block, producer, strip)
        usable = {producer for producers in self._blocks.producers.values() for producer in producers}
        for storage, producer in self._storages.producer_of.items():
            if self._blocks.lives[storage].is_small and producer in usable:
                self._reuse.free |= {
                    self._storages.gap_of[e]
                    for e, _, _ in self._storages.runs[storage]
                    if e in self._storages.gap_of
                }
        return self._reuse

    def _read_across(self) -> dict[int, set[int]]:
        """Return the storages that recomputations read row by row from outside their block, and the recompute points."""
        points: dict[int, set[int]] = {}
        for block, producers in self._blocks.producers.items():
            for producer in producers:
                for storage, follows in self._blocks.uses[producer].inputs.items():
                    if follows and not self._blocks.is_inside(storage, block):
                        points.setdefault(storage, set()).add(self._point(block))
        return points

    def _point(self, block: int) -> int:
        """Return the recompute point of a block that has producers."""
        point = self._blocks.points[block]
        assert point is not None
        return point

    def _add_stored(self, storage: int, points: list[int]) -> None:
        """Add the extents of a storage that recomputations of other blocks read."""
        life, numbers = self._blocks.lives[storage], list[int | None]()
        for extent, first, end in self._storages.runs[storage]:
            gap = self._storages.gap_of.get(extent)
            if gap is not None:
                start, back = self._walked.gaps[gap].start, self._walked.gaps[gap].end
            elif life.needed is None and life.last_forward is not None and not life.survives:
                # The step itself has no more use for it. It stays, if at all, for recomputations only.
                start, back = life.last_forward, None
            else:
                continue
            useful = tuple(point for point in points if start < point and (back is None or point <= back))
            if useful:
                gaps = () if gap is None else (gap,)
                numbers.append(self._add_unit(storage, (first, end), (start, back), useful, gaps))
        self._units_of[storage] = numbers

    def _add_unit(
        self,
        storage: int,
        run: tuple[int, int],
        span: tuple[int, int | None],
        points: tuple[int, ...],
        gaps: tuple[int, ...],
    ) -> int:
        born = self._blocks.lives[storage].born
        assert born is not None  # it has a last use
        unit = Unit(
            first_page=run[0],
            pages=run[1] - run[0],
            start=span[0],
            final=born,
            end=span[1],
            points=points,
            gaps=gaps,
        )
        self._reuse.units.append(unit)
        return len(self._reuse.units) - 1

    def _groups(self, block: int, producers: list[int]) -> list[list[int]]:
        """Part producers into groups that hand rows to one another inside the block; by first member."""
        group = {producer: {producer} for producer in producers}
        for producer in producers:
            for storage, follows in self._blocks.uses[producer].inputs.items():
                maker = self._storages.producer_of.get(storage)
                if follows and maker in group and self._blocks.is_inside(storage, block):
                    # Rows of the one are rows of the other, and so on along the chain: all of them are cut alike.
                    union = group[producer] | group[maker]
                    for member in union:
                        group[member] = union
        return [sorted(group[r]) for r in producers if r == min(group[r])]

    def _add_group(self, block: int, group: list[int]) -> None:
        point, rows = self._point(block), self._count_rows(group)
        results = [
            storage
            for producer in group
            for storage in sorted(self._blocks.uses[producer].results)
            if self._blocks.is_inside(storage, block)
        ]
        strips = self._strips(results, rows)
        for producer in group:
            self._recomputations_of[producer] = []
            for first, end in strips:
                self._recomputations_of[producer].append(len(self._reuse.recomputations))
                self._reuse.recomputations.append(
                    UnitRecomputation(producer=producer, first=first, end=end, rows=rows, point=point)
                )
        for storage in results:
            if self._blocks.lives[storage].needed is not None:
                pages = self._blocks.lives[storage].pages
                self._units_of[storage] = [
                    self._add_strip(storage, pages * a // rows, pages * b // rows, point) for a, b in strips
                ]

    def _count_rows(self, group: list[int]) -> int:
        """Return the most equal pieces that all members can be cut into, none finer than a page of a result."""
        results = [storage for producer in group for storage in self._blocks.uses[producer].results]
        most = min([MOST_ROWS, *(self._blocks.lives[storage].pages for storage in results)])
        common = gcd(*(self._storages.rows[producer] for producer in group))
        return max(rows for rows in range(1, most + 1) if common % rows == 0)

    def _strips(self, storages: list[int], rows: int) -> list[tuple[int, int]]:
        """Cut the rows at the ends of extents that are ends of rows too; all rows are one strip where that fails."""
        edges = {0, rows}
        for storage in storages:
            pages = self._blocks.lives[storage].pages
            for _, first, _ in self._storages.runs[storage]:
                row = -(-first * rows // pages)
                if pages * row // rows == first:
                    edges.add(row)
        order = sorted(edges)
        strips = list(pairwise(order))
        return strips if all(self._nest(storage, strips, rows) for storage in storages) else [(0, rows)]

    def _nest(self, storage: int, strips: list[tuple[int, int]], rows: int) -> bool:
        """Whether every extent lies in one strip, or is a whole number of strips."""
        pages = self._blocks.lives[storage].pages
        edges = {pages} | {pages * first // rows for first, _ in strips}
        return all(
            (first in edges and end in edges) or not any(first < edge < end for edge in edges)
            for _, first, end in self._storages.runs[storage]
        )

    def _add_strip(self, storage: int, first: int, end: int, point: int) -> int | None:
        gaps = tuple(
            self._storages.gap_of[extent]
            for extent, a, b in self._storages.runs[storage]
            if a < end and b > first and extent in self._storages.gap_of
        )
        if not gaps or end <= first:
            return None
        span = min(self._walked.gaps[g].start for g in gaps), max(self._walked.gaps[g].end for g in gaps)
        return self._add_unit(storage, (first, end), span, (point,), gaps)

    def _tie(self, block: int, producer: int, strip: int) -> None:
        """List what a recomputation makes, and what it reads."""
        recomputation, uses = self._recomputations_of[producer][strip], self._blocks.uses[producer]
        for storage in sorted(uses.results):
            if self._blocks.is_inside(storage, block) and storage in self._units_of:
                unit = self._units_of[storage][strip]
                if unit is not None:
                    self._reuse.makes.append((recomputation, unit))
        for storage, follows in uses.inputs.items():
            if self._blocks.is_inside(storage, block):
                self._tie_inside(recomputation, strip, storage, follows=follows)
            elif follows:
                self._tie_across(recomputation, storage)

    def _tie_inside(self, recomputation: int, strip: int, storage: int, *, follows: bool) -> None:
        """The input was made in the block: it is there, or recomputed; the same rows, or all where it does not follow."""
        producer = self._storages.producer_of.get(storage)
        makers = None if producer is None else self._recomputations_of.get(producer)
        is_same_strip = follows and makers is not None and strip < len(makers)
        if self._blocks.lives[storage].needed is not None:
            units = self._units_of.get(storage, [])
            for unit in [units[strip]] if is_same_strip and units else units:
                if unit is not None:
                    self._reuse.reads.append((recomputation, [UnitPart(unit=unit, point=0, share=1.0)]))
        elif makers is None:
            # Backward does not need it, so no unit stands for it, and nobody may run again to make it.
            self._reuse.impossible.add(recomputation)
        else:
            others = [makers[strip]] if is_same_strip else makers
            self._reuse.chains += [(recomputation, other) for other in others]

    def _tie_across(self, recomputation: int, storage: int) -> None:
        """The input comes from outside the block: its rows lie in these parts of these units."""
        rows, pages = self._reuse.recomputations[recomputation], self._blocks.lives[storage].pages
        low, high = pages * rows.first / rows.rows, pages * rows.end / rows.rows
        parts: list[UnitPart] = []
        for number in self._units_of.get(storage, []):
            if number is None:
                continue
            unit = self._reuse.units[number]
            common = min(high, unit.first_page + unit.pages) - max(low, unit.first_page)
            if common > 0 and rows.point in unit.points:
                index = unit.points.index(rows.point)
                parts.append(UnitPart(unit=number, point=index, share=common / (high - low)))
        if sum(part.share for part in parts) > NEARLY_ALL:
            self._reuse.reads.append((recomputation, parts))
