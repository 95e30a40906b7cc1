"""Ties: the units that a recomputation makes, and where it finds its inputs."""

from dataclasses import dataclass

from tmtrain.planning.recomputation.candidates import ChainedRead, ReadPart, StoredRead, UnitResult
from tmtrain.planning.recomputation.draft import CandidateDraft, RecomputationTies
from tmtrain.planning.recomputation.ids import BlockId, ProducerId, RecomputationId, StorageId, UnitId
from tmtrain.planning.recomputation.step import RecomputableStep

NEARLY_ALL = 0.999
"""Of a recomputation's rows: more counts as all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _TiedStrip:
    """The recomputation that is tied."""

    number: RecomputationId
    block: BlockId
    producer: ProducerId
    index: int
    """Of the strip, among those of the group."""


def tie_block(step: RecomputableStep, draft: CandidateDraft, block: BlockId) -> None:
    """Tie all recomputations of a block; those of earlier blocks are in the draft, those of later ones must not be."""
    for producer in step.producers_of[block]:
        for index, number in enumerate(draft.recomputations_of(producer) or ()):
            strip = _TiedStrip(number=number, block=block, producer=producer, index=index)
            draft.add_ties(number, _find_ties(step, draft, strip))


def _find_ties(step: RecomputableStep, draft: CandidateDraft, strip: _TiedStrip) -> RecomputationTies:
    stored: list[StoredRead] = []
    chained: list[ChainedRead] = []
    is_possible = True
    for storage, follows in step.uses[strip.producer].inputs.items():
        if not step.is_inside(storage, strip.block):
            # An input read as a whole (a weight) is left out, see Note [Relaxations] of the programme.
            stored += _reads_across(step, draft, strip, storage) if follows else []
        elif step.is_needed(storage):
            stored += _reads_inside(step, draft, strip, storage, follows=follows)
        else:
            # Nothing keeps it for backward, so it is there only if it is recomputed too.
            sources = _sources(step, draft, strip, storage, follows=follows)
            chained += [ChainedRead(reader=strip.number, source=source) for source in sources]
            is_possible = is_possible and bool(sources)
    return RecomputationTies(
        results=tuple(_results(step, draft, strip)),
        stored_reads=tuple(stored),
        chained_reads=tuple(chained),
        is_possible=is_possible,
    )


def _results(step: RecomputableStep, draft: CandidateDraft, strip: _TiedStrip) -> list[UnitResult]:
    results: list[UnitResult] = []
    for storage in step.uses[strip.producer].results:
        units = draft.units_of(storage) if step.is_inside(storage, strip.block) else None
        unit = None if units is None else units[strip.index]
        if unit is not None:
            results.append(UnitResult(recomputation=strip.number, unit=unit))
    return results


def _sources(
    step: RecomputableStep, draft: CandidateDraft, strip: _TiedStrip, storage: StorageId, *, follows: bool
) -> list[RecomputationId]:
    """Return the recomputations that make an input: of the same rows, or of all where the rows do not follow."""
    sources = draft.recomputations_of(step.maker.get(storage)) or []
    return [sources[strip.index]] if follows and strip.index < len(sources) else sources


def _reads_inside(
    step: RecomputableStep, draft: CandidateDraft, strip: _TiedStrip, storage: StorageId, *, follows: bool
) -> list[StoredRead]:
    """Read an input that the block makes and backward needs: its unit is there, kept or recomputed."""
    units: list[UnitId | None] = draft.units_of(storage) or []
    sources = draft.recomputations_of(step.maker.get(storage)) or []
    if units and follows and strip.index < len(sources):
        units = [units[strip.index]]
    parts = [ReadPart(unit=unit, point=0, share=1.0) for unit in units if unit is not None]
    return [StoredRead(reader=strip.number, parts=(part,)) for part in parts]


def _reads_across(
    step: RecomputableStep, draft: CandidateDraft, strip: _TiedStrip, storage: StorageId
) -> list[StoredRead]:
    """Read rows of an input from outside the block; where part of it never leaves, nothing is tied."""
    recomputation = draft.recomputation(strip.number)
    rows, point = recomputation.rows, recomputation.point
    low, high = (step.pages(storage) * row / rows.count for row in (rows.first, rows.end))
    parts: list[ReadPart] = []
    for number in draft.units_of(storage) or ():
        if number is None:
            continue
        unit = draft.unit(number)
        overlap = min(high, unit.first_page + unit.pages) - max(low, unit.first_page)
        if overlap > 0 and point in unit.points:
            share = overlap / (high - low)
            parts.append(ReadPart(unit=number, point=unit.points.index(point), share=share))
    if sum(part.share for part in parts) > NEARLY_ALL:
        return [StoredRead(reader=strip.number, parts=tuple(parts))]
    return []
