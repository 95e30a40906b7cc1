"""The states of a tier block, and every way from one to another.

Note [Tier block states]

    state     pages     budget    content
    HERE      open      counts    in memory, perhaps on flash too
    LEAVING   open      counts    in memory, on its way to flash; still to be had
    AWAY      closed    free      on flash only, or discarded
    COMING    closed    counts    on flash, on its way into memory: not to be had before it is complete
    FREED     open      free      none: the program is about to free the storage

    transition    from                      to         caused by
    LEAVE         HERE                      LEAVING    training thread: it goes, and flash has no copy yet
    PAGE_OUT      HERE                      AWAY       training thread: it goes, and flash has its copy
    WRITTEN       LEAVING                   AWAY       mover: flash has the copy now
    OVERTAKEN     LEAVING                   HERE       mover: the copy is of an older content
    CALL_BACK     LEAVING                   HERE       training thread: an operator needs it after all
    FETCH         AWAY                      COMING     training thread
    ARRIVED       COMING                    HERE       mover: all of it, checked, at once
    CALL_OFF      COMING                    AWAY       training thread: an operator needs the room sooner, or it failed
    DISCARD       HERE, LEAVING, COMING     AWAY       training thread: its content can be recomputed
    REFILL        AWAY                      HERE       training thread: it was recomputed, all of it appears at once
    FREE          any but FREED             FREED      training thread

A transition is made in one place, `Occupancy.change`, under the lock. It refuses whatever is not in the table. What must be
on flash when it leaves is compared with what flash holds, with the pages closed to writing: somebody whom the tier does not
see (numpy, another thread) may have written to them, and then they stay.
"""

from dataclasses import dataclass
from enum import Enum


class BlockState(Enum):
    """Where a block is; see Note [Tier block states]."""

    HERE = "here"
    LEAVING = "leaving"
    AWAY = "away"
    COMING = "coming"
    FREED = "freed"


HERE, LEAVING, AWAY, COMING, FREED = BlockState

# Tuples, not sets: a search in them compares by identity, while the hash of an Enum member is a call of Python.
COUNTED = (HERE, LEAVING, COMING)
"""States in which a block counts against the budget, so that bytes under way do too (law 3)."""
OPEN = (HERE, LEAVING, FREED)
"""States in which the pages of a block may be touched."""


@dataclass(frozen=True, slots=True, eq=False)
class BlockTransition:
    """One row of Note [Tier block states]."""

    name: str
    sources: tuple[BlockState, ...]
    target: BlockState
    needs_copy: bool = False
    """It leaves the content on flash only, so flash must have what is in memory."""
    appears: bool = False
    """Its content has been put together elsewhere, and appears as a whole."""


LEAVE = BlockTransition("LEAVE", (HERE,), LEAVING)
PAGE_OUT = BlockTransition("PAGE_OUT", (HERE,), AWAY, needs_copy=True)
WRITTEN = BlockTransition("WRITTEN", (LEAVING,), AWAY, needs_copy=True)
OVERTAKEN = BlockTransition("OVERTAKEN", (LEAVING,), HERE)
CALL_BACK = BlockTransition("CALL_BACK", (LEAVING,), HERE)
FETCH = BlockTransition("FETCH", (AWAY,), COMING)
ARRIVED = BlockTransition("ARRIVED", (COMING,), HERE, appears=True)
CALL_OFF = BlockTransition("CALL_OFF", (COMING,), AWAY)
DISCARD = BlockTransition("DISCARD", (HERE, LEAVING, COMING), AWAY)
REFILL = BlockTransition("REFILL", (AWAY,), HERE, appears=True)
FREE = BlockTransition("FREE", (HERE, LEAVING, AWAY, COMING), FREED)

TRANSITIONS = (
    LEAVE,
    PAGE_OUT,
    WRITTEN,
    OVERTAKEN,
    CALL_BACK,
    FETCH,
    ARRIVED,
    CALL_OFF,
    DISCARD,
    REFILL,
    FREE,
)
"""All of them, in the order of the table."""


def next_state(state: BlockState, transition: BlockTransition) -> BlockState:
    """Return where `transition` leads from `state`.

    >>> next_state(BlockState.AWAY, FETCH)
    <BlockState.COMING: 'coming'>
    >>> next_state(BlockState.AWAY, LEAVE)
    Traceback (most recent call last):
    AssertionError: a block that is away cannot LEAVE
    """
    assert state in transition.sources, f"a block that is {state.value} cannot {transition.name}"
    return transition.target
