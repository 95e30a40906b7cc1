"""w: the pages written to flash, [Dirty] and [Wear], and when they become final and leave."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.problem.problem import Gaps
from tmtrain.planning.programme.formulation.moves import MoveFamily
from tmtrain.planning.programme.formulation.scale import ModelScale
from tmtrain.planning.programme.formulation.stretches import ColumnStretch, stretch
from tmtrain.planning.programme.formulation.units import UnitFamily
from tmtrain.planning.programme.programme import Programme
from tmtrain.planning.recomputation.candidates import RecomputeCandidates

PATIENCE = (0.01, 0.1)
"""Shares of the step that part the classes of Note [Patience]: what leaves at once, soon, or late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueuedWrites:
    """Columns that say how much has to be written, and when."""

    columns: NDArray[np.int64]
    sign: float
    final: NDArray[np.int64]
    """Slice of the last write: from then on the pages may be written to flash."""
    waiting: ColumnStretch
    """Over which slices they are still counted as present."""
    patience: NDArray[np.int64]
    """Class of each column, see Note [Patience]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteFamily:
    """w of the epochs, and of what is written for recomputations alone."""

    columns: NDArray[np.int64]
    """What is written in a step, in all."""
    queued: tuple[QueuedWrites, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _DirtyGaps:
    """Gaps over which flash does not hold the content, in order of epochs and then of time."""

    gaps: NDArray[np.int64]
    final: NDArray[np.int64]
    since: NDArray[np.int64]
    """Slices from the last write to the start of the gap."""
    is_later: NDArray[np.bool_]
    """Not the first one of its epoch."""
    is_last: NDArray[np.bool_]
    """Of its epoch."""


def add_writes(
    programme: Programme,
    scale: ModelScale,
    gaps: Gaps,
    *,
    moves: MoveFamily,
    units: UnitFamily,
    candidates: RecomputeCandidates,
) -> WriteFamily:
    """Add w and [Dirty].

    One column per gap: pages written by its start, growing from gap to gap of an epoch; the last one is w_e.
    """
    dirty = _find_dirty(scale, gaps, moves, candidates)
    written = programme.add_columns(
        "written",
        len(dirty.gaps),
        upper=gaps.pages[dirty.gaps] / scale.page_unit,
        cost=np.where(dirty.is_last, scale.price_out, 0.0),
        nudge=np.where(dirty.is_last, scale.tie_break, 0.0),
    )
    later = written[dirty.is_later]
    rows = programme.add_rows("written before", len(later), lower=0.0, upper=np.inf)
    programme.put(rows, later, 1.0)
    programme.put(rows, later - 1, -1.0)
    column_of = np.full(len(gaps), -1)
    column_of[dirty.gaps] = written
    _add_dirty(programme, column_of, moves)
    _add_unit_dirty(programme, column_of, units, candidates)
    own, queued = _add_loose_writes(programme, scale, units, candidates)
    return WriteFamily(
        columns=np.concatenate([written[dirty.is_last], own]),
        queued=(*_queue(scale, dirty, written), queued),
    )


def add_wear(
    programme: Programme, scale: ModelScale, writes: WriteFamily, *, write_budget_bytes: float
) -> None:
    """[Wear]: what a step writes is within the budget."""
    rows = programme.add_rows("wear", 1, lower=-np.inf, upper=write_budget_bytes / scale.unit_bytes)
    programme.put(rows, writes.columns, 1.0)


def _find_dirty(
    scale: ModelScale, gaps: Gaps, moves: MoveFamily, candidates: RecomputeCandidates
) -> _DirtyGaps:
    chosen = np.unique(np.concatenate([moves.gaps, candidates.replaced_gaps]))
    chosen = chosen[gaps.epoch[chosen] >= 0]
    final = gaps.last_write[chosen].astype(np.int64)
    # The content may be of the step before: time is counted on from its last write.
    since = (gaps.start[chosen] - final) % scale.num_slices
    order = np.lexsort((since, gaps.epoch[chosen]))
    chosen, final, since = chosen[order], final[order], since[order]
    return _DirtyGaps(
        gaps=chosen,
        final=final,
        since=since,
        is_later=np.diff(gaps.epoch[chosen], prepend=-1) == 0,
        is_last=np.diff(gaps.epoch[chosen], append=-1) != 0,
    )


def _queue(
    scale: ModelScale, dirty: _DirtyGaps, written: NDArray[np.int64]
) -> tuple[QueuedWrites, QueuedWrites]:
    """Return when what is written becomes final and leaves: a gap adds what is written more than before it."""
    num_slices = scale.num_slices
    leaves = dirty.final + dirty.since
    patience = _patience(scale, dirty.final, leaves)

    def queue(columns: NDArray[np.int64], chosen: NDArray[np.bool_], sign: float) -> QueuedWrites:
        final, end = dirty.final[chosen], leaves[chosen] + 1  # there until slice `leaves` has run
        return QueuedWrites(
            columns=columns,
            sign=sign,
            final=final,
            waiting=stretch(columns, final, end % num_slices, wraps=end >= num_slices, factor=sign),
            patience=patience[chosen],
        )

    every = np.ones(len(written), bool)
    return queue(written, every, 1.0), queue(written[dirty.is_later] - 1, dirty.is_later, -1.0)


def _patience(scale: ModelScale, final: NDArray[np.int64], leaves: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the class of what is final after slice `final` and leaves after `leaves`, which may lie in the next step."""
    steps = leaves // scale.num_slices - final // scale.num_slices
    bins = scale.bin_of(leaves) - scale.bin_of(final) + steps * scale.num_bins
    return np.searchsorted(np.array(PATIENCE) * scale.num_bins, bins, side="left")


def _add_dirty(programme: Programme, column_of: NDArray[np.int64], moves: MoveFamily) -> None:
    """[Dirty] of gaps: what a gap moves is written by its start."""
    dirty = np.flatnonzero(column_of[moves.gaps] >= 0)
    rows = programme.add_rows("dirty", len(dirty), lower=0.0, upper=np.inf)
    programme.put(rows, column_of[moves.gaps[dirty]], 1.0)
    programme.put(rows, moves.columns[dirty], -1.0)


def _add_unit_dirty(
    programme: Programme, column_of: NDArray[np.int64], units: UnitFamily, candidates: RecomputeCandidates
) -> None:
    """[Dirty] of units: what is neither kept nor recomputed is written by then."""
    # Several units may share a gap, or one may have several: one row for all that have the same.
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, unit in enumerate(candidates.units):
        if unit.gaps and (column_of[list(unit.gaps)] >= 0).all():
            groups[unit.gaps].append(number)
    sizes = np.array([float(units.sizes[members].sum()) for members in groups.values()])
    rows = programme.add_rows("unit dirty", len(groups), lower=sizes, upper=np.inf)
    for row, (gaps, members) in zip(rows.tolist(), groups.items(), strict=True):
        programme.put(row, column_of[list(gaps)], 1.0)
        programme.put(row, units.stays[members], 1.0)


def _add_loose_writes(
    programme: Programme, scale: ModelScale, units: UnitFamily, candidates: RecomputeCandidates
) -> tuple[NDArray[np.int64], QueuedWrites]:
    """Add what is written for recomputations alone: units that are away only until these read them."""
    loose = np.array([u for u, unit in enumerate(candidates.units) if not unit.gaps], np.int64)
    own = programme.add_columns(
        "written for recomputations",
        len(loose),
        upper=units.sizes[loose],
        cost=scale.price_out,
        nudge=scale.tie_break,
    )
    rows = programme.add_rows("loose dirty", len(loose), lower=0.0, upper=np.inf)
    programme.put(rows, own, 1.0)
    programme.put(rows, units.lasts[loose], -1.0)
    programme.put(rows, units.stays[loose], 1.0)
    final = np.array([unit.final for unit in candidates.units], np.int64)[loose]
    start = np.array([unit.start for unit in candidates.units], np.int64)[loose]
    queued = QueuedWrites(
        columns=own,
        sign=1.0,
        final=final,
        waiting=stretch(own, final, start + 1),
        patience=_patience(scale, final, start),
    )
    return own, queued
