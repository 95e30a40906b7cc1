"""The tier against plain memory: whatever is asked of it, and whatever goes wrong, it holds the same bytes."""

import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from tests.support.interruptions import Interruption, interrupted_at
from tests.support.thoroughness import examples
from tests.support.tier_caller import TierCaller

import tmtrain.runtime.tier
from tmtrain.errors import FlashError, InfeasibleError
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.runtime.tier.mover import Mover
from tmtrain.runtime.tier.pages import keep_large_blocks_apart
from tmtrain.runtime.tier.tier import Tier
from tmtrain.testing import Fault, FaultKind, faults

KIB, MIB = 1 << 10, 1 << 20
BUDGET = 2 * MIB
ROOM = Path(tmtrain.runtime.tier.__path__[0])
MOST_BLOCKS = 2
"""Of a storage."""
LOOKED_AT = 512
"""Bytes that somebody else reads or writes."""

_sizes = st.integers(500 * KIB, 1300 * KIB)
_numbers = st.integers(0, 5)
_survivable: list[FaultKind] = [
    "EIO on read",
    "EIO on write",
    "short read",
    "short write",
    "flipped bit",
    "slow read",
    "slow write",
]


class TierBesidePlainMemory(RuleBasedStateMachine):
    """Random histories of one tier."""

    def __init__(self) -> None:
        super().__init__()
        keep_large_blocks_apart()
        self._folder = tempfile.TemporaryDirectory(dir=".", prefix=".tier-")
        with faults() as self._drive:
            flash = FlashFile(Path(self._folder.name), size_bytes=4 * MIB)
        self._tier = Tier(flash=flash, mover=Mover(flash), budget_bytes=BUDGET)
        self._caller = TierCaller(self._tier)
        self._interrupt_at = 0
        self._made = 0

    def _call(self, function: Callable[..., None], *args: object, **kwargs: object) -> None:
        """Make a call that may end early; what it was to do is done or not, and nothing else."""
        interrupt_at, self._interrupt_at = self._interrupt_at, 0
        try:
            with interrupted_at(interrupt_at, folder=ROOM):
                function(*args, **kwargs)
        except (Interruption, InfeasibleError, FlashError):
            pass

    def _living(self, number: int) -> int | None:
        living = sorted(self._caller.storages)
        return living[number % len(living)] if living else None

    def _call_on(self, function: Callable[..., None], number: int, **kwargs: object) -> None:
        living = self._living(number)
        if living is not None:
            self._call(function, living, **kwargs)

    @initialize(sizes=st.lists(_sizes, min_size=3, max_size=5))
    def begin(self, sizes: list[int]) -> None:
        for size in sizes:
            self.admit(size)
            self.operate({self._made}, value=self._made, part=False)

    @rule(size=_sizes)
    def admit(self, size: int) -> None:
        if len(self._caller.storages) < 6:
            self._made += 1
            self._call(self._caller.admit, self._made, size)

    @rule(
        numbers=st.sets(_numbers, min_size=1, max_size=2),
        value=st.none() | st.integers(1, 9),
        part=st.booleans(),
    )
    def operate(self, numbers: set[int], value: int | None, part: bool) -> None:
        living = {self._living(number) for number in numbers} - {None}
        touched = (70_000, 71_000) if part else None
        self._call(self._caller.operate, sorted(filter(None, living)), value=value, part=touched)

    @rule(
        numbers=st.lists(_numbers, min_size=1, max_size=3),
        advice=st.sampled_from(["leave", "save", "fetch", "discard"]),
    )
    def advise(self, numbers: list[int], advice: str) -> None:
        for number in numbers:
            self._call_on(getattr(self._caller, advice), number)

    @rule(number=_numbers)
    def dismiss(self, number: int) -> None:
        self._call_on(self._caller.dismiss, number)

    @rule(number=_numbers)
    def keep(self, number: int) -> None:
        self._call_on(self._caller.keep, number)

    @rule(number=_numbers, size=st.none() | st.just(0) | _sizes)
    def put_elsewhere(self, number: int, size: int | None) -> None:
        self._call_on(self._caller.put_elsewhere, number, size=size)

    @rule(share=st.sampled_from([1, 2, 3]))
    def change_the_budget(self, share: int) -> None:
        self._tier.budget_bytes = BUDGET * share // 2

    @rule(kind=st.sampled_from(_survivable), at=st.integers(0, 3))
    def fail(self, kind: FaultKind, at: int) -> None:
        self._drive.inject(Fault(kind=kind, at=at, seconds=0.002))

    @rule(line=st.integers(1, 120))
    def interrupt(self, line: int) -> None:
        self._interrupt_at = line

    @rule(number=_numbers, at=st.floats(0, 1))
    def look_from_another_thread(self, number: int, at: float) -> None:
        living = self._living(number)
        if living is not None:
            first = int(at * (len(self._caller.storages[living]) - LOOKED_AT))
            if first >= 0:
                assert _in_thread(lambda: self._caller.finds(living, at=first, size=LOOKED_AT))

    @rule(number=_numbers, at=st.floats(0, 1), value=st.integers(0, 255))
    def write_from_another_thread(self, number: int, at: float, value: int) -> None:
        """Past the tier, to what is in memory as a whole: what is out is closed, which kills."""
        living = self._living(number)
        if living is not None:
            first = int(at * (len(self._caller.storages[living]) - LOOKED_AT))
            if first >= 0:
                _in_thread(lambda: self._caller.write_past(living, at=first, size=LOOKED_AT, value=value))

    @invariant()
    def the_books_are_right(self) -> None:
        self._caller.check_books()

    def teardown(self) -> None:
        """Everything is there in the end."""
        self._drive.mend()
        self._tier.budget_bytes = 16 * MIB
        try:
            self._tell_errors()
            self._caller.check()
        finally:
            self._tier.close()
            self._folder.cleanup()

    def _tell_errors(self) -> None:
        """What failed ahead of time is told to who needs it, once; then it is tried again."""
        for number in [number for number in self._caller.storages for _ in range(MOST_BLOCKS)]:
            with suppress(FlashError):
                self._caller.operate([number])


def _in_thread(function: Callable[[], bool]) -> bool:
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(function()))
    thread.start()
    thread.join()
    return answers == [True]


def test_a_tier_is_plain_memory() -> None:
    run_state_machine_as_test(
        TierBesidePlainMemory, settings=settings(examples(120), stateful_step_count=30, deadline=None)
    )


@pytest.mark.slow
def test_a_tier_is_plain_memory_in_ten_thousand_histories() -> None:
    run_state_machine_as_test(
        TierBesidePlainMemory, settings=settings(max_examples=10_000, stateful_step_count=30, deadline=None)
    )
