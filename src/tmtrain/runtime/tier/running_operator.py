"""The operator that runs now: what it touches must not leave for it, and what it makes has its room kept."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class RunningOperator:
    """What the tier knows of the operator that runs now; the training thread alone reads and writes it."""

    now: int = 0
    """Its number. Deadlines of transfers are counted in it."""
    what: str = ""
    """Its name, for messages."""
    pinned: dict[int, Sequence[int]] = field(default_factory=dict[int, Sequence[int]])
    """What it touches: positions of blocks by managed storage (law 1)."""
    reserved_bytes: int = 0
    """For what it makes, and has not made yet: no prefetch may take them."""

    def begin(self, now: int, what: str, pinned: dict[int, Sequence[int]]) -> None:
        """The next operator runs. What the last one had reserved and did not use is free again."""
        self.now, self.what, self.pinned, self.reserved_bytes = now, what, pinned, 0

    def end(self) -> None:
        """It is over, so anything may leave. What it reserved stays reserved until the next one begins."""
        self.pinned = {}

    def reserve(self, wanted_bytes: int) -> None:
        """Keep room that is free for what the operator is about to make."""
        self.reserved_bytes = wanted_bytes

    def makes(self, number: int, *, num_blocks: int, memory_bytes: int) -> None:
        """A storage of so many bytes is there: it uses up what was reserved, and the operator is still at it."""
        self.pinned[number] = range(num_blocks)
        self.reserved_bytes = max(0, self.reserved_bytes - memory_bytes)

    def forget(self, number: int) -> None:
        """A storage has died."""
        self.pinned.pop(number, None)
