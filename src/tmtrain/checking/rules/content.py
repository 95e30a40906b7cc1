"""Whether each recomputation makes the bits of the first run, row by row, and spoils nothing.

The step is followed slice by slice, with the recomputations where the plan puts them. A recomputation may read rows of a
storage only while they hold the content that the operator's first run saw. What it makes has the version of the first run.
Every slice of the step itself that reads a storage which recomputations wrote must see the version that it would see
without them.

Taken for granted: an operator with the same inputs gives the same bits (`tmtrain.lowering.producers` leaves out those that
do not). A random one does so from the generator state of its first run, which whoever runs the plan has to keep. Rows fill
pages in the same ratio everywhere, as in `tmtrain.lowering.recomputation`.
"""

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from tmtrain.checking.findings import Findings
from tmtrain.checking.rules.rows import ALL, LOST, Rows, RowVersions, version_before
from tmtrain.checking.walk import Walk
from tmtrain.lowering import Recomputations, Timeline
from tmtrain.trace import Role, Trace


class Recomputation(NamedTuple):
    """A row of `tmtrain.lowering.Recomputations`, and its number."""

    row: int
    producer: int
    before: int
    first: int
    end: int
    rows: int

    @property
    def is_whole(self) -> bool:
        """All rows."""
        return self.end - self.first == self.rows

    @property
    def share(self) -> Rows:
        """Which rows, as fractions."""
        return Fraction(self.first, self.rows), Fraction(self.end, self.rows)


class RowTouch(NamedTuple):
    """One operator of a producer touching one storage."""

    storage: int
    reads: bool
    writes: bool
    follows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerBook:
    """The producers as lists, and who writes what in the step."""

    ops: list[list[int]]
    touches: list[list[list[RowTouch]]]
    """Of each producer, of each of its operators."""
    writers: list[list[int]]
    """Operators that write each storage."""


def read_producers(trace: Trace, timeline: Timeline) -> ProducerBook:
    """Turn the columns of the producers into lists."""
    producers, operands = timeline.producers, trace.operands
    columns = (
        producers.touch_storage,
        producers.touch_reads,
        producers.touch_writes,
        producers.touch_follows,
    )
    rows = [RowTouch(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
    per_entry = [rows[a:b] for a, b in pairwise(producers.touch_ptr.tolist())]
    ops, bounds = producers.op.tolist(), producers.op_ptr.tolist()
    writers: list[list[int]] = [[] for _ in range(len(trace.storages))]
    for op, storage, writes in zip(
        operands.op.tolist(), operands.storage.tolist(), operands.writes.tolist(), strict=True
    ):
        if writes and (not writers[storage] or writers[storage][-1] != op):
            writers[storage].append(op)
    return ProducerBook(
        ops=[ops[a:b] for a, b in pairwise(bounds)],
        touches=[per_entry[a:b] for a, b in pairwise(bounds)],
        writers=writers,
    )


def sound_recomputations(
    timeline: Timeline, recomputations: Recomputations, *, findings: Findings
) -> list[Recomputation]:
    """Read the recomputations; note those that are none."""
    columns = (
        recomputations.producer,
        recomputations.before_slice,
        recomputations.first_row,
        recomputations.end_row,
        recomputations.rows,
    )
    sound: list[Recomputation] = []
    latest = 0
    for row, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        recomputation = Recomputation(row, *values)
        if _is_sound(recomputation, timeline, latest=latest, findings=findings):
            sound.append(recomputation)
            latest = recomputation.before
    return sound


def _is_sound(recomputation: Recomputation, timeline: Timeline, *, latest: int, findings: Findings) -> bool:
    """Check a recomputation by itself; `latest` is the slice that the one before it runs before."""
    row, producer, before, first, end, rows = recomputation
    count, T = len(timeline.producers), len(timeline.slices)
    if not (0 <= producer < count and 0 <= before < T):
        where = f"recomputation {row} runs producer {producer} of {count} before slice {before} of {T}"
        findings.add("recomputation", where, 1, "recomputations")
    elif not 0 <= first < end <= rows:
        where = f"recomputation {row} makes rows {first} to {end} of {rows}"
        findings.add("recomputation", where, max(end - rows, 1), "rows")
    elif int(timeline.producers.rows[producer]) % rows and not recomputation.is_whole:
        where = f"recomputation {row} cuts {timeline.producers.rows[producer]} rows into {rows}"
        findings.add("recomputation", where, 1, "rows")
    elif before < latest:
        where = f"recomputation {row} runs before slice {before}, after one that runs before slice {latest}"
        findings.add("recomputation", where, latest - before, "slices")
    else:
        return True
    return False


def check_content(
    trace: Trace,
    timeline: Timeline,
    walked: Walk,
    book: ProducerBook,
    recomputations: list[Recomputation],
    *,
    findings: Findings,
) -> None:
    """Follow the step and its recomputations; note what is read, or left behind, with the wrong content."""
    for producer in sorted({recomputation.producer for recomputation in recomputations}):
        _check_producer(trace, book, producer, findings=findings)
    _ContentWalk(timeline, walked, book, recomputations, findings).follow()


def _check_producer(trace: Trace, book: ProducerBook, producer: int, *, findings: Findings) -> None:
    """The producer must know of every byte that its operators touch; buffers kept up to date on the side apart."""
    operands = trace.operands
    for op, touches in zip(book.ops[producer], book.touches[producer], strict=True):
        known = {touch.storage for touch in touches}
        low, high = operands.op.searchsorted([op, op + 1]).tolist()
        for row in range(low, high):
            storage = int(operands.storage[row])
            is_aside = bool(operands.writes[row]) and trace.storages.role[storage] == Role.BUFFER
            touched = bool(operands.reads[row] or operands.writes[row])
            if touched and storage not in known and not is_aside and operands.span_bytes[row]:
                where = f"producer {producer} leaves out that operator {op} touches {trace.storages.name[storage]}"
                findings.add("recomputation", where, int(operands.span_bytes[row]), "bytes")


class _ContentWalk:
    """Walks the step once; holds what recomputations have left behind."""

    def __init__(
        self,
        timeline: Timeline,
        walked: Walk,
        book: ProducerBook,
        recomputations: list[Recomputation],
        findings: Findings,
    ) -> None:
        self._walked, self._book, self._findings = walked, book, findings
        self._op: list[int] = timeline.slices.op.tolist()
        self._first_slice: dict[int, int] = {}
        self._last_slice: dict[int, int] = {}
        for t, op in enumerate(self._op):
            self._first_slice.setdefault(op, t)
            self._last_slice[op] = t
        extents = timeline.extents
        self._storage: list[int] = extents.storage.tolist()
        self._first_page: list[int] = extents.first_page.tolist()
        self._extent_pages: list[int] = extents.pages.tolist()
        self._pages: dict[int, int] = defaultdict(int)
        for storage, pages in zip(self._storage, self._extent_pages, strict=True):
            self._pages[storage] += pages
        self._needed_until = self._last_needs()
        self._due: dict[int, list[Recomputation]] = defaultdict(list)
        for recomputation in recomputations:
            self._due[recomputation.before].append(recomputation)
        self._versions: dict[int, RowVersions] = {}
        """Of the storages that recomputations have written; all others are as the step left them."""
        self._recomputed_before: dict[int, int] = {}
        """Storage -> the slice before which a recomputation last made some of it."""

    def _last_needs(self) -> dict[int, int]:
        """Return the last slice that needs each storage; the number of slices where the next step does."""
        last: dict[int, int] = defaultdict(lambda: -1)
        for extent, accesses in enumerate(self._walked.accesses):
            storage = self._storage[extent]
            needing = [access.slice for access in accesses if access.needs]
            if accesses and accesses[0].needs:  # at the start of the next step
                needing.append(self._walked.num_slices)
            last[storage] = max([last[storage], *needing])
        return last

    def follow(self) -> None:
        for t in range(self._walked.num_slices):
            for recomputation in self._due.get(t, []):
                self._recompute(recomputation)
            if self._versions:  # until something was recomputed, everything is as it was
                self._run(t)
        self._end()

    def _run(self, t: int) -> None:
        """Run a slice of the step itself: what recomputations left must be what it would see without them."""
        op = self._op[t]
        for extent, access in self._walked.touched[t]:
            versions = self._versions.get(self._storage[extent])
            if versions is None:
                continue
            writers, rows = self._book.writers[self._storage[extent]], self._rows_of(extent)
            if access.needs:
                # An operator in several slices may read what it has written itself: before it or after it, both are right.
                expected = {version_before(writers, op), version_before(writers, op + 1)}
                for begin, end, version in versions.of(rows):
                    if version is not None and version not in expected:
                        rows_read = f"rows {begin} to {end} of storage {self._storage[extent]}"
                        where = (
                            f"slice {t} reads {rows_read}, where a recomputation left {_named(version)} instead of "
                            f"{_named(version_before(writers, op))}"
                        )
                        self._findings.add("content", where, float(end - begin), "of the storage")
            if access.writes:
                versions.set(rows, None)

    def _end(self) -> None:
        """What the next step needs must be as the step itself leaves it."""
        for extent, accesses in enumerate(self._walked.accesses):
            storage = self._storage[extent]
            if storage not in self._versions or not accesses or not accesses[0].needs:
                continue
            last = len(self._book.writers[storage]) - 1
            for begin, end, version in self._versions[storage].of(self._rows_of(extent)):
                if version not in (None, last):
                    where = f"the next step finds rows {begin} to {end} of storage {storage} as a recomputation left them"
                    self._findings.add("content", where, float(end - begin), "of the storage")

    def _rows_of(self, extent: int) -> Rows:
        first, pages = self._first_page[extent], self._pages[self._storage[extent]]
        return Fraction(first, pages), Fraction(first + self._extent_pages[extent], pages)

    def _recompute(self, recomputation: Recomputation) -> None:
        producer, before = recomputation.producer, recomputation.before
        for op, touches in zip(self._book.ops[producer], self._book.touches[producer], strict=True):
            if self._last_slice.get(op, -1) >= before:
                late = self._last_slice[op] + 1 - before
                name = f"recomputation {recomputation.row} runs operator {op} before slice {before}"
                where = f"{name}, ahead of its first run"
                self._findings.add("recomputation-input", where, late, "slices")
            # All operands are read before any is written: an operator in place sees its own input.
            for touch in touches:
                self._look(recomputation, op, touch)
            for touch in touches:
                if touch.writes:
                    self._make(recomputation, op, touch.storage, follows=touch.follows)

    def _look(self, recomputation: Recomputation, op: int, touch: RowTouch) -> None:
        """Check that the rows that `op` reads hold what its first run saw."""
        writers = self._book.writers[touch.storage]
        # Statistics: the recomputation begins after the pass that makes them, and reads what the operator itself left.
        keeps_own = op in writers and not touch.writes
        wanted = version_before(writers, op + 1 if keeps_own else op)
        # It overwrites the storage: what was there matters only where an operator of the producer made it before.
        if not touch.reads and (wanted < 0 or writers[wanted] not in self._book.ops[recomputation.producer]):
            return
        # A result that is there still is not recomputed, so it is not worked on either.
        if self._is_left_alone(recomputation, touch.storage, follows=touch.follows) and op in writers:
            return
        rows = recomputation.share if touch.follows else ALL
        now = self._version_in_step(touch.storage, recomputation.before)
        versions = self._versions.get(touch.storage)
        stretches = [(*rows, None)] if versions is None else versions.of(rows)
        for begin, end, version in stretches:
            there = now if version is None else version
            if there != wanted:
                name = (
                    f"recomputation {recomputation.row} of operator {op} before slice {recomputation.before}"
                )
                where = (
                    f"{name} needs {_named(wanted)} of storage {touch.storage} in rows {begin} to {end}, where there is "
                    f"{_named(there)}"
                )
                self._findings.add("recomputation-input", where, float(end - begin), "of the storage")

    def _version_in_step(self, storage: int, before: int) -> int:
        """Return what the step itself has left in `storage` when slice `before` begins."""
        count = 0
        for op in self._book.writers[storage]:
            if self._first_slice.get(op, -1) >= before:
                break
            count += 1
        return count - 1

    def _make(self, recomputation: Recomputation, op: int, storage: int, *, follows: bool) -> None:
        """Note what `op` leaves; where pages cannot be cut along rows, what the other rows of them held is gone."""
        if self._is_left_alone(recomputation, storage, follows=follows):
            return
        version = self._book.writers[storage].index(op)
        is_cut = follows and not recomputation.is_whole
        is_begun = self._recomputed_before.get(storage) == recomputation.before
        # A page of several rows is brought into being whole, by the first of the recomputations at this recompute point.
        if is_cut and self._pages[storage] < recomputation.rows and not is_begun:
            self._version_of(storage).set(ALL, LOST)
        self._version_of(storage).set(recomputation.share if is_cut else ALL, version)
        self._recomputed_before[storage] = recomputation.before

    def _is_left_alone(self, recomputation: Recomputation, storage: int, *, follows: bool) -> bool:
        """A storage that pages do not cut along rows, and that is still as the step left it, is not recomputed."""
        indivisible = follows and not recomputation.is_whole and self._pages[storage] < recomputation.rows
        return indivisible and self._needed_until[storage] >= recomputation.before

    def _version_of(self, storage: int) -> RowVersions:
        return self._versions.setdefault(storage, RowVersions())


def _named(version: int) -> str:
    if version == LOST:
        return "nothing"
    return "what the step began with" if version < 0 else f"version {version}"
