"""Who looks on while a step runs: sees each operator come, and the storages that are made and die."""

from collections.abc import Sequence


class StepObserver:
    """Looks on and does nothing. Storages are told by a key that is theirs until they die; only what can move is told of.

    Operators are counted from the start of the step, views included; views themselves touch no byte and are not told of.
    """

    def comes(self, op: int, *, name: str, keys: Sequence[int], makes_bytes: int) -> None:
        """Operator `op` is next; it touches `keys`, in order, which may not be there yet, and makes so many bytes."""

    def ready(self, op: int) -> None:
        """All that it touches is there, and there is room for what it makes: what is free now is free for others."""

    def made(self, op: int, *, index: int, key: int) -> None:
        """It has made a storage, the `index`-th of its own."""

    def ran(self, op: int, *, seconds: float) -> None:
        """It has run, so many seconds after the one before it; waiting for the drive does not count."""

    def died(self, key: int) -> None:
        """A storage was freed."""
