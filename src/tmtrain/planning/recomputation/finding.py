"""From a step and its recompute blocks to the candidates: what may be recomputed, in which strips, from what."""

from collections.abc import Sequence

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.recomputation.blocks import RecomputeBlocks, StorageLife
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.draft import CandidateDraft
from tmtrain.planning.recomputation.ids import BlockId, ProducerId
from tmtrain.planning.recomputation.step import RecomputableStep, read_step
from tmtrain.planning.recomputation.strips import find_groups, find_strips
from tmtrain.planning.recomputation.ties import tie_block
from tmtrain.planning.recomputation.units import stored_units, strip_unit


def find_candidates(
    timeline: Timeline, problem: Problem, *, life: StorageLife, blocks: RecomputeBlocks
) -> RecomputeCandidates:
    """Find what may be recomputed, in which strips, from what."""
    step, draft = read_step(timeline, problem, life=life, blocks=blocks), CandidateDraft()
    for storage, points in step.readers_across().items():
        draft.add_units(storage, stored_units(step, storage, points))
    # Block by block: what ties a block may not see the recomputations of later ones.
    for block, producers in step.producers_of.items():
        for group in find_groups(step, block, producers):
            _add_group(step, draft, block, group)
        tie_block(step, draft, block)
    return draft.finish(free_gaps=step.free_gaps())


def _add_group(
    step: RecomputableStep, draft: CandidateDraft, block: BlockId, group: Sequence[ProducerId]
) -> None:
    """Add the recomputations of a group, and the units that they make."""
    results = [storage for producer in group for storage in step.uses[producer].results]
    inside = [storage for storage in results if step.is_inside(storage, block)]
    strips, point = find_strips(step, group, inside), step.point(block)
    draft.add_recomputations(group, strips, point=point)
    for storage in inside:
        if step.is_needed(storage):
            draft.add_units(storage, [strip_unit(step, storage, rows, point=point) for rows in strips])
