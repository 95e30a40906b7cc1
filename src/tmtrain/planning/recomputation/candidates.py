"""Which access gaps may end in a recomputation, row by row, and what each recomputation needs.

Legend
    u        unit: some rows of a storage (or one of its extents) over the gap from its last use in forward to its first
             need in backward. Keep, move or recompute is decided unit by unit
    q        recomputation: the rows of a producer that one strip of its block covers
    strip    rows between two sites where some extent of the block ends: all rows in it are alike
    point    recompute point: the slice of backward before which the recomputations of a block run, see Note [Blocks]

Note [Nested rows]
    For a row of unit u there are four possibilities, by when and how it is back. It is recomputed at the recompute point.
    It is kept all along. It is moved and fetched by a recompute point, because a recomputation reads it. Or it is moved and
    fetched when backward needs it. With

        R_q <= A_u <= P_u1 <= P_u2 <= ... <= 1        (shares of the rows)

    rows below R are recomputed and those from R to A are kept. Rows from A to P_uj are fetched by the j-th recompute point
    at which some block reads them for its recomputations. The rest is fetched when needed. Recomputation q needs the same
    rows of its inputs at its recompute point: R_q <= P_uj for stored ones, R_q <= R_q' for those that only another
    recomputation makes.

    All these constraints compare two variables each. So for every threshold between 0 and 1, "is this variable above the
    threshold?" answers them with yes or no for one row, and any solution is a mixture of such rows. The programme is
    therefore *exact* for plans that decide row by row. Cutting its shares at multiples of a row, lowest rows first, gives a
    plan in which each recomputation finds each row that it needs. Shares of totals without a common order would not.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.recomputation.ids import (
    GapId,
    ProducerId,
    RecomputationId,
    StorageId,
    StripId,
    UnitId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRange:
    """Some of the rows of a whole.

    >>> RowRange(first=2, end=3, count=4).share
    0.25
    """

    first: int
    end: int
    count: int
    """Rows of the whole."""

    @property
    def share(self) -> float:
        """Of the whole."""
        return (self.end - self.first) / self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputeUnit:
    """Some pages of a storage, from the last use in forward to the first need in backward."""

    storage: StorageId
    first_page: int
    pages: int
    final: int
    """Slice of the first write: before it there is nothing to write to flash."""
    start: int
    """Slice of the last use before."""
    end: int | None
    """Slice of the first need after; None where only recomputations read it."""
    points: tuple[int, ...]
    """Slices before which recomputations may read or make it, ascending."""
    gaps: tuple[GapId, ...]
    """Access gaps of the problem that it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StripRecomputation:
    """A producer over the rows of one strip."""

    producer: ProducerId
    rows: RowRange
    point: int
    """Slice before which it runs."""
    strip: StripId
    """Rows of one strip are rounded together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """A recomputation makes a unit."""

    recomputation: RecomputationId
    unit: UnitId


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadPart:
    """Rows of an input that lie in one unit."""

    unit: UnitId
    point: int
    """Index into the unit's recompute points."""
    share: float
    """Of the recomputation's rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRead:
    """A recomputation reads an input that lies in units."""

    reader: RecomputationId
    parts: tuple[ReadPart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainedRead:
    """A recomputation reads what only another recomputation makes."""

    reader: RecomputationId
    source: RecomputationId


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputeCandidates:
    """Units, recomputations and what ties them; by default nothing may be recomputed.

    Their order is part of plan files: the multipliers of a certificate are stored in it.
    """

    units: tuple[RecomputeUnit, ...] = ()
    """By `UnitId`."""
    recomputations: tuple[StripRecomputation, ...] = ()
    """By `RecomputationId`."""
    results: tuple[UnitResult, ...] = ()
    stored_reads: tuple[StoredRead, ...] = ()
    chained_reads: tuple[ChainedRead, ...] = ()
    impossible: frozenset[RecomputationId] = frozenset()
    """Recomputations that lack an input for good."""
    free_gaps: tuple[GapId, ...] = ()
    """Of small storages that are recomputed in passing: to the programme they are away for nothing."""

    @property
    def replaced_gaps(self) -> NDArray[np.int64]:
        """Access gaps of the problem that units stand for."""
        return np.unique(np.array([gap for unit in self.units for gap in unit.gaps], np.int64))

    @property
    def storages(self) -> NDArray[np.int64]:
        """Storages that have units, one entry per unit."""
        return np.array([unit.storage for unit in self.units], np.int64)

    @property
    def first_columns(self) -> NDArray[np.int64]:
        """Where the columns of each unit begin among those of all units, and their number, shape (units + 1,).

        A unit has one column for what stays, and one for each of its recompute points.
        """
        counts = np.array([len(unit.points) + 1 for unit in self.units], np.int64)
        return np.concatenate([[0], np.cumsum(counts)])
