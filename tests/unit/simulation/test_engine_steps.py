"""Which step is the measured one, and what the engine asks of a pager."""

from collections.abc import Sequence

import pytest
from tests.support.simulated import PAGE, SteadyStep, in_pages, pages_per_second, simulated, step

from tmtrain.deciding import Decision, Knowledge, Pager, Policy
from tmtrain.errors import PolicyError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.policies.pagers.lru import LruPager
from tmtrain.simulation import Result, simulate, try_policy
from tmtrain.simulation.engine import Engine
from tmtrain.simulation.power import power_over_time

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


RESTLESS = step(["c:r", "a:r", "b:r"], pages={"c": 99, "a": 1, "b": 1}, fast_pages=100)


def test_a_step_that_never_repeats_itself_is_the_mean_of_the_last_ones() -> None:
    # Step n gives up n + 1 pages of c for a, after which b fits too, and takes n + 1 pages of c and a and b in again:
    # of the 40 steps the last 20, of which the first found 20 pages of c gone and the last leaves 40.
    result = _run(RESTLESS, _Restless())
    assert (result.measured_steps, result.warm_up_steps) == (20, 20)
    shown_pages = result.conservation.in_bytes / PAGE
    assert result.bytes_in / PAGE == shown_pages - 19 / 2 + 20 / 20
    assert result.shown_s == result.series.end_s[-1] > result.step_time_s - 1


def test_the_window_of_a_step_that_never_repeats_is_closed() -> None:
    """What it lacks at its end of what it found at its start is brought back, at the link's rates."""
    window = Engine(_decision(_Restless()), machine=MACHINE).run()
    assert window.closing_in > 0
    seconds = window.steps[-1].end_s - window.steps[0].start_s
    assert window.step_time_s == (seconds + window.closing_in) / 20


def _decision(pager: Pager) -> Decision:
    return Decision(timeline=RESTLESS, knowledge=Knowledge.FREED, pager=pager)


class _Tunable(Policy):
    """A policy of several settings, one pager each."""

    name = "tunable"

    def __init__(self, *pagers: type[LruPager]) -> None:
        self._pagers = pagers

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        return Decision(timeline=timeline, knowledge=Knowledge.LAST_USE, pager=self._pagers[0]())

    def variants(self) -> tuple[Policy, ...]:
        return tuple(_Tunable(pager) for pager in self._pagers)


class _Stubborn(LruPager):
    """Gives up nothing."""

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        return []


def test_a_setting_that_gets_stuck_is_passed_over() -> None:
    assert try_policy(_Tunable(_Stubborn, LruPager), RESTLESS, machine=MACHINE).result.bytes_in > 0
    with pytest.raises(PolicyError, match=r"tunable cannot run this step: slice 2 .* can never start"):
        try_policy(_Tunable(_Stubborn), RESTLESS, machine=MACHINE)


class _GivesUpA(LruPager):
    """Gives up extent 0 in full."""

    first = 0

    def victims(self, pages: int, *, held: Sequence[int]) -> list[tuple[int, int]]:
        return [(self.first, held[self.first])]


class _GivesUpD(_GivesUpA):
    """Gives up extent 1 in full."""

    first = 1


@pytest.mark.parametrize(
    ("objective", "pages_in", "pages_out"),
    [("time", 1, 1), ("bytes", 1, 1), ("writes", 3, 0), ("writes:1,bytes:0.01", 3, 0)],
)
def test_a_setting_is_chosen_by_the_objective(objective: str, pages_in: int, pages_out: int) -> None:
    # t needs a page: of a, which is clean but comes back in 3 s, or that of d, which is written in 2 s and back in 1 s.
    timeline = step(
        ["a:r d:rw", "t:new", ""],
        pages={"a": 3, "d": 1, "t": 1},
        fast_pages=4,
        frees={1: "t"},
        duration_s=[1, 1, 1],
    )
    policy = _Tunable(_GivesUpA, _GivesUpD)
    machine = pages_per_second(write=2.0)
    got = in_pages(try_policy(policy, timeline, machine=machine, objective=objective).result)
    assert (got.pages_in, got.pages_out) == (pages_in, pages_out)


def test_of_equal_settings_the_first_is_taken() -> None:
    tried = try_policy(_Tunable(LruPager, _GivesUpA), RESTLESS, machine=MACHINE, objective="writes")
    assert type(tried.decision.pager) is LruPager


def test_of_a_pager_that_alternates_a_step_is_the_mean_of_its_cycle() -> None:
    # Two of three pages fit. MIN misses three times in two rounds: once in one, twice in the other.
    timeline = step(["a:r", "b:r", "c:r"], pages={"a": 1, "b": 1, "c": 1}, fast_pages=2)
    result = simulated("belady", timeline, MACHINE)
    assert in_pages(result) == SteadyStep(pages_in=1.5, pages_out=0, step_s=4.5, stall_s=1.5)
    assert result.measured_steps == 2
    power = power_over_time(result)
    assert power.average_w == pytest.approx(result.energy_j / result.step_time_s)


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
