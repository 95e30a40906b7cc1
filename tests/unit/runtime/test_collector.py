"""Garbage in cycles is freed between steps, however old it was when it became garbage."""

import gc
import weakref
from collections import deque
from collections.abc import Iterator

import pytest

from tmtrain.runtime.training.collector import CycleCollector


class _Cycle:
    def __init__(self) -> None:
        self.itself = self


@pytest.fixture(autouse=True)
def _resting() -> Iterator[None]:  # pyright: ignore[reportUnusedFunction]
    gc.disable()
    yield
    gc.enable()


def _left_after(steps: int, collector: CycleCollector) -> int:
    """Each step makes a cycle that is held for three steps; count those that are there in the end."""
    held: deque[_Cycle] = deque(maxlen=3)
    made: list[weakref.ref[_Cycle]] = []
    for _ in range(steps):
        held.append(_Cycle())
        made.append(weakref.ref(held[-1]))
        collector.step_ended()
    return sum(reference() is not None for reference in made)


def test_what_is_older_than_two_steps_goes_too() -> None:
    gc.collect()
    # Those held, and what became garbage since everything was collected: Python's own threshold.
    assert _left_after(60, CycleCollector(clock=lambda: 0.0)) <= 3 + gc.get_threshold()[2] + 2


def test_collecting_everything_takes_a_twentieth_of_the_time_at_most() -> None:
    gc.collect()
    now = [0.0]
    asked = [0]

    def clock() -> float:
        """Each question takes a second: so collections take one, and steps between none."""
        asked[0] += 1
        now[0] += 1.0
        return now[0]

    before = gc.get_stats()[2]["collections"]
    collector = CycleCollector(clock)
    for _ in range(120):
        collector.step_ended()
    collections = gc.get_stats()[2]["collections"] - before
    assert collections * 20 <= now[0] + 20
