"""What is found so far: the order of finding numbers units and recomputations."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tmtrain.planning.recomputation.candidates import (
    ChainedRead,
    RecomputeCandidates,
    RecomputeUnit,
    RowRange,
    StoredRead,
    StripRecomputation,
    UnitResult,
)
from tmtrain.planning.recomputation.ids import (
    GapId,
    ProducerId,
    RecomputationId,
    StorageId,
    StripId,
    UnitId,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputationTies:
    """What one recomputation makes and needs."""

    results: tuple[UnitResult, ...]
    stored_reads: tuple[StoredRead, ...]
    chained_reads: tuple[ChainedRead, ...]
    is_possible: bool
    """No input is lacking for good."""


@dataclass(slots=True, kw_only=True)
class CandidateDraft:
    """Grows by units, recomputations and ties; then `finish`."""

    _units: list[RecomputeUnit] = field(default_factory=list[RecomputeUnit])
    _recomputations: list[StripRecomputation] = field(default_factory=list[StripRecomputation])
    _ties: list[tuple[RecomputationId, RecomputationTies]] = field(
        default_factory=list[tuple[RecomputationId, RecomputationTies]]
    )
    _units_of: dict[StorageId, list[UnitId | None]] = field(
        default_factory=dict[StorageId, list[UnitId | None]]
    )
    _recomputations_of: dict[ProducerId, list[RecomputationId]] = field(
        default_factory=dict[ProducerId, list[RecomputationId]]
    )

    def add_units(self, storage: StorageId, units: Iterable[RecomputeUnit | None]) -> None:
        """Add the units of a storage, in order of pages; None stands for pages that have none."""
        numbers: list[UnitId | None] = []
        for unit in units:
            numbers.append(None if unit is None else UnitId(len(self._units)))
            if unit is not None:
                self._units.append(unit)
        self._units_of[storage] = numbers

    def add_recomputations(
        self, producers: Iterable[ProducerId], strips: Iterable[RowRange], *, point: int
    ) -> None:
        """Add a recomputation of each producer of a group for each strip of its rows."""
        # The group's first recomputations number its strips: unique, for there are as many of them as strips.
        first_strip, rows = len(self._recomputations), list(strips)
        for producer in producers:
            first = len(self._recomputations)
            self._recomputations += [
                StripRecomputation(
                    producer=producer, rows=strip, point=point, strip=StripId(first_strip + number)
                )
                for number, strip in enumerate(rows)
            ]
            self._recomputations_of[producer] = [RecomputationId(first + i) for i in range(len(rows))]

    def add_ties(self, recomputation: RecomputationId, ties: RecomputationTies) -> None:
        """Say what a recomputation makes and needs."""
        self._ties.append((recomputation, ties))

    def recomputation(self, number: RecomputationId) -> StripRecomputation:
        """Return a recomputation."""
        return self._recomputations[number]

    def unit(self, number: UnitId) -> RecomputeUnit:
        """Return a unit."""
        return self._units[number]

    def units_of(self, storage: StorageId) -> list[UnitId | None] | None:
        """Return the units of a storage, None among them for pages without; None if it was not asked for so far."""
        return self._units_of.get(storage)

    def recomputations_of(self, producer: ProducerId | None) -> list[RecomputationId] | None:
        """Return the recomputations of a producer, strip by strip; None if it has none so far."""
        return None if producer is None else self._recomputations_of.get(producer)

    def finish(self, *, free_gaps: tuple[GapId, ...]) -> RecomputeCandidates:
        """Return all that was found."""
        ties = [ties for _, ties in self._ties]
        return RecomputeCandidates(
            units=tuple(self._units),
            recomputations=tuple(self._recomputations),
            results=tuple(result for tie in ties for result in tie.results),
            stored_reads=tuple(read for tie in ties for read in tie.stored_reads),
            chained_reads=tuple(read for tie in ties for read in tie.chained_reads),
            impossible=frozenset(number for number, tie in self._ties if not tie.is_possible),
            free_gaps=free_gaps,
        )
