"""How little fast memory a step can train with: the smallest capacity that meets a limit on time, energy or drive life.

Note [Two searches]
    One search finds where our plans begin to meet the limit, another where the lower bound ceases to forbid it. Between the
    two lies what is neither achieved nor ruled out; it is as wide as the planner's optimality gap makes it. Both halve an
    interval of capacities, and the step is lowered anew at each of them, because how it is cut depends on the capacity.

    Known limitation: what is proved is proved at the capacities tried. Between and below them, the bound is taken to fall
    as memory grows. For time and writes more memory never hurts. Energy has the standing power of the memory on the other
    side, so there the search begins at the top and stops at the first capacity, halving, that fails after one that did not.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from tmtrain.errors import InfeasibleError, InputError
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import make_objective, references
from tmtrain.planning.problem.wear import write_budget_of_life
from tmtrain.plans.plan import Plan
from tmtrain.policies import plan
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
    """Smallest capacity tried whose plan meets it."""
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


def predicted(plan: Plan, timeline: Timeline, objective: str, *, machine: Machine) -> float:
    """Return what a plan predicts of an objective."""
    expected = plan.prediction
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
    search = _Search(
        trace=trace,
        machine=machine,
        limit=limit,
        recompute=recompute,
        time_limit_s=time_limit_s,
        judge=judge,
        tell=tell,
    )
    fails, meets = search.bracket()
    achieved = search.halve(fails, meets, tolerance, lambda probe: probe.value <= limit.value)
    search.narrow_bound(tolerance)
    probes = tuple(search.probes[size] for size in sorted(search.probes))
    lowest = min(p.fast_bytes for p in probes if p.bound <= limit.value)
    return LeastFast(
        limit=limit,
        footprint_bytes=trace.footprint_bytes,
        impossible_bytes=max((p.fast_bytes for p in probes if p.fast_bytes < lowest), default=0),
        achieved=achieved,
        probes=probes,
    )


@dataclass(slots=True, kw_only=True)
class _Search:
    """The capacities tried so far, and what is needed to try another: Note [Two searches]."""

    trace: Trace
    machine: Machine
    limit: Limit
    recompute: bool
    time_limit_s: float | None
    judge: Judge | None
    tell: Callable[[str], None]
    probes: dict[int, Probe] = field(default_factory=dict[int, Probe])

    @property
    def page_bytes(self) -> int:
        """Capacities are whole pages."""
        return self.machine.slow.page_bytes

    def bracket(self) -> tuple[int, int]:
        """Go down from the footprint, halving, until the limit fails after it was met; return both capacities."""
        size, met = whole_step_bytes(self.trace, self.machine), 0
        least = max(self.page_bytes, int(SMALLEST * self.trace.footprint_bytes))
        while size >= least:
            if self.probe(size).value <= self.limit.value:
                met = size
            # Before the first that meets the limit, less memory may still help: its standing power costs energy. What does
            # not even fit never helps.
            elif met or self.probe(size).plan is None:
                break
            size = self._whole_pages(size / 2)
        if not met:
            raise self._never()
        return min(size, self._whole_pages(met / 2)), met

    def halve(self, fails: int, meets: int, tolerance: float, test: Callable[[Probe], bool]) -> Probe:
        """Narrow the interval down to the tolerance, or to a page; return the probe at its upper end."""
        while meets - fails > max(tolerance * meets, self.page_bytes):
            middle = self._whole_pages((fails + meets) / 2)
            fails, meets = (fails, middle) if test(self.probe(middle)) else (middle, meets)
        return self.probe(meets)

    def narrow_bound(self, tolerance: float) -> None:
        """Narrow down where the bound ceases to forbid the limit: between the capacities tried on either side of that."""
        limit = self.limit.value
        allowed = min(size for size, probe in self.probes.items() if probe.bound <= limit)
        forbidden = [size for size, probe in self.probes.items() if probe.bound > limit and size < allowed]
        if forbidden:
            self.halve(max(forbidden), allowed, tolerance, lambda probe: probe.bound <= limit)

    def probe(self, size: int) -> Probe:
        """Lower and plan at this capacity, once."""
        if size not in self.probes:
            share = size / self.trace.footprint_bytes
            self.tell(f"{self.trace.model}: {format_bytes(size)} of fast memory ({share:.1%})")
            self.probes[size] = self._try(size)
        return self.probes[size]

    def _try(self, size: int) -> Probe:
        nothing = Probe(fast_bytes=size, value=float("inf"), bound=float("inf"), plan=None, timeline=None)
        if size < self.page_bytes:
            return nothing
        try:
            timeline = lower(self.trace, machine=self.machine, fast_bytes=size)
        except InfeasibleError:
            return nothing
        objective = self.limit.objective
        candidate = plan(
            timeline,
            machine=self.machine,
            objective=objective,
            recompute=self.recompute,
            time_limit_s=self.time_limit_s,
        )
        proof = candidate.certificate
        assert proof is not None
        if self.judge is None:
            value = predicted(candidate, timeline, objective, machine=self.machine)
        else:
            value = self.judge(candidate, timeline, objective)
        return Probe(fast_bytes=size, value=value, bound=proof.bound.value, plan=candidate, timeline=timeline)

    def _whole_pages(self, size: float) -> int:
        return int(size) // self.page_bytes * self.page_bytes

    def _never(self) -> InfeasibleError:
        tried = [p for p in self.probes.values() if p.plan is not None]
        limit, unit = self.limit, {"time": "s", "energy": "J", "writes": "B"}[self.limit.objective]
        if not tried:
            return InfeasibleError(
                f"the step of {self.trace.model} fits into no capacity tried, up to its footprint"
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
