"""Full activation checkpointing, and the pages of what is left by recency.

Source: T. Chen et al., "Training deep nets with sublinear memory cost", arXiv 1604.06174, as `torch.utils.checkpoint`
around every block of a model does it; the pager is `lru`.

Inputs: where the model's blocks begin and end; nothing of sizes, durations or the link.

Rule: of each block of forward only what later blocks read is kept. All else that backward needs is dropped after its last
use in forward, and the block runs again, in one go, just before backward needs the first of it. The last block, with the
loss, is needed at once and is not dropped. Whatever does not fit is paged by LRU.

In the rival's favour: nobody marks the blocks, so they are found where few bytes cross, at two granularities of which the
better one counts (Note [Blocks] in `tmtrain.planning.recomputation.blocks`); only operators whose results are asked for run
again, not the whole block; the pager is told of deaths. Beside the same models captured with `torch.utils.checkpoint`
around their blocks (benchmarks/against_checkpointing.md) its step needs as many joules, or fewer, in each of six models.
Granularity: operators for recomputation, pages for eviction.
"""

import numpy as np

from tmtrain.deciding.policy import Decision, Knowledge, Policy
from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.recomputation import Recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import build_problem
from tmtrain.planning.recomputation.blocks import HOLDINGS, find_blocks, storage_life
from tmtrain.planning.recomputation.choice import Rounding, choose_recomputations
from tmtrain.planning.recomputation.finding import find_candidates
from tmtrain.policies.pagers.lru import LruPager

WHOLE = Rounding(piece_share=1e9, down=False)
"""All rows of a block at once."""


class CheckpointLru(Policy):
    """Full activation checkpointing with LRU."""

    name = "checkpoint-lru"

    def __init__(self, *, holding: float = HOLDINGS[0]) -> None:
        self._holding = holding

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Recompute all that blocks can, and manage the longer step by recency."""
        recomputations = checkpoint_all(timeline, holding=self._holding)
        longer_step = insert_recomputations(timeline, recomputations, machine=machine)
        return Decision(
            timeline=longer_step,
            knowledge=Knowledge.LAST_USE,
            pager=LruPager(),
            recompute_s=longer_step.compute_s - timeline.compute_s,
        )

    def variants(self) -> tuple[Policy, ...]:
        """Finer and coarser blocks."""
        return tuple(CheckpointLru(holding=holding) for holding in HOLDINGS)


def checkpoint_all(timeline: Timeline, *, holding: float) -> Recomputations:
    """Return the recomputations of full checkpointing.

    Args:
        timeline: The step.
        holding: How fine the blocks are, see `find_blocks`.
    """
    life = storage_life(timeline)
    blocks = find_blocks(timeline, life, holding=holding)
    candidates = find_candidates(timeline, build_problem(timeline), life=life, blocks=blocks)
    points = np.array([recomputation.point for recomputation in candidates.recomputations])
    shares = (points > points.min(initial=len(timeline.slices))) * 1.0  # the last block is needed first
    shares[list(candidates.impossible)] = 0.0
    return choose_recomputations(candidates, shares, timeline=timeline, life=life, rounding=WHOLE)
