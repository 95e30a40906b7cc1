"""What the timing monitor is worth: the same disturbed steps under the static plan, the monitor, and perfect knowledge.

All contenders meet the same durations and flash rates, step for step. What our plan recomputes stays recomputed; what is
kept and moved is what the monitor steers, and what perfect knowledge plans anew.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count
from statistics import fmean

from tmtrain.evaluation.setting import Setting
from tmtrain.lowering import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.monitor.monitor import Monitor
from tmtrain.planning.monitor.observation import Observation
from tmtrain.planning.problem.objective import make_objective
from tmtrain.plans import Plan
from tmtrain.policies import follow
from tmtrain.policies import plan as plan_step
from tmtrain.simulation.noise import (
    Disturbance,
    Jitter,
    OneOff,
    RateDrift,
    SlowFlash,
    conditions_of,
    regime_of,
)
from tmtrain.simulation.steps import Conditions, StepRecord, run_steps
from tmtrain.trace import Trace

MONITOR_SCHEMA = 2
"""Version of ``monitor.json``: ``{"schema": MONITOR_SCHEMA, "runs": [MonitoredRun, ...]}``, and a digest."""
STATIC, MONITORED, PERFECT = "static plan", "monitor", "perfect knowledge"
NOTHING = 0.001
"""A smaller share gained or lost is worth nothing: steps of the same plan differ by as much."""
NUM_STEPS, JITTER = 12, 0.05
"""Of an evaluation: a few seconds for the largest model, as jitter alone makes nobody plan anew."""
_TOLD = 10
"""Progress is told every so many steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DisturbedStep:
    """One step of a contender."""

    step_time_s: float
    stall_s: float
    """Waiting for transfers, part of `step_time_s`."""
    bytes_in: int
    bytes_out: int
    misses: int
    """Accesses whose pages the plan had not brought in."""
    missed_bytes: int
    peak_bytes: int
    """The most that was resident and in flight at once."""
    value: float
    """Of the objective, in its unit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A way to plan, and what came of it; means are over all steps but the first, which begins with fast memory empty."""

    name: str
    step_time_s: float
    """Mean."""
    stall_s: float
    """Mean."""
    value: float
    """Mean of the objective."""
    misses: int
    """All together."""
    plans_adopted: int
    """Besides the first; a return to an earlier one is none."""
    steps: tuple[DisturbedStep, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """What disturbs some of the steps, but for the jitter that disturbs all."""

    label: str
    first_step: int
    last_step: int
    """Inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoredRun:
    """The same disturbed steps of one setting under each contender."""

    model: str
    batch: int
    machine: str
    budget_bytes: int
    fast_fraction: float
    """Of the footprint."""
    objective: str
    """What the plans minimise."""
    jitter: float
    """Standard deviation of the logarithm of each operator's time, from step to step."""
    seed: int
    """Of everything random."""
    strikes: tuple[Strike, ...]
    contenders: tuple[Contender, ...]
    time_gain: float | None
    """Share of the static plan's step time that the monitor saves, negative where it costs; null without a monitor."""
    value_gain: float | None
    """Likewise of the objective."""

    @property
    def is_worth_nothing(self) -> bool:
        """Whether the monitor neither gains nor loses as much as `NOTHING`."""
        gains = (self.time_gain or 0.0, self.value_gain or 0.0)
        return all(abs(gain) < NOTHING for gain in gains)


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorRecord:
    """The whole of ``monitor.json``."""

    schema: int
    runs: list[MonitoredRun]


@dataclass(frozen=True, slots=True, kw_only=True)
class DisturbedSteps:
    """Many steps of a plan, and what disturbs them."""

    timeline: Timeline
    """With the recomputations of the plan in it."""
    machine: Machine
    plan: Plan
    objective: str
    disturbances: tuple[Disturbance, ...]
    num_steps: int
    """At least 2: the first does not count."""
    seed: int = 0
    tell: Callable[[str], None] = lambda _: None
    """Called with a line every few steps."""

    def static(self) -> Contender:
        """Follow the plan, whatever happens."""
        return self.follow(STATIC, self.plan)

    def monitored(self) -> Contender:
        """Begin with the plan, and let the monitor change it."""
        monitor = Monitor(self.timeline, machine=self.machine, objective=self.objective, plan=self.plan)
        return self.follow(MONITORED, self.plan, steer=monitor.next_plan)

    def perfect(self) -> Contender:
        """Know the mean durations and the rates of each regime from its first step on, and plan for them."""
        plans: dict[tuple[float, float], Plan] = {self._regime_key(self._nominal): self.plan}

        def planned(step: int) -> Plan:
            regime = regime_of(
                step, timeline=self.timeline, machine=self.machine, disturbances=self.disturbances
            )
            key = self._regime_key(regime)
            if key not in plans:
                slices = replace(self.timeline.slices, duration_s=regime.duration_s)
                known = replace(self.timeline, slices=slices)
                plans[key] = plan_step(
                    known, machine=regime.machine, objective=self.objective, recompute=False
                )
            return plans[key]

        later = count(1)
        return self.follow(PERFECT, planned(0), steer=lambda _: planned(next(later)))

    def follow(
        self, name: str, plan: Plan, *, steer: Callable[[Observation], Plan] | None = None
    ) -> Contender:
        """Run all steps, the first by `plan`, the others by what `steer` says."""
        records: list[StepRecord] = []
        for record in run_steps(self._conditions(), timeline=self.timeline, plan=plan, steer=steer):
            records.append(record)
            if len(records) % _TOLD == 0 or len(records) == self.num_steps:
                self.tell(f"{name}: step {len(records)} of {self.num_steps}")
        return self._contender(name, records)

    @property
    def _nominal(self) -> Conditions:
        return Conditions(duration_s=self.timeline.slices.duration_s, machine=self.machine)

    def _conditions(self) -> Iterator[Conditions]:
        for step in range(self.num_steps):
            yield conditions_of(
                step,
                timeline=self.timeline,
                machine=self.machine,
                disturbances=self.disturbances,
                seed=self.seed,
            )

    @staticmethod
    def _regime_key(regime: Conditions) -> tuple[float, float]:
        return float(regime.duration_s.sum()), regime.machine.read_bytes_per_s

    def _contender(self, name: str, records: list[StepRecord]) -> Contender:
        goal = make_objective(self.objective, timeline=self.timeline, machine=self.machine)
        steps = tuple(
            DisturbedStep(
                step_time_s=record.step_time_s,
                stall_s=record.stall_s,
                bytes_in=record.bytes_in,
                bytes_out=record.bytes_out,
                misses=record.misses,
                missed_bytes=record.missed_bytes,
                peak_bytes=record.peak_bytes,
                value=goal.value(
                    step_time_s=record.step_time_s, bytes_in=record.bytes_in, bytes_out=record.bytes_out
                ),
            )
            for record in records
        )
        plans = {id(record.observation.plan) for record in records}
        return Contender(
            name=name,
            step_time_s=fmean(step.step_time_s for step in steps[1:]),
            stall_s=fmean(step.stall_s for step in steps[1:]),
            value=fmean(step.value for step in steps[1:]),
            misses=sum(step.misses for step in steps[1:]),
            plans_adopted=len(plans) - 1,
            steps=steps,
        )


def gain_of(monitored: float, static: float) -> float:
    """Return the share of `static` that is saved; negative where more is needed.

    >>> gain_of(3.0, 4.0), gain_of(0.0, 0.0)
    (0.25, 0.0)
    """
    return (static - monitored) / static if static else 0.0


def monitored_run(steps: DisturbedSteps, *, trace: Trace, monitor: bool = True) -> MonitoredRun:
    """Run the contenders through `steps`: perfect knowledge only where a disturbance lasts, else it is the static plan.

    Args:
        steps: What all of them meet.
        trace: The step, for the record.
        monitor: False: the static plan alone.
    """
    watched = steps.monitored() if monitor else None
    # Steps under the same plan are the same steps, so they need not run twice.
    is_static = watched is not None and not watched.plans_adopted
    static = replace(watched, name=STATIC) if watched and is_static else steps.static()
    contenders = [static, *([watched] if watched else [])]
    if watched and any(disturbance.lasting for disturbance in steps.disturbances):
        contenders.append(steps.perfect())
    budget_bytes = steps.timeline.fast_bytes
    return MonitoredRun(
        model=trace.model,
        batch=trace.samples,
        machine=steps.machine.name,
        budget_bytes=budget_bytes,
        fast_fraction=budget_bytes / trace.footprint_bytes,
        objective=steps.objective,
        jitter=sum(d.sigma for d in steps.disturbances if isinstance(d, Jitter)),
        seed=steps.seed,
        strikes=strikes_of(steps.disturbances, num_steps=steps.num_steps),
        contenders=tuple(contenders),
        time_gain=gain_of(watched.step_time_s, static.step_time_s) if watched else None,
        value_gain=gain_of(watched.value, static.value) if watched else None,
    )


def strikes_of(disturbances: Sequence[Disturbance], *, num_steps: int) -> tuple[Strike, ...]:
    """Return what to draw of `disturbances`: all but the jitter, as far as it falls into the steps.

    >>> slow = SlowFlash(factor=0.5, first_step=4, last_step=99)
    >>> strikes_of([Jitter(sigma=0.1), slow], num_steps=12)
    (Strike(label='flash x 0.5', first_step=4, last_step=11),)
    """
    last = num_steps - 1
    strikes: list[Strike] = []
    for struck in disturbances:
        match struck:
            case SlowFlash():
                label, span = f"flash x {struck.factor:g}", (struck.first_step, min(struck.last_step, last))
            case RateDrift():
                label, span = f"durations x {struck.factor:g}", (struck.first_step, last)
            case OneOff():
                label, span = "one-off", (struck.step, struck.step)
            case Jitter():
                continue
        if span[0] <= last:
            strikes.append(Strike(label=label, first_step=span[0], last_step=span[1]))
    return tuple(strikes)


def disturb_setting(setting: Setting, *, tell: Callable[[str], None] = lambda _: None) -> MonitoredRun:
    """Try the monitor in a setting of an evaluation: few steps with jitter on every operator, so that it costs little.

    ``tmtrain simulate --steps N --monitor`` asks for more, and for what lasts.
    """
    decision = follow(setting.ours, setting.timeline, machine=setting.machine)
    steps = DisturbedSteps(
        timeline=decision.timeline,
        machine=setting.machine,
        plan=setting.ours,
        objective=setting.objective,
        disturbances=(Jitter(sigma=JITTER),),
        num_steps=NUM_STEPS,
        tell=tell,
    )
    return monitored_run(steps, trace=setting.trace)
