"""Units: the pages about which keep, move or recompute is decided."""

from collections.abc import Iterable, Iterator

from tmtrain.planning.recomputation.candidates import RecomputeUnit, RowRange
from tmtrain.planning.recomputation.ids import StorageId
from tmtrain.planning.recomputation.step import RecomputableStep


def stored_units(
    step: RecomputableStep, storage: StorageId, points: Iterable[int]
) -> Iterator[RecomputeUnit]:
    """Yield the units of a storage that recomputations of other blocks read: its extents."""
    order = sorted(points)
    final, last_use = int(step.life.born[storage]), int(step.life.last_forward[storage])
    # Dead after forward, but worth holding for recomputations alone. What outlives the step never leaves for them.
    is_read_alone = not step.is_needed(storage) and last_use >= 0 and not step.survives[storage]
    for run in step.runs(storage):
        gap = step.gap_of.get(run.extent)
        if gap is not None:
            start, end = int(step.gaps.start[gap]), int(step.gaps.end[gap])
        elif is_read_alone:
            start, end = last_use, None
        else:
            continue
        useful = tuple(point for point in order if start < point and (end is None or point <= end))
        if useful:
            yield RecomputeUnit(
                storage=storage,
                first_page=run.first,
                pages=run.end - run.first,
                final=final,
                start=start,
                end=end,
                points=useful,
                gaps=() if gap is None else (gap,),
            )


def strip_unit(
    step: RecomputableStep, storage: StorageId, rows: RowRange, *, point: int
) -> RecomputeUnit | None:
    """Return the unit of a storage that a strip of its own block makes; None where none of its pages is ever away."""
    pages = step.pages(storage)
    first, end = pages * rows.first // rows.count, pages * rows.end // rows.count
    gaps = tuple(
        step.gap_of[run.extent]
        for run in step.runs(storage)
        if run.first < end and run.end > first and run.extent in step.gap_of
    )
    if not gaps or end <= first:
        return None
    return RecomputeUnit(
        storage=storage,
        first_page=first,
        pages=end - first,
        final=int(step.life.born[storage]),
        # Where extents differ, the longest absence of any: that relaxes the programme, and the bound stays one.
        start=int(step.gaps.start[list(gaps)].min()),
        end=int(step.gaps.end[list(gaps)].max()),
        points=(point,),
        gaps=gaps,
    )
