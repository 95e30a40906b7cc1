"""Which step is the measured one, and what the engine asks of a pager."""

from collections.abc import Sequence

import pytest
from tests.support.simulated import SteadyStep, in_pages, pages_per_second, simulated, step

from tmtrain.deciding import Decision, Knowledge, Pager, Policy
from tmtrain.errors import PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.pagers.lru import LruPager
from tmtrain.simulation import Result, simulate, try_policy

MACHINE = pages_per_second(write=0.5)


def _run(timeline: Timeline, pager: Pager, knowledge: Knowledge = Knowledge.FREED) -> Result:
    decision = Decision(timeline=timeline, knowledge=knowledge, pager=pager)
    return simulate(decision, machine=MACHINE, policy="test")


class _Restless(LruPager):
    """Gives up one page more of extent 0 in every step."""

    def __init__(self) -> None:
        super().__init__()
        self._steps = 0

    def touch(self, extent: int, access: int) -> None:
        super().touch(extent, access)
        self._steps += access == 0

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        chosen = super().victims(pages, held=held)
        return [(0, pages + self._steps)] if chosen[0][0] == 0 else chosen


def test_a_step_that_never_repeats_itself_is_refused() -> None:
    timeline = step(["c:r", "a:r", "b:r"], pages={"c": 99, "a": 1, "b": 1}, fast_pages=100)
    with pytest.raises(PolicyError, match="after 40 steps the traffic of a step still changes"):
        _run(timeline, _Restless())


def test_a_setting_that_never_settles_is_passed_over() -> None:
    timeline = step(["c:r", "a:r", "b:r"], pages={"c": 99, "a": 1, "b": 1}, fast_pages=100)
    assert try_policy(_Tunable(_Restless, LruPager), timeline, machine=MACHINE).result.bytes_in > 0
    with pytest.raises(PolicyError, match="after 40 steps"):
        try_policy(_Tunable(_Restless), timeline, machine=MACHINE)


class _Tunable(Policy):
    """A policy of several settings, one pager each."""

    name = "tunable"

    def __init__(self, *pagers: type[LruPager]) -> None:
        self._pagers = pagers

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        return Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, pager=self._pagers[0]())

    def variants(self) -> tuple[Policy, ...]:
        return tuple(_Tunable(pager) for pager in self._pagers)


def test_of_a_pager_that_alternates_the_dearer_step_is_measured() -> None:
    # Two of three pages fit. MIN misses three times in two rounds: once in one, twice in the other.
    timeline = step(["a:r", "b:r", "c:r"], pages={"a": 1, "b": 1, "c": 1}, fast_pages=2)
    assert in_pages(simulated("belady", timeline, MACHINE)) == SteadyStep(
        pages_in=2, pages_out=0, step_s=5, stall_s=2
    )


def test_the_cold_start_is_not_the_steady_step() -> None:
    # Everything fits: the first step brings it in, the steady one moves nothing.
    result = simulated("lru", step(["a:r", "b:r"], pages={"a": 2, "b": 2}, fast_pages=4), MACHINE)
    assert in_pages(result) == SteadyStep(pages_in=0, pages_out=0, step_s=2, stall_s=0)
    assert result.warm_up_steps >= 1


def test_two_steps_that_happen_to_move_the_same_are_not_steady_yet() -> None:
    # MIN brings in 11 pages, then 3 and 3 while it still changes what it keeps, and from then on 4 (found by chance).
    timeline = step(
        ["e:r f:r", "e:w", "b:r d:rw", "c:new d:w", "a:r", "e:w f:w", "f:w", "e:w"],
        pages={"a": 3, "b": 3, "c": 5, "d": 1, "e": 2, "f": 2},
        fast_pages=8,
        frees={4: "c"},
        duration_s=[0.5, 3, 1, 3, 1, 0.5, 0.5, 0.5],
    )
    assert in_pages(simulated("belady", timeline, pages_per_second(read=0.5))).pages_in == 4


def test_a_pager_that_never_learns_of_deaths_writes_the_dead() -> None:
    # x dies in slice 0 and has to make room for v: for nothing if the pager is told, for a write if not.
    timeline = step(["x:new w:r", "v:r w:r"], pages={"x": 1, "w": 1, "v": 1}, fast_pages=2, frees={0: "x"})
    assert in_pages(_run(timeline, LruPager(), Knowledge.FREED)).pages_out == 0
    assert in_pages(_run(timeline, LruPager(), Knowledge.NEVER)).pages_out == 1


class _Generous(LruPager):
    """Gives up all of an extent where a page is asked for, and remembers how many were."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        self.asked.append(pages)
        chosen = super().victims(pages, held=held)
        return [(extent, held[extent]) for extent, _ in chosen]


def test_a_pager_is_not_asked_for_room_that_is_on_its_way() -> None:
    # Slice 1 needs a page and gets the two of a, both dirty; while the second is still being written, slice 2 needs a page.
    timeline = step(
        ["a:rw", "b:r", "c:r"], pages={"a": 2, "b": 1, "c": 1}, fast_pages=2, duration_s=[1, 0.5, 1]
    )
    pager = _Generous()
    _run(timeline, pager)
    assert pager.asked[:2] == [1, 2]  # for b, nothing for c, and for a in the next step
