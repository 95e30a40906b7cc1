"""Note [Interrupted changes]: an exception at any line of the tier loses no byte, and nobody waits for ever."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from tests.support.interruptions import Interruption, interrupted_at
from tests.support.thoroughness import rest_slow
from tests.support.tier_caller import TierCaller

import tmtrain.runtime.tier
from tmtrain.runtime.tier.flash import FlashFile
from tmtrain.runtime.tier.mover import Mover
from tmtrain.runtime.tier.pages import keep_large_blocks_apart
from tmtrain.runtime.tier.tier import Tier

KIB, MIB = 1 << 10, 1 << 20
ROOM = Path(tmtrain.runtime.tier.__path__[0])


def _scenario(caller: TierCaller) -> Iterable[Callable[[], None]]:
    """Everything that a tier is asked to do, in 1.75 MiB, where the three do not fit."""
    one, two, three = 1, 2, 3
    for number in (one, two, three):
        yield lambda number=number: caller.admit(number, 1 * MIB + 300 * KIB if number == one else 400 * KIB)
    yield lambda: caller.operate([one], value=1)
    yield lambda: caller.operate([two, three], value=2)
    yield lambda: caller.save(three)
    yield lambda: caller.leave(three)
    yield lambda: caller.leave(two)
    yield lambda: caller.operate([one], part=(10, 5000), value=3)
    yield lambda: caller.fetch(two)
    yield lambda: caller.operate([one])  # the prefetch makes way
    yield lambda: caller.operate([two, three])
    yield lambda: caller.discard(two)
    yield lambda: caller.operate([two, three], value=4)
    yield lambda: caller.put_elsewhere(two, size=None)
    yield lambda: caller.put_elsewhere(three, size=300 * KIB)
    yield lambda: caller.keep(three)
    yield lambda: caller.put_elsewhere(three, size=350 * KIB)
    yield lambda: caller.operate([two])
    yield lambda: caller.leave(two)
    yield lambda: caller.dismiss(two)
    yield lambda: caller.admit(4, 400 * KIB)
    yield lambda: caller.operate([4, three], value=5)


def _run(folder: Path, number: int, *, at_the_end: bool = False) -> str:
    """Run all of it, interrupted at one line; return which, or nothing if there are less. What is kept must be right."""
    flash = FlashFile(folder, size_bytes=8 * MIB)
    tier = Tier(flash=flash, mover=Mover(flash), budget_bytes=7 * MIB // 4)
    caller = TierCaller(tier)
    where = ""
    lines = 0
    for call in _scenario(caller):
        with (
            suppress(Interruption),
            interrupted_at(number - lines if not at_the_end else 0, folder=ROOM) as count,
        ):
            call()
        lines, where = lines + count.lines, where or count.where
    caller.check()  # who catches, saves
    with suppress(Interruption), interrupted_at(number if at_the_end else 0, folder=ROOM) as count:
        tier.close()
    tier.close()  # who was interrupted before it had begun does it again
    for held, memory in caller.storages.items():
        assert np.array_equal(memory, caller.plain[held]), where
    return where or count.where


@pytest.fixture(autouse=True)
def _apart() -> None:  # pyright: ignore[reportUnusedFunction]
    keep_large_blocks_apart()


@pytest.mark.parametrize("every", rest_slow([53, 1]))
def test_an_exception_at_any_line_loses_nothing(every: int, tmp_path: Path) -> None:
    number = 1
    while _run(tmp_path, number):
        number += every
    assert number > 1000


@pytest.mark.parametrize("every", rest_slow([13, 1]))
def test_nor_does_one_while_everything_comes_back(every: int, tmp_path: Path) -> None:
    number = 1
    while _run(tmp_path, number, at_the_end=True):
        number += every
    assert number > 100
