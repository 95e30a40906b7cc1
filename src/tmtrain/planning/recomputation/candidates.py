"""Which gaps may end in a recomputation, row by row, and what each recomputation needs: the recompute side of the planning problem.

Legend
    u        unit: some rows of a storage (or one of its extents) over the gap from its last use in forward to its first
             need in backward; the piece about which keep, move or recompute is decided
    q        recomputation: the rows of a producer that one strip of its block covers
    strip    rows of a block between two places where some extent of it ends: all rows in it are alike
    moment   slice of backward before which the recomputations of a block run, see Note [Blocks]

Note [Nested rows]
    For a row of unit u there are four possibilities, by when and how it is back: recomputed at the moment; kept all along;
    moved and fetched by the moment, because a recomputation reads it; moved and fetched when backward needs it. With

        R_q <= A_u <= P_u1 <= P_u2 <= ... <= 1        (shares of the rows)

    rows below R are recomputed, those from R to A kept, from A to P_uj fetched by the j-th recompute point at which some block
    recomputations from it, the rest fetched when needed. Recomputation q needs the same rows of its inputs at its recompute point:
    R_q <= P_uj for stored ones, R_q <= R_q' for those that only another recomputation makes.

    All these constraints compare two variables each. So for every threshold between 0 and 1, "is this variable above the
    threshold?" answers them with yes or no for one row, and any solution is a mixture of such rows: the programme is
    *exact* for plans that decide row by row, and cutting its shares at multiples of a row, lowest rows first, gives a plan
    in which each recomputation finds each row that it needs. Shares of totals without a common order would not.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.recomputation.blocks import SMALL_BYTES, RecomputeBlocks, StorageLife

MOST_ROWS = 256
"""Finer rows round no better."""
ALL = 0.999
"""Of a recomputation's rows: more counts as all of them."""


@dataclass(slots=True)
class RecomputeCandidates:
    """Units, recomputations and what ties them; lists of columns."""

    # Units
    unit_storage: list[int] = field(default_factory=list[int])
    unit_first_page: list[int] = field(default_factory=list[int])
    unit_pages: list[int] = field(default_factory=list[int])
    unit_start: list[int] = field(default_factory=list[int])
    """Slice of the last use before."""
    unit_final: list[int] = field(default_factory=list[int])
    """Slice of the first write: before it there is nothing to write to flash."""
    unit_end: list[int] = field(default_factory=list[int])
    """Slice of the first need after; -1 where only recomputations read it."""
    unit_points: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    """Slices before which recomputations may read it, ascending."""
    unit_gaps: list[tuple[int, ...]] = field(default_factory=list[tuple[int, ...]])
    """Gaps of the problem that it stands for."""
    free_gaps: list[int] = field(default_factory=list[int])
    """Of small storages that recomputations recompute in passing: to the programme they are away for nothing."""
    # Recomputations
    recompute_producer: list[int] = field(default_factory=list[int])
    recompute_rows: list[tuple[int, int, int]] = field(default_factory=list[tuple[int, int, int]])
    """First row, end row, and the rows of the whole."""
    recompute_point: list[int] = field(default_factory=list[int])
    recompute_strip: list[int] = field(default_factory=list[int])
    """Rows of one strip are rounded together."""
    recompute_possible: list[bool] = field(default_factory=list[bool])
    # Ties
    makes: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(recomputation, unit) that it recomputes."""
    reads_units: list[tuple[int, list[tuple[int, int, float]]]] = field(
        default_factory=list[tuple[int, list[tuple[int, int, float]]]]
    )
    """(recomputation, [(unit, index of the moment, share of the recomputation's rows that lie in the unit)]) of one input."""
    reads_recomputation: list[tuple[int, int]] = field(default_factory=list[tuple[int, int]])
    """(recomputation, recomputation whose result it reads)."""

    @property
    def replaced_gaps(self) -> NDArray[np.int64]:
        """Gaps of the problem that units stand for."""
        return np.unique(np.array([g for gaps in self.unit_gaps for g in gaps], np.int64))


def find_candidates(
    timeline: Timeline, problem: Problem, *, life: StorageLife, blocks: RecomputeBlocks
) -> RecomputeCandidates:
    """Find what may be recomputed, in which pieces, from what."""
    return _CandidateFinder(timeline, problem, life, blocks).find()


def _rows(trips: int, *, most: int) -> int:
    """Return the largest divisor of `trips` up to `most`: rows finer than pages could not be cut.

    >>> _rows(16384, most=100), _rows(12, most=5), _rows(7, most=5)
    (64, 4, 1)
    """
    return max(rows for rows in range(1, most + 1) if trips % rows == 0)


class _CandidateFinder:
    def __init__(
        self, timeline: Timeline, problem: Problem, life: StorageLife, blocks: RecomputeBlocks
    ) -> None:
        self._timeline, self._life, self._blocks = timeline, life, blocks
        self._gaps = problem.gaps
        self._T = problem.num_slices
        extents = timeline.extents
        self._extents_of = np.searchsorted(extents.storage, np.arange(len(life.pages) + 1))
        self._tiny = life.pages * timeline.page_bytes < SMALL_BYTES
        self._survives = np.zeros(len(life.pages), bool)
        """Inputs and whatever else outlives the step: no operator made them, and a recomputation finds them there like weights."""
        self._survives[extents.storage] = extents.persistent
        self._target = self._target_gaps(problem)
        self._maker = np.full(len(life.pages), -1)
        producers = timeline.producers
        owner = np.repeat(np.arange(len(producers)), np.diff(producers.touch_ptr[producers.op_ptr]))
        self._maker[producers.touch_storage[producers.touch_writes]] = owner[producers.touch_writes]
        self._strips: dict[int, list[tuple[int, int]]] = {}
        self._units_of: dict[int, list[int]] = {}
        self._recomputations_of: dict[int, list[int]] = {}
        self._known_uses: dict[int, tuple[dict[int, bool], set[int]]] = {}
        self._out = RecomputeCandidates()

    def _target_gaps(self, problem: Problem) -> NDArray[np.int64]:
        """Per extent the gap that begins at its last use in forward and ends in this step's backward; -1 if none."""
        timeline, gaps = self._timeline, problem.gaps
        storage = timeline.extents.storage[gaps.extent]
        forward_end = int(self._blocks.cuts[-1])
        is_target = (
            (gaps.start < forward_end) & (gaps.end >= self._life.needed[storage]) & (gaps.end > gaps.start)
        )
        is_target &= gaps.end > self._life.last_forward[storage]
        target = np.full(len(timeline.extents), -1)
        target[gaps.extent[is_target]] = np.flatnonzero(is_target)
        return target

    def find(self) -> RecomputeCandidates:
        producers_by_block: dict[int, list[int]] = defaultdict(list)
        for producer, block in enumerate(self._blocks.of_producer.tolist()):
            if block >= 0:
                producers_by_block[block].append(producer)
        readers = self._readers_across(producers_by_block)
        for storage, found in readers.items():
            self._add_stored(storage, sorted(found))
        for block, producers in producers_by_block.items():
            self._add_block(block, producers)
        usable = [producer for producers in producers_by_block.values() for producer in producers]
        self._out.free_gaps = sorted({gap for producer in usable for gap in self._small_gaps(producer)})
        return self._out

    def _small_gaps(self, producer: int) -> list[int]:
        """Gaps of what a producer makes that is too small to be a unit."""
        table = self._timeline.producers
        touches = slice(*table.touch_ptr[table.op_ptr[[producer, producer + 1]]].tolist())
        made = set(table.touch_storage[touches][table.touch_writes[touches]].tolist())
        extents = [
            extent
            for storage in sorted(made)
            if self._tiny[storage]
            for extent in range(int(self._extents_of[storage]), int(self._extents_of[storage + 1]))
        ]
        return [int(gap) for gap in self._target[extents] if gap >= 0]

    def _uses(self, producer: int) -> tuple[dict[int, bool], set[int]]:
        """Return {input: follows the rows} and the results of a producer, tiny storages left out."""
        if producer not in self._known_uses:
            self._known_uses[producer] = self._find_uses(producer)
        return self._known_uses[producer]

    def _find_uses(self, producer: int) -> tuple[dict[int, bool], set[int]]:
        producers = self._timeline.producers
        rows = slice(
            int(producers.touch_ptr[producers.op_ptr[producer]]),
            int(producers.touch_ptr[producers.op_ptr[producer + 1]]),
        )
        storage, follows = producers.touch_storage[rows].tolist(), producers.touch_follows[rows].tolist()
        results = {s for s, w in zip(storage, producers.touch_writes[rows].tolist(), strict=True) if w}
        inputs: dict[int, bool] = {}
        for s, f in zip(storage, follows, strict=True):
            if s not in results and not self._tiny[s]:
                inputs[s] = inputs.get(s, True) and f
        return inputs, {s for s in results if not self._tiny[s]}

    def _is_inside(self, storage: int, block: int) -> bool:
        """Whether `storage` is made in `block` and used nowhere else in forward."""
        cuts = self._blocks.cuts
        made_here = not self._survives[storage] and cuts[block] <= self._life.born[storage]
        return bool(made_here and self._life.last_forward[storage] < cuts[block + 1])

    def _readers_across(self, producers_by_block: dict[int, list[int]]) -> dict[int, set[int]]:
        """Return the moments of the blocks that recomputation from each storage that is not their own."""
        readers: dict[int, set[int]] = defaultdict(set)
        for block, producers in producers_by_block.items():
            for producer in producers:
                for storage, follows in self._uses(producer)[0].items():
                    if follows and not self._is_inside(storage, block):
                        readers[storage].add(int(self._blocks.point[block]))
        return readers

    def _add_stored(self, storage: int, points: list[int]) -> None:
        """Add the units of a storage that recomputations of other blocks read: its extents."""
        extents, needed = self._timeline.extents, int(self._life.needed[storage])
        units: list[int] = []
        for extent in range(int(self._extents_of[storage]), int(self._extents_of[storage + 1])):
            gap = int(self._target[extent])
            if gap >= 0:
                start, end = int(self._gaps.start[gap]), int(self._gaps.end[gap])
                useful = tuple(m for m in points if start < m <= end)
            elif needed == self._T and self._life.last_forward[storage] >= 0 and not self._survives[storage]:
                start, end = int(self._life.last_forward[storage]), -1
                useful = tuple(m for m in points if start < m)
            else:
                continue
            if useful:
                gaps = (gap,) if gap >= 0 else ()
                extent_run = int(extents.first_page[extent]), int(extents.pages[extent])
                units.append(self._unit(storage, extent_run, start, end, useful, gaps))
        self._units_of[storage] = units

    def _add_block(self, block: int, producers: list[int]) -> None:
        point = int(self._blocks.point[block])
        for members in self._components(block, producers):
            self._add_component(block, members, point)
        for producer in producers:
            for q in self._recomputations_of[producer]:
                self._tie(block, producer, q, point)

    def _components(self, block: int, producers: list[int]) -> list[list[int]]:
        """Producers whose rows are the same rows: tied by a storage that follows the rows on both sides."""
        parent = {producer: producer for producer in producers}

        def root(producer: int) -> int:
            while parent[producer] != producer:
                parent[producer] = producer = parent[parent[producer]]
            return producer

        for producer in producers:
            for storage, follows in self._uses(producer)[0].items():
                maker = int(self._maker[storage])
                if follows and maker in parent and self._is_inside(storage, block):
                    parent[root(producer)] = root(maker)
        groups: dict[int, list[int]] = defaultdict(list)
        for producer in producers:
            groups[root(producer)].append(producer)
        return list(groups.values())

    def _add_component(self, block: int, members: list[int], point: int) -> None:
        producers = self._timeline.producers
        results = {producer: self._uses(producer)[1] for producer in members}
        pages = [int(self._life.pages[s]) for found in results.values() for s in found]
        count = _rows(int(np.gcd.reduce(producers.rows[members])), most=min([MOST_ROWS, *pages]))
        inside = [s for found in results.values() for s in sorted(found) if self._is_inside(s, block)]
        strips = self._cut_strips(inside, count)
        first_strip = len(self._out.recompute_strip)
        for producer in members:
            self._recomputations_of[producer] = []
            for number, (a, b) in enumerate(strips):
                self._recomputations_of[producer].append(len(self._out.recompute_producer))
                self._out.recompute_producer.append(producer)
                self._out.recompute_rows.append((a, b, count))
                self._out.recompute_point.append(point)
                self._out.recompute_strip.append(first_strip + number)
                self._out.recompute_possible.append(True)
        for storage in inside:
            if self._life.needed[storage] < self._T:
                self._units_of[storage] = [self._strip_unit(storage, a, b, count, point) for a, b in strips]

    def _cut_strips(self, storages: list[int], count: int) -> list[tuple[int, int]]:
        """Return the strips: rows between two extent edges of any of the storages."""
        extents, edges = self._timeline.extents, {0, count}
        for storage in storages:
            pages = int(self._life.pages[storage])
            for extent in range(int(self._extents_of[storage]) + 1, int(self._extents_of[storage + 1])):
                page = int(extents.first_page[extent])
                row = -(-page * count // pages)
                if pages * row // count == page:
                    edges.add(row)
        order = sorted(edges)
        strips = list(pairwise(order))
        return strips if all(self._nests(s, strips, count) for s in storages) else [(0, count)]

    def _nests(self, storage: int, strips: list[tuple[int, int]], count: int) -> bool:
        """Whether each extent lies within a strip or each strip it meets within it."""
        extents, pages = self._timeline.extents, int(self._life.pages[storage])
        edges = {pages * a // count for a, _ in strips} | {pages}
        for extent in range(int(self._extents_of[storage]), int(self._extents_of[storage + 1])):
            first, end = (
                int(extents.first_page[extent]),
                int(extents.first_page[extent] + extents.pages[extent]),
            )
            divided = any(first < edge < end for edge in edges)
            if divided and not (first in edges and end in edges):
                return False
        return True

    def _strip_unit(self, storage: int, a: int, b: int, count: int, point: int) -> int:
        extents, pages = self._timeline.extents, int(self._life.pages[storage])
        first, end = pages * a // count, pages * b // count
        gaps: list[int] = []
        for extent in range(int(self._extents_of[storage]), int(self._extents_of[storage + 1])):
            begins, ends = (
                int(extents.first_page[extent]),
                int(extents.first_page[extent] + extents.pages[extent]),
            )
            if begins < end and ends > first and self._target[extent] >= 0:
                gaps.append(int(self._target[extent]))
        if not gaps or end <= first:
            return -1
        start, back = int(self._gaps.start[gaps].min()), int(self._gaps.end[gaps].max())
        return self._unit(storage, (first, end - first), start, back, (point,), tuple(gaps))

    def _unit(
        self,
        storage: int,
        run: tuple[int, int],
        start: int,
        end: int,
        points: tuple[int, ...],
        gaps: tuple[int, ...],
    ) -> int:
        out = self._out
        out.unit_storage.append(storage)
        out.unit_first_page.append(run[0])
        out.unit_pages.append(run[1])
        out.unit_final.append(int(self._life.born[storage]))
        out.unit_start.append(start)
        out.unit_end.append(end)
        out.unit_points.append(points)
        out.unit_gaps.append(gaps)
        return len(out.unit_storage) - 1

    def _tie(self, block: int, producer: int, q: int, point: int) -> None:
        """Say what recomputation `q` of `producer` makes and what it needs."""
        out, place = self._out, self._recomputations_of[producer].index(q)
        inputs, results = self._uses(producer)
        for storage in sorted(results):
            if self._is_inside(storage, block) and storage in self._units_of:
                unit = self._units_of[storage][place]
                if unit >= 0:
                    out.makes.append((q, unit))
        for storage, follows in inputs.items():
            if not self._is_inside(storage, block):
                if follows:
                    self._tie_stored(q, storage, point)
                continue
            maker, alive = int(self._maker[storage]), self._life.needed[storage] < self._T
            same = (
                follows and maker in self._recomputations_of and len(self._recomputations_of[maker]) > place
            )
            if alive and storage in self._units_of:
                units = self._units_of[storage]
                for unit in [units[place]] if same else units:
                    if unit >= 0:
                        out.reads_units.append((q, [(unit, 0, 1.0)]))
            elif not alive and maker in self._recomputations_of:
                made = self._recomputations_of[maker]
                out.reads_recomputation += [(q, other) for other in ([made[place]] if same else made)]
            elif not alive:
                out.recompute_possible[q] = False

    def _tie_stored(self, q: int, storage: int, point: int) -> None:
        """Tie recomputation `q` to the extents of a storage from outside its block; one that never leaves ties nothing."""
        out = self._out
        a, b, count = out.recompute_rows[q]
        low, high = (int(self._life.pages[storage]) * row / count for row in (a, b))
        parts: list[tuple[int, int, float]] = []
        for unit in self._units_of.get(storage, []):
            begins, points = out.unit_first_page[unit], out.unit_points[unit]
            overlap = min(high, begins + out.unit_pages[unit]) - max(low, begins)
            if overlap > 0 and point in points:
                parts.append((unit, points.index(point), overlap / (high - low)))
        if sum(share for *_, share in parts) > ALL:
            out.reads_units.append((q, parts))
