"""Executes plans: acts ahead of the operators as the plan says, while they are those that it was made for.

The plan is advice. What it brings in late is fetched on demand, and where room is short, what is needed last leaves. Each
operator is compared with those of the recorded step, by a fingerprint of all so far. Where a step diverges, either another
planned step begins alike and is followed from there on, or nothing is done ahead until the step is over.

Content that nobody needs again, in memory that the program still holds, is free for the planner, but not here. It is
written if its room is wanted, since the step might turn out to be another one that reads it.
"""

import math
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tmtrain.runtime.dispatch.observer import StepObserver
from tmtrain.runtime.dispatch.recomputer import Recomputer
from tmtrain.runtime.following.fingerprint import Passage, PassageReader
from tmtrain.runtime.following.known_steps import KnownSteps
from tmtrain.runtime.following.planned_step import PlannedStep
from tmtrain.runtime.following.recorded_step import RecordedStep
from tmtrain.runtime.following.schedule import OperatorSchedule, ScheduledMove
from tmtrain.runtime.result import How
from tmtrain.runtime.tier.eviction import least_recently_used
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES, ManagedStorage, TierBlock
from tmtrain.runtime.tier.tier import Tier

_UNKNOWN = ""
"""Stands in fingerprints for storages that the recorded step does not know."""


@dataclass(frozen=True, slots=True)
class _WaitingFetch:
    """A fetch that has not found room yet."""

    due: int
    key: int
    block: TierBlock


class PlanExecutor(StepObserver):
    """Runs steps by the plans that were made for them."""

    def __init__(self, tier: Tier, recomputer: Recomputer) -> None:
        self.planned_step: PlannedStep | None = None
        """The one that this step follows; None where it is none of the known ones."""
        self.seconds: dict[int, float] = {}
        """Of the operators of this step, as far as it is planned; not of those between steps."""
        self.divergence = ""
        """Where the last step that diverged did so, in words."""
        self._known = KnownSteps()
        self._tier, self._recomputer = tier, recomputer
        self._name_of: dict[int, str] = {}
        """In the recorded step, by key of the storage."""
        self._key_of: dict[str, int] = {}
        self._dead_at: dict[int, list[str]] = {}
        self._dead: set[int] = set()
        """Keys of content that nobody needs again, in memory that the program still holds."""
        self._waiting: deque[_WaitingFetch] = deque()
        self._reader = PassageReader()
        self._before: int | None = None
        """The last operator that was as expected."""
        self._first = self._op = 0

    @property
    def planned_steps(self) -> Sequence[PlannedStep]:
        """All that are known; the one that was followed last comes first."""
        return self._known.all

    @property
    def how(self) -> How:
        """How the step has run, now that it is over; one that stops before the end of its plan has diverged."""
        if not self.planned_steps:
            return "on demand"
        is_through = self.planned_step is not None and self._op == self.planned_step.recorded.last_operator
        return "planned" if is_through else "diverged"

    def learn(self, planned_step: PlannedStep, *, living: dict[int, str]) -> None:
        """Follow `planned_step` from the next step on; `living` names the storages that are alive now."""
        self._known.prefer(planned_step)
        self._name_of = dict(living)
        self._key_of = {name: key for key, name in living.items()}

    def known(self, recorded: RecordedStep) -> PlannedStep | None:
        """Return the planned step of the same operators, if there is one."""
        return self._known.of(recorded)

    def replace(self, planned_step: PlannedStep, replacement: PlannedStep) -> None:
        """Follow `replacement` where `planned_step` was followed; it is another plan for the same operators."""
        self._known.replace(planned_step, replacement)

    def forget_planned_steps(self) -> None:
        """Know no planned step any more: those that there were planned for another budget."""
        self._known.clear()
        self._tier.evict_by(least_recently_used)

    def begin_step(self, *, first_operator: int) -> None:
        """Begin a step, by the plan of the last one; the tier counts its operators from `first_operator` on."""
        self._first, self._op = first_operator, 0
        self._reader, self._before, self.seconds, self._dead = PassageReader(), None, {}, set()
        planned_step = self.planned_steps[0]
        for name, later in planned_step.recorded.outlived.items():
            if name in self._key_of:
                self._call(self._key_of.pop(name), later)
        self._follow(planned_step)

    def conclude(self) -> None:
        """All operators of the step have run: one that stops where another planned step ends was that one."""
        if self.planned_step is None or self._before is None:
            return
        planned_step = self._known.that_ends(self.planned_step.recorded, op=self._before)
        if planned_step is not None:
            self.planned_step = planned_step
            self._known.prefer(planned_step)

    def end_step(self) -> None:
        """Watch nothing but deaths until the next step begins."""
        self.planned_step = None
        self._recomputer.end_step()

    def comes(self, op: int, *, name: str, keys: Sequence[int], makes_bytes: int | None) -> None:
        """See whether it is the expected one, and do what the plan says."""
        self._op, planned_step = op, self.planned_step
        if planned_step is None:
            return
        recorded = planned_step.recorded
        name_of = self._name_of
        storages = tuple([name_of.get(key) for key in keys])
        if None in storages:
            for index, key in enumerate([key for key in keys if key not in name_of]):
                self._call(key, recorded.strangers.get((op, index), _UNKNOWN))
        passage = self._reader.read(name, tuple([name_of[key] for key in keys]), makes_bytes)
        if recorded.passages.get(op) != passage:
            planned_step = self._diverge(recorded, passage)
        self._before = op
        if planned_step is not None and op in planned_step.schedule.busy:
            self._act(planned_step.schedule)

    def ready(self, op: int) -> None:  # noqa: ARG002
        """Fetch what waits for room, while there is some."""
        while self._waiting:
            fetch = self._waiting[0]
            is_alive = fetch.key in self._tier
            if is_alive and not self._tier.fetch(fetch.block, deadline=fetch.due):
                # In order: a later fetch that is smaller would take the room that this one waits for.
                if self.planned_step is not None:  # none between steps, where nobody knows what is dead
                    self._let_dead_go(self.planned_step, until=fetch.due)
                return
            self._waiting.popleft()

    def allocated(self, op: int, *, index: int, key: int) -> None:
        """Give the storage the name that it has in the recorded step."""
        if self.planned_step is not None and (op, index) in self.planned_step.recorded.allocated:
            self._call(key, self.planned_step.recorded.allocated[op, index])

    def ran(self, op: int, *, seconds: float) -> None:
        """Enter the time, discard what the plan says, and enter what is of no use any more."""
        if self.planned_step is not None:
            self.seconds[op] = seconds
            for name in self.planned_step.schedule.discards.get(op, ()):
                if name in self._key_of:
                    key = self._key_of[name]
                    # It may refuse: then the content stays, and moves like any other. Or nobody but the recomputer
                    # kept the storage, for an heir that has other sources now: then it has died of it.
                    was_discarded = self._recomputer.discard(key)
                    assert not was_discarded or self._recomputer.is_discarded(key) or key not in self._tier
        dead = self._dead_at.get(op)
        if dead:
            self._dead.update(self._key_of[name] for name in dead if name in self._key_of)

    def died(self, key: int) -> None:
        """Forget it."""
        assert not self._recomputer.is_discarded(key), "the recomputer hears of deaths first"
        self._dead.discard(key)  # the next storage may get the same key
        name = self._name_of.pop(key, None)
        if name is not None and self._key_of.get(name) == key:
            del self._key_of[name]

    def _call(self, key: int, name: str) -> None:
        self._name_of[key], self._key_of[name] = name, key

    def _follow(self, planned_step: PlannedStep | None) -> None:
        """Go on by `planned_step`; without one, do nothing ahead any more."""
        self.planned_step = planned_step
        if planned_step is None:
            self._waiting.clear()
            self._tier.evict_by(least_recently_used)
            self._recomputer.expect(frozenset())
            return
        self._tier.evict_by(self._needed_last)
        self._recomputer.expect(planned_step.schedule.producers)
        dead_at: dict[int, list[str]] = defaultdict(list)
        for name, uses in planned_step.recorded.uses.items():
            if name not in planned_step.recorded.remains:
                dead_at[uses[-1]].append(name)
        self._dead_at = dead_at

    def _diverge(self, recorded: RecordedStep, passage: Passage) -> PlannedStep | None:
        """Go on by another planned step that is like this one so far, or by none."""
        planned_step = self._known.that_goes_on(recorded, before=self._before, op=self._op, passage=passage)
        if planned_step is not None:
            self._known.prefer(planned_step)
        else:
            expected = recorded.passages.get(self._op)
            self.divergence = f"its operator {self._op} is {passage}, not {expected or 'a view, or none'}"
        self._follow(planned_step)
        return planned_step

    def _act(self, schedule: OperatorSchedule) -> None:
        """Do what the plan says before this operator."""
        op, now = self._op, self._first + self._op
        # What leaves first: it makes the room that the rest needs.
        for move in schedule.leaves.get(op, ()):
            for _, block in self._blocks(move):
                self._tier.leave(block, deadline=now + move.due)
        for move in schedule.saves.get(op, ()):
            for _, block in self._blocks(move):
                self._tier.save(block, deadline=now + move.due)
        # Fetches begin when the operator's own needs are met, see `ready`.
        for move in schedule.fetches.get(op, ()):
            for key, block in self._blocks(move):
                self._waiting.append(_WaitingFetch(now + move.due, key, block))
        self._recomputer.recompute(
            self._key_of[name] for name in schedule.recomputes.get(op, ()) if name in self._key_of
        )

    def _blocks(self, move: ScheduledMove) -> Iterator[tuple[int, TierBlock]]:
        """Yield the blocks that begin within the move, so that neighbouring moves share none."""
        key = self._key_of.get(move.storage)
        if key is not None and key in self._tier:
            first, end = -(-move.first_byte // BLOCK_BYTES), -(-move.end_byte // BLOCK_BYTES)
            for block in self._tier.blocks_of(key)[first:end]:
                yield key, block

    def _let_dead_go(self, planned_step: PlannedStep, *, until: int) -> None:
        """Let dead content leave that the program holds until then or longer; the rest will leave its room unwritten."""
        deaths, first = planned_step.recorded.deaths, self._first
        going = [key for key in self._dead if first + deaths[self._name_of[key]] >= until]
        for key in going:
            if key in self._tier:
                for block in self._tier.blocks_of(key):
                    self._tier.leave(block, deadline=first + self._op)
        self._dead.difference_update(going)

    def _needed_last(self, managed: ManagedStorage) -> float:
        """Rank by the next use: Belady's rule."""
        name = self._name_of.get(managed.number)
        if name is None or self.planned_step is None:
            return math.inf
        next_use = self.planned_step.recorded.next_use(name, after=self._op)
        return math.inf if next_use is None else next_use
