"""Python's collector, called between steps: Note [Cyclic garbage] (session.py)."""

import gc
import time
from collections.abc import Callable

MOST_TIME = 0.05
"""Of the time between two collections of everything, that one may take: there may be millions of objects."""


class CycleCollector:
    """Collects what is young after each step, and everything about as often as Python itself would."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._ended_s = clock()
        self._took_s = 0.0

    def step_ended(self) -> None:
        """Collect."""
        # The threshold of the oldest generation counts collections of the one before, as Python counts them.
        if gc.get_count()[2] < gc.get_threshold()[2] or not self._has_time:
            gc.collect(1)
            return
        began_s = self._clock()
        gc.collect()
        self._ended_s = self._clock()
        self._took_s = self._ended_s - began_s

    @property
    def _has_time(self) -> bool:
        return self._took_s <= MOST_TIME * (self._clock() - self._ended_s)
