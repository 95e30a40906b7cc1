"""What is recorded of a real step beside its capture: which storages can move, how long operators took."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tmtrain.runtime.dispatch.observer import StepObserver


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedUse:
    """One operator that touches or makes what can move."""

    op: int
    name: str
    numbers: tuple[int, ...]
    """Storages of the recording that it touches, in order."""
    makes_bytes: int | None
    """As its shapes say; None where they do not tell."""


class StepLog(StepObserver):
    """Logs a step in the storage numbers of the capture that records it at the same time, above this observer."""

    def __init__(self, number_of: Callable[[int], int | None]) -> None:
        """Begin.

        Args:
            number_of: The recording's number of a storage, by its key.
        """
        self.uses: list[LoggedUse] = []
        self.allocations: dict[tuple[int, int], int] = {}
        """Numbers of storages by the operator that allocates them, and index."""
        self.seconds: dict[int, float] = {}
        """By operator."""
        self._number_of = number_of
        self._new: list[tuple[int, int, int]] = []

    @property
    def movable(self) -> frozenset[int]:
        """All storages that were seen here."""
        return frozenset(self.allocations.values()).union(*(use.numbers for use in self.uses))

    def comes(self, op: int, *, name: str, keys: Sequence[int], makes_bytes: int | None) -> None:
        """Note what it touches."""
        self._name_new()
        numbers = tuple(number for key in keys if (number := self._number_of(key)) is not None)
        self.uses.append(LoggedUse(op=op, name=name, numbers=numbers, makes_bytes=makes_bytes))

    def allocated(self, op: int, *, index: int, key: int) -> None:
        """Note what is allocated; the recording has no number for it before the operator is over."""
        self._new.append((op, index, key))

    def ran(self, op: int, *, seconds: float) -> None:
        """Note how long it took."""
        self.seconds[op] = seconds

    def close(self) -> None:
        """End the step."""
        self._name_new()

    def _name_new(self) -> None:
        for op, index, key in self._new:
            number = self._number_of(key)
            if number is not None:  # what has died already is of no use to anybody
                self.allocations[op, index] = number
        self._new.clear()
