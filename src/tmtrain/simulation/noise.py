"""Disturbances of a step: what a plan made ahead cannot know. Deterministic: the same seed gives the same steps.

Each disturbance changes the durations or the flash rates of the steps that it strikes. *Lasting* ones make a new regime,
to which a planner with perfect knowledge would plan anew; the others come and go too fast to plan for.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, with_constant
from tmtrain.simulation.steps import Conditions
from tmtrain.trace import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Jitter:
    """Every operator takes longer or shorter in every step: lognormal with mean 1."""

    sigma: float

    lasting = False

    def strike(
        self, conditions: Conditions, *, timeline: Timeline, step: int, random: np.random.Generator
    ) -> Conditions:
        """Draw a factor for each operator; its slices share it."""
        del step
        op = timeline.slices.op
        factor = np.exp(random.normal(-(self.sigma**2) / 2, self.sigma, int(op.max(initial=-1)) + 1))
        return replace(conditions, duration_s=conditions.duration_s * factor[op])


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowFlash:
    """The flash runs at `factor` of its rates for a while: garbage collection, heat, a neighbour."""

    factor: float
    first_step: int
    last_step: int
    """Inclusive."""

    lasting = True

    def strike(
        self, conditions: Conditions, *, timeline: Timeline, step: int, random: np.random.Generator
    ) -> Conditions:
        """Scale what reads and writes reach."""
        del timeline, random
        if not self.first_step <= step <= self.last_step:
            return conditions
        return replace(conditions, machine=scale_rates(conditions.machine, self.factor))


@dataclass(frozen=True, slots=True, kw_only=True)
class OneOff:
    """In one step, some operators take `factor` times as long."""

    step: int
    factor: float
    share: float
    """Of the operators, chosen at random."""

    lasting = False

    def strike(
        self, conditions: Conditions, *, timeline: Timeline, step: int, random: np.random.Generator
    ) -> Conditions:
        """Lengthen them."""
        if step != self.step:
            return conditions
        op = timeline.slices.op
        struck = random.random(int(op.max(initial=-1)) + 1) < self.share
        return replace(conditions, duration_s=conditions.duration_s * np.where(struck[op], self.factor, 1.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDrift:
    """From one step on, durations are `factor` times what they were: a clock, a kernel, an input shape changed."""

    first_step: int
    factor: float
    phase: Phase | None = None
    """Only the slices of this phase; None: all."""

    lasting = True

    def strike(
        self, conditions: Conditions, *, timeline: Timeline, step: int, random: np.random.Generator
    ) -> Conditions:
        """Scale them."""
        del random
        if step < self.first_step:
            return conditions
        struck = np.ones(len(conditions.duration_s), bool)
        if self.phase is not None:
            struck = timeline.slices.phase == self.phase
        return replace(conditions, duration_s=conditions.duration_s * np.where(struck, self.factor, 1.0))


Disturbance: TypeAlias = Jitter | SlowFlash | OneOff | RateDrift


def conditions_of(
    step: int, *, timeline: Timeline, machine: Machine, disturbances: Sequence[Disturbance], seed: int
) -> Conditions:
    """Return what step number `step` meets.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> timeline, slower = example_timeline(), RateDrift(first_step=3, factor=1.3)
    >>> for step in (2, 3):
    ...     conditions = conditions_of(
    ...         step, timeline=timeline, machine=load_machine("v4-slc"), disturbances=[slower], seed=0
    ...     )
    ...     print(round(float(conditions.duration_s.sum()) / timeline.compute_s, 6))
    1.0
    1.3
    """
    conditions = Conditions(duration_s=timeline.slices.duration_s, machine=machine)
    for number, disturbance in enumerate(disturbances):
        random = np.random.default_rng([seed, step, number])
        conditions = disturbance.strike(conditions, timeline=timeline, step=step, random=random)
    return conditions


def regime_of(
    step: int, *, timeline: Timeline, machine: Machine, disturbances: Sequence[Disturbance]
) -> Conditions:
    """Return the mean durations and the rates around step `step`: what perfect knowledge could plan with."""
    lasting = [disturbance for disturbance in disturbances if disturbance.lasting]
    return conditions_of(step, timeline=timeline, machine=machine, disturbances=lasting, seed=0)


def scale_rates(machine: Machine, factor: float) -> Machine:
    """Return `machine` with `factor` of the rates that its reads and writes reach."""
    read, write = factor * machine.read_bytes_per_s, factor * machine.write_bytes_per_s
    changed = with_constant(machine, path="slow.read_bandwidth", value=read)
    return with_constant(changed, path="slow.write_bandwidth", value=write)
