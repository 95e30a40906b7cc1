"""How the comparison moves when an uncertain constant of the machine moves through its range.

Each case is the comparison with one constant changed and everything else nominal: ours may answer a slower link with fewer
bytes. None of the constants touches the computation itself, so the Timeline stays; so do the blocks of our plan, which may
be better ones elsewhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tmtrain.errors import PolicyError
from tmtrain.evaluation.compare import PolicyOutcome
from tmtrain.evaluation.setting import Setting
from tmtrain.machine import Machine, value_of, with_constant
from tmtrain.policies import follow, make_policy, plan
from tmtrain.policies.ours import Tmtrain
from tmtrain.simulation import Result, simulate, step_energy, try_policy

SENSITIVITY_SCHEMA = 2
"""Version of ``sensitivity.json``: ``{"schema": SENSITIVITY_SCHEMA, "cases": [Case, ...]}``, and a digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One policy with one uncertain constant set to one value, everything else nominal."""

    model: str
    machine: str
    fast_fraction: float
    constant: str
    value: float
    """In SI, as all four."""
    unit: str
    low: float
    nominal: float
    high: float
    policy: str
    traffic_bytes: int
    step_time_s: float
    energy_j: float
    samples_per_j: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The whole of ``sensitivity.json``."""

    schema: int
    cases: list[Case]


NEAR = 2.0
"""A value between the ends that differs from the nominal one by less than this factor is not worth a case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A constant, or constants that move together, with the range to try.

    The ranges are those of the field's uncertainty, not of one preset: bandwidths of a Z-NAND drive to an HBF stack (but no
    faster than the fast tier), NAND program and read energies of all sources, standby of HBM from DRAM models to a whole
    GPU's constant power, accesses to HBM from the device alone to a whole GPU's increment, static power of TPU v2 to v3.
    """

    name: str
    paths: tuple[str, ...]
    """Machine constants; all are scaled by the same factor."""
    unit: str
    low: float
    high: float
    changes: Literal["joules", "time"]
    """What follows: another price for the same step, or another step for every policy. Our plan stays the same while only
    prices change. A new plan would be better, so what is said of ours errs against us."""
    steps: int = 2
    """Values over the range, ends included; the nominal one comes on top, and takes the place of one near it."""

    def range_on(self, machine: Machine) -> tuple[float, float]:
        """Return the ends of what is tried on `machine`: never without its nominal value."""
        nominal, high = value_of(machine, path=self.paths[0]), self.high
        if self.unit == "B/s":  # what leaves flash must enter the fast tier
            high = min(high, machine.fast.bandwidth_bytes_per_s)
        return min(self.low, nominal), max(high, nominal)


KNOBS = (
    Knob(
        name="flash bandwidth",
        paths=("slow.read_bandwidth", "slow.write_bandwidth", "link.bandwidth"),
        unit="B/s",
        low=3.2e9,
        high=1600e9,
        steps=3,
        changes="time",
    ),
    Knob(
        name="flash program energy",
        paths=("slow.program_energy",),
        unit="J/B",
        low=19e-12 * 8,
        high=315e-12 * 8,
        changes="joules",
    ),
    Knob(
        name="flash read energy",
        paths=("slow.read_energy",),
        unit="J/B",
        low=16e-12 * 8,
        high=143e-12 * 8,
        changes="joules",
    ),
    Knob(
        name="HBM background power",
        paths=("fast.background",),
        unit="W/B",
        low=0.06e-9,
        high=1.0e-9,
        changes="joules",
    ),
    Knob(
        name="HBM access energy",
        paths=("fast.energy",),
        unit="J/B",
        low=4.5e-12 * 8,
        high=13.1e-12 * 8,
        changes="joules",
    ),
    Knob(
        name="matrix unit energy",
        paths=("compute.matrix_energy",),
        unit="J/flop",
        low=0.14e-12,
        high=0.98e-12,
        changes="joules",
    ),
    Knob(
        name="static power",
        paths=("compute.static_power",),
        unit="W",
        low=53.0,
        high=123.0,
        changes="joules",
    ),
)
"""What is least certain (research: NAND program energy 19 to 315 pJ/bit, HBM standby 0.06 to 1 W/GB, ...)."""


def sweep(setting: Setting, *, nominal: Mapping[str, PolicyOutcome]) -> list[Case]:
    """Move each knob through its range, logarithmically, with its nominal value among the points.

    Args:
        setting: What to compare in.
        nominal: The policies to compare, with what came of each. A policy that refuses one value of a constant is left out
            with that constant.
    """
    return [
        case
        for knob in KNOBS
        for policy, outcome in nominal.items()
        for case in _cases(setting, knob, policy, nominal=outcome)
    ]


def _cases(setting: Setting, knob: Knob, policy: str, *, nominal: PolicyOutcome) -> list[Case]:
    """Return a case per value; none if the policy refuses the step at one of them."""
    values = _values(knob, setting.machine)
    try:
        return [_case(setting, knob, v, _turn(setting, knob, v, policy, nominal)) for v in values]
    except PolicyError:
        return []


def _turn(setting: Setting, knob: Knob, value: float, policy: str, nominal: PolicyOutcome) -> Result:
    """Return the result of `policy` with the knob at `value`, simulated anew only where something else happens."""
    machine = _turned(setting.machine, knob, value)
    result = nominal.result
    if machine == setting.machine:
        return result
    if knob.changes == "time":
        return _simulate(setting, machine, policy)
    joules = step_energy(
        nominal.decision,
        machine=machine,
        step_time_s=result.step_time_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
    )
    return replace(result, energy_by_component_j=joules)


def _values(knob: Knob, machine: Machine) -> list[float]:
    nominal = value_of(machine, path=knob.paths[0])
    ends = knob.range_on(machine)
    inner = (float(v) for v in np.geomspace(*ends, knob.steps)[1:-1])
    return sorted({*ends, nominal} | {v for v in inner if not 1 / NEAR < v / nominal < NEAR})


def _turned(machine: Machine, knob: Knob, value: float) -> Machine:
    factor = value / value_of(machine, path=knob.paths[0])
    if factor == 1:
        return machine
    for path in knob.paths:
        machine = with_constant(machine, path=path, value=value_of(machine, path=path) * factor)
    return machine


def _simulate(setting: Setting, machine: Machine, policy: str) -> Result:
    if policy == Tmtrain.name:
        return _replan(setting, machine)
    chosen = make_policy(policy, objective=setting.objective)
    return try_policy(chosen, setting.timeline, machine=machine, objective=setting.objective).result


def _replan(setting: Setting, machine: Machine) -> Result:
    proof = setting.ours.certificate
    assert proof is not None
    ours = plan(
        setting.timeline,
        machine=machine,
        objective=setting.objective,
        recompute=proof.recomputes,
        cuts=proof.cuts,
    )
    return simulate(follow(ours, setting.timeline, machine=machine), machine=machine, policy=Tmtrain.name)


def _case(setting: Setting, knob: Knob, value: float, result: Result) -> Case:
    low, high = knob.range_on(setting.machine)
    return Case(
        model=setting.trace.model,
        machine=setting.machine.name,
        fast_fraction=setting.timeline.fast_bytes / setting.trace.footprint_bytes,
        constant=knob.name,
        value=value,
        unit=knob.unit,
        low=low,
        nominal=value_of(setting.machine, path=knob.paths[0]),
        high=high,
        policy=result.policy,
        traffic_bytes=result.traffic_bytes,
        step_time_s=result.step_time_s,
        energy_j=result.energy_j,
        samples_per_j=setting.trace.samples / result.energy_j,
    )
