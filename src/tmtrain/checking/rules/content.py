"""Whether each replay makes the bits of the first run, row by row, and spoils nothing.

The step is followed slice by slice, with the replays where the plan puts them. A replay may read rows of a storage only
while they hold the content that the operator's first run found; what it makes has the version of the first run. Every slice
of the step itself that reads a storage of which a replay made some must find the version that it found without replays.

Taken for granted: an operator with the same inputs gives the same bits (`tmtrain.lowering.producers` leaves out those that do
not), for random ones from the generator state of the first run, which whoever runs the plan has to keep. Rows fill pages
in the same ratio everywhere, as in `tmtrain.lowering.recomputation`.
"""

from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

from tmtrain.checking.findings import Findings
from tmtrain.checking.rules.rows import ALL, LOST, Rows, RowVersions, version_before
from tmtrain.checking.walk import Walk
from tmtrain.lowering import Replays, Timeline
from tmtrain.trace import Role, Trace


class Replay(NamedTuple):
    """A row of `tmtrain.lowering.Replays`, and its number."""

    row: int
    recipe: int
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
    """One operator of a recipe touching one storage."""

    storage: int
    reads: bool
    writes: bool
    follows: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RecipeBook:
    """The recipes as lists, and who writes what in the step."""

    ops: list[list[int]]
    touches: list[list[list[RowTouch]]]
    """Of each recipe, of each of its operators."""
    writers: list[list[int]]
    """Operators that write each storage."""


def read_recipes(trace: Trace, timeline: Timeline) -> RecipeBook:
    """Turn the columns of the recipes into lists."""
    recipes, operands = timeline.recipes, trace.operands
    rows = [
        RowTouch(*values)
        for values in zip(
            recipes.touch_storage.tolist(), recipes.touch_reads.tolist(), recipes.touch_writes.tolist(),
            recipes.touch_follows.tolist(), strict=True,
        )
    ]  # fmt: skip
    per_entry = [rows[a:b] for a, b in pairwise(recipes.touch_ptr.tolist())]
    ops, bounds = recipes.op.tolist(), recipes.op_ptr.tolist()
    writers: list[list[int]] = [[] for _ in range(len(trace.storages))]
    for op, storage, writes in zip(
        operands.op.tolist(), operands.storage.tolist(), operands.writes.tolist(), strict=True
    ):
        if writes and (not writers[storage] or writers[storage][-1] != op):
            writers[storage].append(op)
    return RecipeBook(
        ops=[ops[a:b] for a, b in pairwise(bounds)],
        touches=[per_entry[a:b] for a, b in pairwise(bounds)],
        writers=writers,
    )


def sound_replays(timeline: Timeline, replays: Replays, *, found: Findings) -> list[Replay]:
    """Read the replays; note those that are none."""
    columns = (replays.recipe, replays.before_slice, replays.first_row, replays.end_row, replays.rows)
    count, T = len(timeline.recipes), len(timeline.slices)
    sound: list[Replay] = []
    latest = 0
    for row, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
        replay = Replay(row, *values)
        if not (0 <= replay.recipe < count and 0 <= replay.before < T):
            where = f"replay {row} runs recipe {replay.recipe} of {count} before slice {replay.before} of {T}"
            found.add("replay", where, 1, "replays")
        elif not 0 <= replay.first < replay.end <= replay.rows:
            where = f"replay {row} makes rows {replay.first} to {replay.end} of {replay.rows}"
            found.add("replay", where, max(replay.end - replay.rows, 1), "rows")
        elif int(timeline.recipes.rows[replay.recipe]) % replay.rows and not replay.is_whole:
            where = f"replay {row} cuts {timeline.recipes.rows[replay.recipe]} rows into {replay.rows}"
            found.add("replay", where, 1, "rows")
        elif replay.before < latest:
            where = (
                f"replay {row} runs before slice {replay.before}, after one that runs before slice {latest}"
            )
            found.add("replay", where, latest - replay.before, "slices")
        else:
            sound.append(replay)
            latest = replay.before
    return sound


def check_content(
    trace: Trace,
    timeline: Timeline,
    walked: Walk,
    book: RecipeBook,
    replays: list[Replay],
    *,
    found: Findings,
) -> None:
    """Follow the step and its replays; note what is read or left behind with the wrong content in `found`."""
    for recipe in sorted({replay.recipe for replay in replays}):
        _check_recipe(trace, book, recipe, found=found)
    _Follower(timeline, walked, book, replays, found).follow()


def _check_recipe(trace: Trace, book: RecipeBook, recipe: int, *, found: Findings) -> None:
    """The recipe must know of every byte that its operators touch; buffers kept up to date on the side apart."""
    operands = trace.operands
    for op, touches in zip(book.ops[recipe], book.touches[recipe], strict=True):
        known = {touch.storage for touch in touches}
        low, high = operands.op.searchsorted([op, op + 1]).tolist()
        for row in range(low, high):
            storage = int(operands.storage[row])
            is_aside = bool(operands.writes[row]) and trace.storages.role[storage] == Role.BUFFER
            touched = bool(operands.reads[row] or operands.writes[row])
            if touched and storage not in known and not is_aside and operands.span_bytes[row]:
                where = (
                    f"recipe {recipe} leaves out that operator {op} touches {trace.storages.name[storage]}"
                )
                found.add("replay", where, int(operands.span_bytes[row]), "bytes")


class _Follower:
    """Walks the step once; holds what replays have left behind."""

    def __init__(
        self, timeline: Timeline, walked: Walk, book: RecipeBook, replays: list[Replay], found: Findings
    ) -> None:
        self._walked, self._book, self._found = walked, book, found
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
        self._due: dict[int, list[Replay]] = defaultdict(list)
        for replay in replays:
            self._due[replay.before].append(replay)
        self._versions: dict[int, RowVersions] = {}
        self._begun: dict[int, int] = {}
        """Storage -> the moment at which a replay last made some of it."""

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
            for replay in self._due.get(t, []):
                self._replay(replay)
            if self._versions:
                self._run(t)
        self._end()

    def _run(self, t: int) -> None:
        """Run a slice of the step itself: what replays left must be what it found without them."""
        op = self._op[t]
        for extent, access in self._walked.touched[t]:
            versions = self._versions.get(self._storage[extent])
            if versions is None:
                continue
            writers, rows = self._book.writers[self._storage[extent]], self._rows_of(extent)
            if access.needs:
                expected = {version_before(writers, op), version_before(writers, op + 1)}
                for begin, end, version in versions.of(rows):
                    if version is not None and version not in expected:
                        where = (
                            f"slice {t} reads rows {begin} to {end} of storage {self._storage[extent]}, where a replay "
                            f"left {_named(version)} instead of {_named(version_before(writers, op))}"
                        )
                        self._found.add("content", where, float(end - begin), "of the storage")
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
                    where = f"the next step finds rows {begin} to {end} of storage {storage} as a replay left them"
                    self._found.add("content", where, float(end - begin), "of the storage")

    def _rows_of(self, extent: int) -> Rows:
        first, pages = self._first_page[extent], self._pages[self._storage[extent]]
        return Fraction(first, pages), Fraction(first + self._extent_pages[extent], pages)

    def _replay(self, replay: Replay) -> None:
        for op, touches in zip(self._book.ops[replay.recipe], self._book.touches[replay.recipe], strict=True):
            if self._last_slice.get(op, -1) >= replay.before:
                late = self._last_slice[op] + 1 - replay.before
                where = f"replay {replay.row} runs operator {op} before slice {replay.before}, ahead of its first run"
                self._found.add("replay-input", where, late, "slices")
            for touch in touches:
                self._look(replay, op, touch)
            for touch in touches:
                if touch.writes:
                    self._make(replay, op, touch.storage, follows=touch.follows)

    def _look(self, replay: Replay, op: int, touch: RowTouch) -> None:
        """Check that the rows that `op` reads hold what its first run found."""
        writers = self._book.writers[touch.storage]
        keeps_own = (
            op in writers and not touch.writes
        )  # statistics: the replay begins after the pass that makes them
        wanted = version_before(writers, op + 1 if keeps_own else op)
        if not touch.reads and (wanted < 0 or writers[wanted] not in self._book.ops[replay.recipe]):
            return  # makes it from nothing
        if self._is_left_alone(replay, touch.storage, follows=touch.follows) and op in writers:
            return
        rows = replay.share if touch.follows else ALL
        now = self._version_in_step(touch.storage, replay.before)
        versions = self._versions.get(touch.storage)
        stretches = [(*rows, None)] if versions is None else versions.of(rows)
        for begin, end, version in stretches:
            there = now if version is None else version
            if there != wanted:
                where = (
                    f"replay {replay.row} of operator {op} before slice {replay.before} needs {_named(wanted)} of storage "
                    f"{touch.storage} in rows {begin} to {end}, where there is {_named(there)}"
                )
                self._found.add("replay-input", where, float(end - begin), "of the storage")

    def _version_in_step(self, storage: int, before: int) -> int:
        """Return what the step itself has left in `storage` when slice `before` begins."""
        count = 0
        for op in self._book.writers[storage]:
            if self._first_slice.get(op, -1) >= before:
                break
            count += 1
        return count - 1

    def _make(self, replay: Replay, op: int, storage: int, *, follows: bool) -> None:
        """Note what `op` leaves; where pages cannot be cut along rows, what the other rows of them held is gone."""
        if self._is_left_alone(replay, storage, follows=follows):
            return
        version = self._book.writers[storage].index(op)
        is_cut = follows and not replay.is_whole
        if is_cut and self._pages[storage] < replay.rows and self._begun.get(storage) != replay.before:
            self._version_of(storage).set(ALL, LOST)
        self._version_of(storage).set(replay.share if is_cut else ALL, version)
        self._begun[storage] = replay.before

    def _is_left_alone(self, replay: Replay, storage: int, *, follows: bool) -> bool:
        """A storage that pages do not cut along rows, and that is still as the step left it, is not made again."""
        indivisible = follows and not replay.is_whole and self._pages[storage] < replay.rows
        return indivisible and self._needed_until[storage] >= replay.before

    def _version_of(self, storage: int) -> RowVersions:
        return self._versions.setdefault(storage, RowVersions())


def _named(version: int) -> str:
    if version == LOST:
        return "nothing"
    return "what the step began with" if version < 0 else f"version {version}"
