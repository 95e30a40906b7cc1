"""Whether the operator that comes needs nothing moved: the short way, for what is most often so."""

from collections.abc import Iterable, Sequence

from tmtrain.runtime.tier.occupancy import Occupancy
from tmtrain.runtime.tier.running_operator import RunningOperator


class Readiness:
    """Lets operators run at once that find all they touch in memory."""

    def __init__(self, *, occupancy: Occupancy, running: RunningOperator) -> None:
        self._occupancy, self._running = occupancy, running

    def begin_at_once(self, now: int, numbers: Iterable[int], *, what: str, makes_bytes: int) -> bool:
        """Let operator `now` run if all is there, and room for what it makes; else do nothing, and return False.

        The same as `Tier.begin` and `Tier.reserve`, in the time that small operators have.
        """
        occupancy = self._occupancy
        storages = occupancy.storages
        pinned: dict[int, Sequence[int]] = {}
        for number in numbers:
            managed = storages.get(number)
            # No lock: what is HERE stays so, since only this thread sends blocks away.
            if managed is None or managed.elsewhere:
                return False
            pinned[number] = range(len(managed.blocks))
            managed.last_use = now
        if occupancy.used_bytes + makes_bytes > occupancy.budget_bytes:
            return False
        self._running.begin(now, what, pinned)
        self._running.reserve(makes_bytes)
        return True

    def most_room_bytes(self) -> int:
        """Return how much could be made now: the budget without what the operator touches and what stays for good."""
        occupancy = self._occupancy
        touched = [occupancy.storages[number] for number in self._running.pinned]
        blocks = (block for managed in touched if not managed.stays for block in managed.blocks)
        pinned_bytes = sum(block.span.length for block in blocks if occupancy.must_stay(block))
        return max(0, occupancy.budget_bytes - occupancy.staying_bytes - pinned_bytes)
