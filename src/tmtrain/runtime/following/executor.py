"""Follows a route: acts ahead of the operators as its plan says, while they are those that the plan was made for.

The plan is advice. What it brings in late is fetched on demand, and where room is short, what is needed last leaves. A
stream that goes another way is recognised by its fingerprint at the operator where it does; from there on either another
known route begins alike and is followed, or nothing is done ahead until the step is over.

Content that nobody needs again, in memory that the program still holds, is free for the planner, but not here: it is
written if its room is wanted, since the step might turn out to be another one that reads it.
"""

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tmtrain.runtime.dispatch.observer import StepObserver
from tmtrain.runtime.dispatch.recomputer import Recomputer
from tmtrain.runtime.following.fingerprint import START, mixed
from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.following.schedule import ScheduledMove
from tmtrain.runtime.result import How
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES, ManagedStorage, TierBlock
from tmtrain.runtime.tier.tier import Tier, least_recently_used

_STRANGER = ""
"""Stands in fingerprints for storages that the route does not know."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A fetch that has not found room yet."""

    due: int
    key: int
    block: TierBlock


class PlanExecutor(StepObserver):
    """Runs steps along known routes."""

    def __init__(self, tier: Tier, remaker: Recomputer) -> None:
        self.routes: list[PlannedStep] = []
        """The one that was followed last comes first."""
        self.route: PlannedStep | None = None
        """None where the step goes a way that nobody knows."""
        self.seconds: dict[int, float] = {}
        """Of the operators of this step."""
        self._tier, self._remaker = tier, remaker
        self._name_of: dict[int, str] = {}
        self._key_of: dict[str, int] = {}
        self._dead_at: dict[int, list[str]] = {}
        self._dead: set[int] = set()
        self._wanted: deque[_Wanted] = deque()
        self._fingerprint = START
        self._first = self._op = 0

    @property
    def how(self) -> How:
        """How the step has run, now that it is over; one that breaks off before its route ends was another one."""
        if not self.routes:
            return "on demand"
        is_through = self.route is not None and self._op == self.route.stream.last_operator
        return "planned" if is_through else "astray"

    def learn(self, route: PlannedStep, *, living: dict[int, str]) -> None:
        """Follow `route` from the next step on; `living` names the storages that are alive now."""
        self.routes.insert(0, route)
        self._name_of = dict(living)
        self._key_of = {name: key for key, name in living.items()}

    def forget_routes(self) -> None:
        """Know no route any more: those that there were planned for another budget."""
        self.routes.clear()
        self._tier.rank = least_recently_used

    def begin_step(self, *, first_operator: int) -> None:
        """Begin a step, by the route of the last one; the tier counts its operators from `first_operator` on."""
        self._first, self._op = first_operator, 0
        self._fingerprint, self.seconds, self._dead = START, {}, set()
        route = self.routes[0]
        for name, later in route.stream.outlived.items():
            if name in self._key_of:
                self._call(self._key_of.pop(name), later)
        self._take(route)

    def end_step(self) -> None:
        """Look at nothing but deaths until the next step begins."""
        self.route = None
        self._remaker.end_step()

    def comes(self, op: int, *, name: str, keys: Sequence[int], makes_bytes: int) -> None:
        """See whether it is the expected one, and do what the plan says."""
        self._op = op
        if self.route is None:
            return
        for index, key in enumerate([key for key in keys if key not in self._name_of]):
            self._call(key, self.route.stream.met.get((op, index), _STRANGER))
        storages = frozenset(self._name_of[key] for key in keys)
        self._fingerprint = mixed(self._fingerprint, name=name, storages=storages, makes_bytes=makes_bytes)
        if self.route.stream.fingerprints.get(op) != self._fingerprint:
            self._take(self._route_to_here())
        self._act()

    def ready(self, op: int) -> None:  # noqa: ARG002
        """Fetch what is wanted, while there is room."""
        while self._wanted:
            wanted = self._wanted[0]
            alive = wanted.key in self._tier
            if alive and not self._tier.fetch(wanted.block, deadline=wanted.due):
                self._let_dead_go(until=wanted.due)
                return
            self._wanted.popleft()

    def made(self, op: int, *, index: int, key: int) -> None:
        """Name what was made."""
        if self.route is not None and (op, index) in self.route.stream.made:
            self._call(key, self.route.stream.made[op, index])

    def ran(self, op: int, *, seconds: float) -> None:
        """Note the time, and who is of no use any more."""
        self.seconds[op] = seconds
        if self.route is not None:
            for name in self.route.schedule.drops.get(op, ()):
                if name in self._key_of:
                    self._remaker.drop(self._key_of[name])
        self._dead.update(self._key_of[name] for name in self._dead_at.get(op, ()) if name in self._key_of)

    def died(self, key: int) -> None:
        """Forget it."""
        self._dead.discard(key)  # the next storage may get the same key
        name = self._name_of.pop(key, None)
        if name is not None and self._key_of.get(name) == key:
            del self._key_of[name]

    def _call(self, key: int, name: str) -> None:
        self._name_of[key], self._key_of[name] = name, key

    def _take(self, route: PlannedStep | None) -> None:
        """Go on along `route`; without one, do nothing ahead any more."""
        self.route = route
        if route is None:
            self._wanted.clear()
            self._tier.rank = least_recently_used
            self._remaker.noted = frozenset()
            return
        self._tier.rank = self._needed_last
        self._remaker.noted = route.schedule.noted
        dead_at: dict[int, list[str]] = defaultdict(list)
        for name, uses in route.stream.uses.items():
            if name not in route.stream.remains:
                dead_at[uses[-1]].append(name)
        self._dead_at = dead_at

    def _route_to_here(self) -> PlannedStep | None:
        """Find a route that has come here too; it is the one that the next step is taken to follow."""
        for route in self.routes:
            if route.stream.fingerprints.get(self._op) == self._fingerprint:
                self.routes.remove(route)
                self.routes.insert(0, route)
                return route
        return None

    def _act(self) -> None:
        if self.route is None:
            return
        schedule, op, now = self.route.schedule, self._op, self._first + self._op
        for move in schedule.leaves.get(op, ()):
            for _, block in self._blocks(move):
                self._tier.leave(block, deadline=now + move.due)
        for move in schedule.saves.get(op, ()):
            for _, block in self._blocks(move):
                self._tier.save(block, deadline=now + move.due)
        for move in schedule.fetches.get(op, ()):
            for key, block in self._blocks(move):
                self._wanted.append(_Wanted(now + move.due, key, block))
        self._remaker.make(
            self._key_of[name] for name in schedule.remakes.get(op, ()) if name in self._key_of
        )

    def _blocks(self, move: ScheduledMove) -> Iterator[tuple[int, TierBlock]]:
        """Yield the blocks that begin within the move."""
        key = self._key_of.get(move.storage)
        if key is not None and key in self._tier:
            first, end = -(-move.first_byte // BLOCK_BYTES), -(-move.end_byte // BLOCK_BYTES)
            for block in self._tier.blocks_of(key)[first:end]:
                yield key, block

    def _let_dead_go(self, *, until: int) -> None:
        """Let those leave that the program does not give up before then; the others will leave their room unwritten."""
        assert self.route is not None
        deaths, first = self.route.stream.deaths, self._first
        going = [key for key in self._dead if first + deaths[self._name_of[key]] >= until]
        for key in going:
            if key in self._tier:
                for block in self._tier.blocks_of(key):
                    self._tier.leave(block, deadline=first + self._op)
        self._dead.difference_update(going)

    def _needed_last(self, tenant: ManagedStorage) -> float:
        """Rank by the next use: Belady's rule."""
        name = self._name_of.get(tenant.number)
        if name is None or self.route is None:
            return math.inf
        following = self.route.stream.next_use(name, after=self._op)
        return math.inf if following is None else following
