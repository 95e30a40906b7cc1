"""The least that a tiny step needs of an objective, and a schedule that needs no more."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.support.exact.drive_states import DriveStates, TickMove, TickState
from tests.support.exact.least_cycle import CycleGraph
from tests.support.exact.tick_step import TickStep


class TooManyStatesError(Exception):
    """The step is not tiny."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactOptimum:
    """The best cycle of states."""

    value: float
    """Of one step."""
    moves: list[TickMove]
    """One cycle, of one or more steps."""


class Schedules:
    """All schedules of a step, as ways through its states."""

    def __init__(self, step: TickStep, *, frugal: bool = False, most_states: int = 15_000) -> None:
        """Find the states that can be reached.

        Args:
            step: That is done over and over.
            frugal: Only those that a plan could ask for (`tests.support.exact.drive_states`).
            most_states: The search is given up beyond.

        Raises:
            TooManyStatesError: they are more than `most_states`.
        """
        self._step = step
        self._moves: list[TickMove] = []
        source, target = self._explore(DriveStates(step, frugal=frugal), most_states)
        self._graph = CycleGraph(np.array(source), np.array(target))

    def least(self, objective: str) -> ExactOptimum:
        """Return the least mean of one step over all cycles: whatever is done over and over needs no less."""
        per_tick, per_read, per_write = self._step.prices(objective)
        columns: NDArray[np.int64] = np.array([move[:4] for move in self._moves])
        cost = columns[:, 0] * per_tick + columns[:, 1] * per_read + columns[:, 2] * per_write
        value, cycle = self._graph.least_mean(cost, columns[:, 3])
        return ExactOptimum(value=value, moves=[self._moves[i] for i in cycle.tolist()])

    def _explore(self, states: DriveStates, most_states: int) -> tuple[list[int], list[int]]:
        found: list[TickState] = [states.start()]
        number = {found[0]: 0}
        source: list[int] = []
        target: list[int] = []
        for here, state in enumerate(found):  # which grows
            for move in states.moves(state):
                there = number.setdefault(move.state, len(found))
                if there == len(found):
                    found.append(move.state)
                self._moves.append(move)
                source.append(here)
                target.append(there)
            if len(found) > most_states:
                raise TooManyStatesError
        return source, target
