"""Recompute blocks of forward, for given cuts: which producers may be recomputed in each, and when.

From the statement of the class in `tmtrain.planning.programme.certificate`. All recomputations of a block run at its
recompute point, just before the step first needs something again that a producer made in the block and that no other block
uses. A producer belongs to a block if all of its operators do, and if its inputs are not overwritten before the recompute
point.

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
    born: int | None = None
    """First slice that touches it, if one does."""
    last_forward: int | None = None
    """Last slice of forward and loss that touches it, if one does."""
    needed: int | None = None
    """First slice after `last_forward` that needs its content, if one does in this step."""
    is_result: bool = False
    """Of a producer."""
    is_small: bool = False
    survives: bool = False
    """Outlives the step: no operator of it made the content, which recomputations find there as they find weights."""

    def is_born_in(self, begin: int, end: int) -> bool:
        """Whether it is born from slice `begin` to before slice `end`."""
        return self.born is not None and begin <= self.born < end

    def is_over_before(self, end: int) -> bool:
        """Whether forward uses it only before slice `end`, if at all."""
        return self.last_forward is None or self.last_forward < end


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What a producer needs and makes, small storages left out."""

    inputs: dict[int, bool]
    """Storage -> follows the rows."""
    results: set[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBlocks:
    """The recompute blocks of a certificate's class."""

    cuts: list[int]
    lives: list[Life]
    uses: list[Uses]
    """Of each producer."""
    points: list[int | None]
    """Recompute point of each block, the slice before which its recomputations run; None where nothing is needed again."""
    producers: dict[int, list[int]]
    """Block -> the producers that may be recomputed in it, in the order of the table; blocks in order of their first."""

    def is_inside(self, storage: int, block: int) -> bool:
        """Whether `storage` is made in `block` and used nowhere else in forward."""
        life = self.lives[storage]
        is_made_here = not life.survives and life.born is not None and self.cuts[block] <= life.born
        return is_made_here and life.is_over_before(self.cuts[block + 1])


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
    results = [[lives[s] for s in use.results] for use in uses]
    return CheckedBlocks(
        cuts=cuts,
        lives=lives,
        uses=uses,
        points=points,
        producers=_producers_of_blocks(timeline, cuts, points, results),
    )


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
            life.born = t if life.born is None else life.born
            life.last_forward = t if forward[t] else life.last_forward
    for t, accesses in enumerate(walked.touched):
        for extent, access in accesses:
            life = lives[storage[extent]]
            is_after = life.last_forward is None or t > life.last_forward
            if access.needs and life.needed is None and is_after:
                life.needed = t
    for life in lives:
        life.is_small = life.pages * timeline.page_bytes < SMALL_BYTES
    for s, writes in zip(touched, producers.touch_writes.tolist(), strict=True):
        if writes:
            lives[s].is_result = True
    return lives


def _uses(timeline: Timeline, producer: int, lives: list[Life]) -> Uses:
    producers = timeline.producers
    begin, end = producers.touch_ptr[producers.op_ptr[[producer, producer + 1]]].tolist()
    storages = producers.touch_storage[begin:end].tolist()
    follows = producers.touch_follows[begin:end].tolist()
    writes = producers.touch_writes[begin:end].tolist()
    results = {s for s, w in zip(storages, writes, strict=True) if w}
    inputs: dict[int, bool] = {}
    for s, f in zip(storages, follows, strict=True):
        if s not in results and not lives[s].is_small:
            # Read twice, by rows and whole: whole is what has to be there.
            inputs[s] = f and inputs.get(s, True)
    return Uses(inputs=inputs, results={s for s in results if not lives[s].is_small})


def _point(lives: list[Life], begin: int, end: int) -> int | None:
    """Return the recompute point of the block from slice `begin` to before slice `end`."""
    needs = [
        life.needed
        for life in lives
        if life.needed is not None
        and life.is_result
        and not life.is_small
        and life.is_born_in(begin, end)
        and life.is_over_before(end)
    ]
    return min(needs, default=None)


def _producers_of_blocks(
    timeline: Timeline, cuts: list[int], points: list[int | None], results: list[list[Life]]
) -> dict[int, list[int]]:
    producers, op = timeline.producers, timeline.slices.op
    members: dict[int, list[int]] = defaultdict(list)
    for producer in range(len(producers)):
        ops = producers.op[producers.op_ptr[producer] : producers.op_ptr[producer + 1]].tolist()
        first, end = int(op.searchsorted(ops[0])), int(op.searchsorted(ops[-1], side="right"))
        for block, point in enumerate(points):
            if point is None:
                continue
            is_inside = cuts[block] <= first < cuts[block + 1] and end <= cuts[block + 1]
            # What a later block uses is kept or moved. Whoever makes it does not run again, not even for other results.
            is_inside &= all(life.is_over_before(cuts[block + 1]) for life in results[producer])
            if is_inside and int(producers.valid_until_op[producer]) > int(op[point]):
                members[block].append(producer)
    return members
