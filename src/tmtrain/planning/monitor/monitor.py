"""The timing monitor: after every step, the plan for the next one.

Note [Trial and return]
    A plan that looks better may be worse: slack is measured, its reaction is not known. So a new plan is on trial for
    `TRIAL_STEPS` steps, of which the first, in which memory still holds what the plan before it left, does not count.
    If the median of what it costs is worse than that of the plan before, that one returns at once, and the monitor leaves
    it alone until something drifts. A plan with steered split ratios must even be better; each that is may be followed by
    one that exchanges twice as much. So the monitor comes to rest, and a one-off, which no median of three sees, changes
    nothing. (A second try, with a smaller exchange, used to follow a failure. On GPT-2 at 75 % it failed too, and its two
    long steps fell into the ten in which the monitor should settle.)
"""

from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.monitor.drift import Drift
from tmtrain.planning.monitor.observation import Observation
from tmtrain.planning.monitor.steering import exchange, measured_slack_s, moved_pages
from tmtrain.planning.placing.prediction import make_plan
from tmtrain.planning.planner import propose
from tmtrain.planning.problem.objective import Objective, make_objective
from tmtrain.planning.problem.problem import build_problem
from tmtrain.plans.plan import Plan, Prediction

TRIAL_STEPS = 4
FIRST_SHARE = 0.05
"""Of the pages that late gaps move, to begin with: a trial that fails costs little. Doubled after each that succeeds."""
MAX_SHARE = 0.2
SAME = 0.002
"""Change of the objective, relative, below which two plans are equal."""
SCATTER = 3.0
"""Median deviations of the steps before that are no change either."""
WORTHWHILE = 0.01
"""Share of the objective that has to be left to gain for a trial."""


class _Kind(Enum):
    """How a plan came about."""

    SOLVED = "solved"
    STEERED = "steered"


@dataclass(slots=True)
class _Trial:
    """A plan and how it does."""

    plan: Plan
    kind: _Kind
    seen: list[Observation] = field(default_factory=list)
    """Steps under it, but the first, in which memory still held what the plan before it had left."""
    first: bool = True

    def take(self, seen: Observation) -> None:
        """Take in a step that ran under the plan."""
        if not self.first:
            self.seen = [*self.seen, seen][-(TRIAL_STEPS - 1) :]
        self.first = False

    @property
    def is_over(self) -> bool:
        return len(self.seen) == TRIAL_STEPS - 1


class Monitor:
    """Steers one run; `plan` is for the first step, `next_plan` returns every later one.

    What is recomputed stays as it is in `timeline` (`tmtrain.lowering.insert_recomputations`). What is kept and moved is
    steered.

    Args:
        timeline: The step with its recomputations in it, and the durations that are expected.
        machine: The rates that are expected.
        objective: What plans minimise.
        plan: For the first step, made for this timeline; without it, one is made.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> monitor = Monitor(example_timeline(), machine=load_machine("v4-slc"), objective="time")
    >>> len(monitor.plan.transfers)
    2
    """

    def __init__(
        self, timeline: Timeline, *, machine: Machine, objective: str = "time", plan: Plan | None = None
    ) -> None:
        self._objective = objective
        self._problem = build_problem(timeline)
        self._drift = Drift(timeline, machine=machine)
        self._current = _Trial(plan or self._solve(), _Kind.SOLVED)
        self._before: _Trial | None = None
        """What the current plan has to beat, while it is on trial."""
        self._share, self._rests = FIRST_SHARE, False

    @property
    def plan(self) -> Plan:
        """For the next step."""
        return self._current.plan

    @property
    def machine(self) -> Machine:
        """With the rates that are expected now."""
        return self._drift.machine

    def next_plan(self, seen: Observation) -> Plan:
        """Take in what a step showed; return the plan for the next one."""
        self._current.take(seen)
        # Drift first: whatever is on trial was made for a machine or durations that are no longer so.
        if self._drift.notice(seen):
            self._solve_anew()
        elif self._before is not None and self._is_worse():
            self._return()
        elif self._current.is_over:
            # It passed its trial. What a solved plan gains says nothing about exchanges, so only steered ones grow.
            if self._before is not None and self._current.kind is _Kind.STEERED:
                self._share = min(MAX_SHARE, 2 * self._share)
            self._before = None
            self._steer()
        return self.plan

    def _solve(self) -> Plan:
        timeline, machine = self._drift.timeline, self._drift.machine
        return next(propose(timeline, machine=machine, objective=self._objective, recompute=False))

    def _solve_anew(self) -> None:
        """Plan for what has drifted, and try it if it promises anything: where nothing stalls, nothing is to be mended."""
        self._drift.follow()
        self._share, self._rests = FIRST_SHARE, False
        solved = self._solve()
        if not self._current.seen or self._gain(solved.prediction) > SAME:
            self._try(solved, _Kind.SOLVED)

    def _steer(self) -> None:
        """Put other split ratios on trial, if there is something to gain."""
        if self._rests or self._gain(self.plan.prediction) < WORTHWHILE:
            self._rests = True
            return
        timeline, machine = self._drift.timeline, self._drift.machine
        slacks = [
            measured_slack_s(self._problem, seen, timeline=timeline, machine=machine)
            for seen in self._current.seen
        ]
        slack_s = np.median(slacks, axis=0)
        moved = moved_pages(self._problem, self.plan.transfers)
        steered = exchange(self._problem, moved, slack_s, share=self._share)
        if (steered == moved).all():
            self._rests = True
            return
        plan = make_plan(
            self._problem, steered, timeline=timeline, machine=machine, objective=self._objective
        )
        self._try(plan, _Kind.STEERED)

    def _try(self, plan: Plan, kind: _Kind) -> None:
        """Put a plan on trial against the current one."""
        self._before, self._current = self._current, _Trial(plan, kind)

    def _is_worse(self) -> bool:
        """Whether the plan on trial does worse than the one before; in the end, a steered one has to do better."""
        before, now = self._before, self._current
        if before is None or not now.seen or not before.seen:
            return False
        old, new = self._value(before), self._value(now)
        if now.is_over and now.kind is _Kind.STEERED:
            return new > old - SAME * abs(old)
        # One bad step may be enough to end a trial early, so it has to be worse than the steps differ anyway.
        scatter = float(np.median([abs(self._objective_of(seen) - old) for seen in before.seen]))
        return new > old + max(SAME * abs(old), SCATTER * scatter)

    def _return(self) -> None:
        assert self._before is not None
        # A trial of its own: the first step after the change finds in memory what the failed plan left.
        self._current = _Trial(self._before.plan, self._before.kind)
        self._before = None
        self._rests = True

    def _value(self, trial: _Trial) -> float:
        """Median objective of the steps of `trial`."""
        return float(np.median([self._objective_of(seen) for seen in trial.seen]))

    def _objective_of(self, seen: Observation) -> float:
        """What a step cost at the expected durations: their jitter is no plan's merit."""
        return self._goal().value(
            step_time_s=self._drift.timeline.compute_s + float(seen.stall_s.sum()),
            bytes_in=seen.plan.prediction.bytes_in,
            bytes_out=seen.plan.prediction.bytes_out,
        )

    def _gain(self, least: Prediction) -> float:
        """What a plan would save, relative, if it stalled for nothing but its busiest channel: the most to hope for."""
        bound = self._goal().predicted(least)
        value = self._value(self._current)
        return (value - bound) / abs(value) if value else 0.0

    def _goal(self) -> Objective:
        return make_objective(self._objective, timeline=self._drift.timeline, machine=self._drift.machine)
