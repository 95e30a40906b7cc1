"""Blocks of forward, given their cuts: which recipes may be replayed in each, and when.

From the statement of the class in `tmtrain.planning.programme.certificate`: all replays of a block run at its moment, just before the
step first needs again something that was made in the block, by a recipe, and used in no other. A recipe belongs to a block
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
    """By a recipe."""
    is_small: bool = False
    survives: bool = False
    """Outlives the step: no operator of it made the content, which replays find there as they find weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Uses:
    """What a recipe needs and makes, small storages left out."""

    inputs: dict[int, bool]
    """Storage -> follows the rows."""
    results: set[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedBlocks:
    """The blocks of a certificate's class."""

    cuts: list[int]
    lives: list[Life]
    uses: list[Uses]
    """Of each recipe."""
    moments: list[int]
    """Of each block; -1 where nothing of it is needed again."""
    recipes: dict[int, list[int]]
    """Block -> the recipes that may be replayed in it, in the order of the table; blocks in order of their first."""

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
    uses = [_uses(timeline, recipe, lives) for recipe in range(len(timeline.recipes))]
    moments = [_moment(lives, cuts[block], cuts[block + 1]) for block in range(len(cuts) - 1)]
    return CheckedBlocks(
        cuts=cuts, lives=lives, uses=uses, moments=moments,
        recipes=_recipes_of_blocks(timeline, cuts, moments, [[lives[s] for s in use.results] for use in uses]),
    )  # fmt: skip


def _lives(timeline: Timeline, walked: Walk) -> list[Life]:
    recipes, storage = timeline.recipes, timeline.extents.storage.tolist()
    touched = recipes.touch_storage.tolist()
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
    for s, writes in zip(touched, recipes.touch_writes.tolist(), strict=True):
        if writes:
            lives[s].is_made = True
    return lives


def _uses(timeline: Timeline, recipe: int, lives: list[Life]) -> Uses:
    recipes = timeline.recipes
    begin, end = recipes.touch_ptr[recipes.op_ptr[[recipe, recipe + 1]]].tolist()
    storages, follows = recipes.touch_storage[begin:end].tolist(), recipes.touch_follows[begin:end].tolist()
    writes = recipes.touch_writes[begin:end].tolist()
    results = {s for s, w in zip(storages, writes, strict=True) if w}
    inputs: dict[int, bool] = {}
    for s, f in zip(storages, follows, strict=True):
        if s not in results and not lives[s].is_small:
            inputs[s] = f and inputs.get(s, True)
    return Uses(inputs=inputs, results={s for s in results if not lives[s].is_small})


def _moment(lives: list[Life], begin: int, end: int) -> int:
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


def _recipes_of_blocks(
    timeline: Timeline, cuts: list[int], moments: list[int], results: list[list[Life]]
) -> dict[int, list[int]]:
    recipes, op = timeline.recipes, timeline.slices.op
    found: dict[int, list[int]] = defaultdict(list)
    for recipe in range(len(recipes)):
        ops = recipes.op[recipes.op_ptr[recipe] : recipes.op_ptr[recipe + 1]].tolist()
        first, end = int(op.searchsorted(ops[0])), int(op.searchsorted(ops[-1], side="right"))
        for block, moment in enumerate(moments):
            inside = cuts[block] <= first < cuts[block + 1] and end <= cuts[block + 1]
            inside &= all(life.last_forward < cuts[block + 1] for life in results[recipe])
            if inside and moment >= 0 and int(recipes.valid_until_op[recipe]) > int(op[moment]):
                found[block].append(recipe)
    return found
