"""Blocks of forward, given their cuts: which producers may be recomputed in each, and when.

From the statement of the class in `tmtrain.planning.programme.certificate`: all recomputations of a block run at its recompute point, just before the
step first needs again something that was made in the block, by a producer, and used in no other. A producer belongs to a block
if all of its operators do and its inputs are not overwritten before the moment.

Storages of less than `SMALL_BYTES` are taken to be there always.
"""

from collections import defaultdict
from dataclasses import dataclass

from tmtrain.checking.walk import Walk
from tmtrain.lowering.timeline import Timeline
from tmtrain.trace import Phase

SMALL_BYTES = 65536


@dataclass(slots=True)
class Life:
    """When a storage is made and used, in slices."""

    pages: int = 0
    born: int = -1
    """First slice that touches it."""
    last_forward: int = -1
    """Last slice of forward and loss that touches it; -1 if none does."""
    needed: int = -1
    """First slice after `last_forward` that needs its content; -1 if none does in this step."""
    is_made: bool = False
    """By a producer."""
    is_small: bool = False
    survives: bool = False
    """Outlives the step: no operator of it made the content, which recomputations find there as they find weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What a producer needs and makes, small storages left out."""

    inputs: dict[int, bool]
    """Storage -> follows the rows."""
    results: set[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBlocks:
    """The blocks of a certificate's class."""

    cuts: list[int]
    lives: list[Life]
    uses: list[Uses]
    """Of each producer."""
    points: list[int]
    """Of each block; -1 where nothing of it is needed again."""
    producers: dict[int, list[int]]
    """Block -> the producers that may be recomputed in it, in the order of the table; blocks in order of their first."""

    def is_inside(self, storage: int, block: int) -> bool:
        """Whether `storage` is made in `block` and used nowhere else in forward."""
        life = self.lives[storage]
        made_here = not life.survives and self.cuts[block] <= life.born
        return made_here and life.last_forward < self.cuts[block + 1]


def read_blocks(timeline: Timeline, walked: Walk, cuts: list[int]) -> CheckedBlocks:
    """Find what belongs to each block.

    Args:
        timeline: The step.
        walked: The same, walked.
        cuts: First slice of each block, ascending from 0, and the end of the last.
    """
    lives = _lives(timeline, walked)
    uses = [_uses(timeline, producer, lives) for producer in range(len(timeline.producers))]
    points = [_point(lives, cuts[block], cuts[block + 1]) for block in range(len(cuts) - 1)]
    return CheckedBlocks(
        cuts=cuts, lives=lives, uses=uses, points=points,
        producers=_producers_of_blocks(timeline, cuts, points, [[lives[s] for s in use.results] for use in uses]),
    )  # fmt: skip


def _lives(timeline: Timeline, walked: Walk) -> list[Life]:
    producers, storage = timeline.producers, timeline.extents.storage.tolist()
    touched = producers.touch_storage.tolist()
    lives = [Life() for _ in range(max([*storage, *touched], default=-1) + 1)]
    forward = [phase in (Phase.FORWARD, Phase.LOSS) for phase in timeline.slices.phase.tolist()]
    extents = timeline.extents
    for s, pages, survives in zip(storage, extents.pages.tolist(), extents.persistent.tolist(), strict=True):
        lives[s].pages += pages
        lives[s].survives = survives
    for t, accesses in enumerate(walked.touched):
        for extent, _ in accesses:
            life = lives[storage[extent]]
            life.born = t if life.born < 0 else life.born
            life.last_forward = t if forward[t] else life.last_forward
    for t, accesses in enumerate(walked.touched):
        for extent, access in accesses:
            life = lives[storage[extent]]
            if access.needs and life.needed < 0 and t > life.last_forward:
                life.needed = t
    for life in lives:
        life.is_small = life.pages * timeline.page_bytes < SMALL_BYTES
    for s, writes in zip(touched, producers.touch_writes.tolist(), strict=True):
        if writes:
            lives[s].is_made = True
    return lives


def _uses(timeline: Timeline, producer: int, lives: list[Life]) -> Uses:
    producers = timeline.producers
    begin, end = producers.touch_ptr[producers.op_ptr[[producer, producer + 1]]].tolist()
    storages, follows = (
        producers.touch_storage[begin:end].tolist(),
        producers.touch_follows[begin:end].tolist(),
    )
    writes = producers.touch_writes[begin:end].tolist()
    results = {s for s, w in zip(storages, writes, strict=True) if w}
    inputs: dict[int, bool] = {}
    for s, f in zip(storages, follows, strict=True):
        if s not in results and not lives[s].is_small:
            inputs[s] = f and inputs.get(s, True)
    return Uses(inputs=inputs, results={s for s in results if not lives[s].is_small})


def _point(lives: list[Life], begin: int, end: int) -> int:
    needed = [
        life.needed
        for life in lives
        if life.is_made
        and not life.is_small
        and life.needed >= 0
        and begin <= life.born < end
        and life.last_forward < end
    ]
    return min(needed, default=-1)


def _producers_of_blocks(
    timeline: Timeline, cuts: list[int], points: list[int], results: list[list[Life]]
) -> dict[int, list[int]]:
    producers, op = timeline.producers, timeline.slices.op
    found: dict[int, list[int]] = defaultdict(list)
    for producer in range(len(producers)):
        ops = producers.op[producers.op_ptr[producer] : producers.op_ptr[producer + 1]].tolist()
        first, end = int(op.searchsorted(ops[0])), int(op.searchsorted(ops[-1], side="right"))
        for block, point in enumerate(points):
            inside = cuts[block] <= first < cuts[block + 1] and end <= cuts[block + 1]
            inside &= all(life.last_forward < cuts[block + 1] for life in results[producer])
            if inside and point >= 0 and int(producers.valid_until_op[producer]) > int(op[point]):
                found[block].append(producer)
    return found
