"""The cheapest way to run a cyclic step on a real two-tier memory, by dynamic programming over its states.

It knows nothing of gaps, epochs or programmes. Every page of a step is a unit page in one of three states: only in fast
memory (DIRTY), in both tiers (BOTH), only on flash (FLASH). Between two slices any page may be written (DIRTY -> BOTH),
dropped (BOTH -> FLASH) or fetched (FLASH -> BOTH). While a slice runs its pages are in fast memory, which holds no more
pages than it has; what it writes is DIRTY; a page whose content is never used again is in no state and takes no room.
The step repeats: it must end in the state in which it began.
"""

import numpy as np

from tests.support.gaps import touches
from tmtrain.lowering.timeline import Timeline

_DIRTY, _BOTH, _FLASH = range(3)


def cheapest_step(timeline: Timeline, *, cost_in: float, cost_out: float) -> float:
    """Return the least cost of one steady step at `cost_in`, `cost_out` per page; exponential in the pages."""
    pages = [e for e, size in enumerate(timeline.extents.pages.tolist()) for _ in range(size)]
    by_slice = touches(timeline)
    pages = [e for e in pages if any(e in accesses for accesses in by_slice)]
    # A dead page has one state only; DIRTY stands for it, and it is not counted as resident.
    states = np.stack(np.meshgrid(*[np.arange(3)] * len(pages), indexing="ij"), axis=-1).reshape(
        -1, len(pages)
    )
    # cost[s0, ...]: least cost from start state s0 to each state; one axis of length 3 per page.
    cost = np.where(np.eye(len(states), dtype=bool), 0.0, np.inf).reshape(-1, *[3] * len(pages))
    alive = [_alive_before(by_slice, 0, e) for e in pages]
    _forbid(cost, states, [bool(np.any(states[i][~np.array(alive, bool)])) for i in range(len(states))])
    for t, accesses in enumerate(by_slice):
        alive = [_alive_before(by_slice, t, e) for e in pages]
        for axis, living in enumerate(alive, start=1):
            if living:
                cost = _rearrange(cost, axis, cost_in=cost_in, cost_out=cost_out)
        resident = np.zeros(len(states), np.int64)
        absent_operand = np.zeros(len(states), bool)
        for i, e in enumerate(pages):
            here = states[:, i] != _FLASH
            if e in accesses:
                resident += 1
                absent_operand |= ~here
            elif alive[i]:
                resident += here
        _forbid(cost, states, (absent_operand | (resident > timeline.fast_pages)).tolist())
        for axis, e in enumerate(pages, start=1):
            if e in accesses and (accesses[e][1] or not _alive_before(by_slice, t + 1, e)):
                cost = _become_dirty(cost, axis)
    whole = cost.reshape(len(states), len(states))
    return float(np.diag(whole).min())


def _alive_before(by_slice: list[dict[int, tuple[bool, bool]]], t: int, extent: int) -> bool:
    T = len(by_slice)
    for ahead in range(T):
        accesses = by_slice[(t + ahead) % T]
        if extent in accesses:
            return accesses[extent][0]
    return False


def _rearrange(cost: np.ndarray, axis: int, *, cost_in: float, cost_out: float) -> np.ndarray:
    dirty, both, flash = (np.take(cost, state, axis=axis) for state in range(3))
    written = np.minimum(both, dirty + cost_out)
    return np.stack(
        [dirty, np.minimum(written, flash + cost_in), np.minimum(written, flash)],
        axis=axis,
    )


def _become_dirty(cost: np.ndarray, axis: int) -> np.ndarray:
    least = cost.min(axis=axis)
    never = np.full_like(least, np.inf)
    return np.stack([least, never, never], axis=axis)


def _forbid(cost: np.ndarray, states: np.ndarray, forbidden: list[bool]) -> None:
    flat = cost.reshape(len(states), len(states))
    flat[:, np.array(forbidden, bool)] = np.inf
