"""What may be recomputed in a step: a partition of forward into blocks, and the recomputations in them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.recomputation.blocks import (
    HOLDINGS,
    RecomputeBlocks,
    StorageLife,
    blocks_between,
    find_blocks,
    storage_life,
)
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.planning.recomputation.finding import find_candidates


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One partition and what it allows."""

    life: StorageLife
    blocks: RecomputeBlocks
    candidates: RecomputeCandidates


def find_partitions(timeline: Timeline, problem: Problem) -> list[Partition]:
    """Return the partitions worth trying, finest first: which one is best depends on the model (`HOLDINGS`)."""
    life = storage_life(timeline)
    choices = [find_blocks(timeline, life, holding=holding) for holding in HOLDINGS]
    distinct = {tuple(blocks.cuts.tolist()): blocks for blocks in choices}
    return [_partition(blocks, timeline, problem, life) for blocks in distinct.values()]


def partition_at(cuts: NDArray[np.int64], timeline: Timeline, problem: Problem) -> Partition:
    """Return the partition of a certificate, by its cuts."""
    life = storage_life(timeline)
    return _partition(blocks_between(cuts, timeline, life), timeline, problem, life)


def _partition(blocks: RecomputeBlocks, timeline: Timeline, problem: Problem, life: StorageLife) -> Partition:
    candidates = find_candidates(timeline, problem, life=life, blocks=blocks)
    return Partition(life=life, blocks=blocks, candidates=candidates)
