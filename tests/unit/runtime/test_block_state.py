"""The state machine of a tier block: code and table say the same, and what is not in it is refused."""

from itertools import product

import pytest

from tmtrain.runtime.tier import block_state
from tmtrain.runtime.tier.block_state import (
    COUNTED,
    OPEN,
    TRANSITIONS,
    BlockState,
    BlockTransition,
    next_state,
)


def _rows(header: str) -> list[list[str]]:
    """The cells of a table in the note; cells are two blanks apart or more."""
    lines = iter((block_state.__doc__ or "").splitlines())
    assert any(line.split()[:1] == [header] for line in lines)
    cells: list[list[str]] = []
    for line in lines:
        if not line.strip():
            break
        cells.append([cell.strip() for cell in line.split("  ") if cell.strip()])
    return cells


def test_the_table_of_states_is_what_the_code_does() -> None:
    rows = {name: (pages, budget) for name, pages, budget, _ in _rows("state")}
    assert rows == {
        state.name: ("open" if state in OPEN else "closed", "counts" if state in COUNTED else "free")
        for state in BlockState
    }


def test_the_table_of_transitions_is_what_the_code_does() -> None:
    rows = [
        (
            name,
            ", ".join(s.name for s in BlockState if s is not BlockState.FREED) if "any" in first else first,
            to,
        )
        for name, first, to, _ in _rows("transition")
    ]
    assert rows == [
        (t.name, ", ".join(s.name for s in BlockState if s in t.sources), t.target.name) for t in TRANSITIONS
    ]


@pytest.mark.parametrize("transition", TRANSITIONS, ids=lambda transition: transition.name)
def test_a_transition_from_any_other_state_is_refused(transition: BlockTransition) -> None:
    for state in BlockState:
        if state in transition.sources:
            assert next_state(state, transition) is transition.target
        else:
            with pytest.raises(
                AssertionError, match=f"a block that is {state.value} cannot {transition.name}"
            ):
                next_state(state, transition)


def test_what_is_freed_stays_freed() -> None:
    assert not any(BlockState.FREED in transition.sources for transition in TRANSITIONS)


def test_every_other_state_is_reached_from_every_other() -> None:
    """Else a block could be stuck: in memory for good, or away for good."""
    living = [state for state in BlockState if state is not BlockState.FREED]
    reached = {state: {state} for state in living}
    for _, state, transition in product(living, living, TRANSITIONS):
        if reached[state] & set(transition.sources):
            reached[state].add(transition.target)
    assert all(set(living) <= states for states in reached.values())
