"""What an observer of a step is told: the operators that come, and the storages that are allocated and freed."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager


class StepObserver:
    """Is told of everything and does nothing.

    A storage goes by a key, which is its own until it dies. Only storages that can move are told of. Operators are counted
    from the start of the step, views included. Views touch no byte, so they are counted without being told of.
    """

    def comes(self, op: int, *, name: str, keys: Sequence[int], makes_bytes: int | None) -> None:
        """Operator `op` is next; it touches `keys`, in order, which may be on flash yet.

        Shapes say that it allocates so many bytes; None where that depends on values, as sizes do from there on.
        """

    def ready(self, op: int) -> None:
        """All that it touches is in memory, and it has room for its results: what is free now is free for others."""

    def allocated(self, op: int, *, index: int, key: int) -> None:
        """It has allocated a storage, the `index`-th among those of its results."""

    def ran(self, op: int, *, seconds: float) -> None:
        """It has run, so many seconds after the one before it; waiting for the drive does not count."""

    def died(self, key: int) -> None:
        """A storage was freed."""


class StepClock:
    """Measures operators, each from the end of the one before; waiting for the drive does not count."""

    def __init__(self, waited_s: Callable[[], float]) -> None:
        """Begin; `waited_s` says how long it was waited for the drive so far."""
        self._waited_s = waited_s
        self._ended_s = 0.0

    def lap_s(self) -> float:
        """Return the seconds since the last time."""
        before_s, self._ended_s = self._ended_s, self._now_s()
        return self._ended_s - before_s

    @contextmanager
    def stopped(self) -> Generator[None]:
        """Do not count what is done inside."""
        ended_s, began_s = self._ended_s, self._now_s()
        try:
            yield
        finally:
            self._ended_s = ended_s + self._now_s() - began_s

    def _now_s(self) -> float:
        return time.perf_counter() - self._waited_s()
