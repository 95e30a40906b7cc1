"""How little fast memory a step can train with: the smallest capacity that meets a limit on time, energy or drive life.

Note [Two searches]
    One search finds where our plans begin to meet the limit, another where the lower bound ceases to forbid it. Between the
    two lies what is neither achieved nor ruled out; it is as wide as the planner's gap makes it. Both halve an
    interval of capacities, and the step is lowered anew at each of them, because how it is cut depends on the capacity.

    Known limitation: what is proved is proved at the capacities tried. Between and below them, the bound is taken to fall
    as memory grows. For time and writes more memory never hurts. Energy has the standing power of the memory on the other
    side, so there the search begins at the top and stops at the first capacity, halving, that fails after one that did not.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tmtrain.errors import InfeasibleError, InputError
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import Machine
from tmtrain.planning.planner import plan
from tmtrain.planning.problem.objective import make_objective, references
from tmtrain.planning.problem.wear import write_budget_of_life
from tmtrain.plans.plan import Plan
from tmtrain.trace import Trace
from tmtrain.units import format_bytes

TOLERANCE = 0.02
"""Relative width at which a search stops."""
SMALLEST = 1 / 1024
"""Of the footprint: no search goes below."""

Judge = Callable[[Plan, Timeline, str], float]
"""What a plan of the timeline needs of an objective."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What the step may need, at most."""

    kind: Literal["slowdown", "energy", "life"]
    objective: Literal["time", "energy", "writes"]
    value: float
    """Of the objective: seconds, joules, or bytes written per step."""
    words: str
    """As it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """One capacity that was tried."""

    fast_bytes: int
    value: float
    """What the plan needs; infinite where the step does not fit at all."""
    bound: float
    plan: Plan | None
    timeline: Timeline | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastFast:
    """The answer: an interval, and the plan at its upper end."""

    limit: Limit
    footprint_bytes: int
    impossible_bytes: int
    """With so much no plan of the class meets the limit, says the bound (or an operator that does not fit); 0 if at every
    capacity tried the bound allows it."""
    achieved: Probe
    """Smallest capacity found whose plan meets it."""
    probes: tuple[Probe, ...]
    """All capacities tried, from the smallest."""


def slowdown_limit(trace: Trace, *, machine: Machine, slowdown: float) -> Limit:
    """Allow a step to take `slowdown` times the ideal one.

    Raises:
        InputError: below 1.
    """
    if slowdown < 1:
        raise InputError(
            f"a slowdown of {slowdown:g} would be faster than everything in fast memory: give at least 1"
        )
    seconds = references(_all_fast(trace, machine), machine=machine)["time"]
    return Limit(
        kind="slowdown",
        objective="time",
        value=slowdown * seconds,
        words=f"{slowdown:g} x the ideal step time",
    )


def energy_limit(trace: Trace, *, machine: Machine, text: str) -> Limit:
    """Allow a step so many joules ("120", "120J"), or times those of the all-fast step ("1.1x").

    Raises:
        InputError: not a positive number.
    """
    bare = text.strip().removesuffix("J").removesuffix("x").strip()
    try:
        number = float(bare)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise InputError(
            f"{text!r} is not an energy: write joules of a step (120J) or times those of the all-fast step (1.1x)"
        )
    if not text.strip().endswith("x"):
        return Limit(kind="energy", objective="energy", value=number, words=f"{number:g} J a step")
    joules = references(_all_fast(trace, machine), machine=machine)["energy"]
    return Limit(
        kind="energy",
        objective="energy",
        value=number * joules,
        words=f"{number:g} x the energy of the all-fast step",
    )


def life_limit(trace: Trace, *, machine: Machine, life_s: float, words: str) -> Limit:
    """Ask the drive to last so long, even if every step were as fast as the ideal one."""
    seconds = references(_all_fast(trace, machine), machine=machine)["time"]
    budget = write_budget_of_life(machine, life_s=life_s, step_time_s=seconds)
    return Limit(kind="life", objective="writes", value=budget, words=f"a drive life of at least {words}")


def predicted(made: Plan, timeline: Timeline, objective: str, *, machine: Machine) -> float:
    """Return what a plan predicts of an objective."""
    expected = made.prediction
    return make_objective(objective, timeline=timeline, machine=machine).measured(
        energy_j=expected.energy_j,
        step_time_s=expected.step_time_s,
        bytes_in=expected.bytes_in,
        bytes_out=expected.bytes_out,
    )


def min_fast(
    trace: Trace,
    *,
    machine: Machine,
    limit: Limit,
    recompute: bool = True,
    tolerance: float = TOLERANCE,
    time_limit_s: float | None = None,
    judge: Judge | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> LeastFast:
    """Find the smallest fast tier with which the step meets a limit.

    Args:
        trace: The step.
        machine: What it runs on.
        limit: `slowdown_limit`, `energy_limit` or `life_limit`.
        recompute: Whether plans may.
        tolerance: Relative width at which the searches stop.
        time_limit_s: For each programme of each plan.
        judge: Measures a plan; by default what it predicts. A simulator may be given.
        tell: Called with a line before each plan.

    Raises:
        InfeasibleError: the limit is met at no capacity tried; says what comes closest.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.trace import example_trace
    >>> machine = load_machine("v4-slc")
    >>> limit = slowdown_limit(example_trace(), machine=machine, slowdown=1.0)
    >>> least = min_fast(example_trace(), machine=machine, limit=limit)
    >>> least.impossible_bytes < least.achieved.fast_bytes <= 8 * 4096
    True
    """
    search = _Search(trace, machine, limit, recompute, time_limit_s, judge, tell)
    fails, meets = search.bracket()
    achieved = search.halve(fails, meets, tolerance, lambda probe: probe.value <= limit.value)
    allowed = [p for p in search.probes.values() if p.bound <= limit.value]
    least_allowed = min(allowed, key=lambda probe: probe.fast_bytes)
    below = [
        p.fast_bytes
        for p in search.probes.values()
        if p.bound > limit.value and p.fast_bytes < least_allowed.fast_bytes
    ]
    if below:
        search.halve(
            max(below), least_allowed.fast_bytes, tolerance, lambda probe: probe.bound <= limit.value
        )
    probes = tuple(search.probes[size] for size in sorted(search.probes))
    lowest = min(p.fast_bytes for p in probes if p.bound <= limit.value)
    return LeastFast(
        limit=limit,
        footprint_bytes=trace.footprint_bytes,
        impossible_bytes=max((p.fast_bytes for p in probes if p.fast_bytes < lowest), default=0),
        achieved=achieved,
        probes=probes,
    )


class _Search:
    def __init__(
        self,
        trace: Trace,
        machine: Machine,
        limit: Limit,
        recompute: bool,
        time_limit_s: float | None,
        judge: Judge | None,
        tell: Callable[[str], None],
    ) -> None:
        self._trace, self._machine, self._limit, self._recompute = trace, machine, limit, recompute
        self._time_limit_s, self._judge, self._tell = time_limit_s, judge, tell
        self._page = machine.slow.page_bytes
        self.probes: dict[int, Probe] = {}

    def bracket(self) -> tuple[int, int]:
        """Go down from the footprint, halving, until the limit fails after it was met; return both capacities."""
        size, met = whole_step_bytes(self._trace, self._machine), 0
        least = max(self._page, int(SMALLEST * self._trace.footprint_bytes))
        while size >= least:
            if self.probe(size).value <= self._limit.value:
                met = size
            elif met or self.probe(size).plan is None:
                break
            size = self._pages(size / 2)
        if not met:
            raise self._never()
        return min(size, self._pages(met / 2)), met

    def halve(self, fails: int, meets: int, tolerance: float, test: Callable[[Probe], bool]) -> Probe:
        """Narrow the interval down to the tolerance, or to a page; return the probe at its upper end."""
        while meets - fails > max(tolerance * meets, self._page):
            middle = self._pages((fails + meets) / 2)
            fails, meets = (fails, middle) if test(self.probe(middle)) else (middle, meets)
        return self.probe(meets)

    def probe(self, size: int) -> Probe:
        """Lower and plan at this capacity, once."""
        if size not in self.probes:
            share = size / self._trace.footprint_bytes
            self._tell(f"{self._trace.model}: {format_bytes(size)} of fast memory ({share:.1%})")
            self.probes[size] = self._try(size)
        return self.probes[size]

    def _try(self, size: int) -> Probe:
        nothing = Probe(fast_bytes=size, value=float("inf"), bound=float("inf"), plan=None, timeline=None)
        if size < self._page:
            return nothing
        try:
            timeline = lower(self._trace, machine=self._machine, fast_bytes=size)
        except InfeasibleError:
            return nothing
        objective = self._limit.objective
        made = plan(
            timeline,
            machine=self._machine,
            objective=objective,
            recompute=self._recompute,
            time_limit_s=self._time_limit_s,
        )
        assert made.certificate is not None
        if self._judge is None:
            value = predicted(made, timeline, objective, machine=self._machine)
        else:
            value = self._judge(made, timeline, objective)
        return Probe(
            fast_bytes=size, value=value, bound=made.certificate.bound.value, plan=made, timeline=timeline
        )

    def _pages(self, size: float) -> int:
        return int(size) // self._page * self._page

    def _never(self) -> InfeasibleError:
        tried = [p for p in self.probes.values() if p.plan is not None]
        limit, unit = self._limit, {"time": "s", "energy": "J", "writes": "B"}[self._limit.objective]
        if not tried:
            return InfeasibleError(
                f"the step of {self._trace.model} fits into no capacity tried, up to its footprint"
            )
        best = min(tried, key=lambda probe: probe.value)
        ruled_out = (
            "proved by the bound" if min(p.bound for p in tried) > limit.value else "as far as was found"
        )
        return InfeasibleError(
            f"no fast memory is enough for {limit.words} ({limit.value:.4g} {unit} a step), {ruled_out}: "
            f"the least is {best.value:.4g} {unit}, with {format_bytes(best.fast_bytes)}. Allow more",
            capacity_bytes=best.fast_bytes,
        )


def whole_step_bytes(trace: Trace, machine: Machine) -> int:
    """Return a capacity with which nothing has to move: every storage in whole pages."""
    page = machine.slow.page_bytes
    pages = int((-(-trace.storages.bytes // page)).sum())
    live = -(-trace.footprint_bytes // page) + len(trace.storages)
    return min(pages, live) * page


def _all_fast(trace: Trace, machine: Machine) -> Timeline:
    return lower(trace, machine=machine, fast_bytes=whole_step_bytes(trace, machine))
