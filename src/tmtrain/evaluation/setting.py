"""One setting to compare policies in: a step on a machine with a capacity, and what no plan of the class can beat there."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from tmtrain.evaluation.row import Bounds
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import Machine
from tmtrain.planning import bound_of
from tmtrain.planning.problem.objective import make_objective
from tmtrain.plans import Plan
from tmtrain.policies import plan
from tmtrain.simulation import Result, objective_of
from tmtrain.trace import Trace
from tmtrain.units import FastCapacity

MEASURES = ("energy", "time", "bytes")
"""Whose bounds a row has room for (`Bounds`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Everything that the policies of one comparison share."""

    trace: Trace
    machine: Machine
    timeline: Timeline
    objective: str
    ours: Plan
    """The joint plan for the objective: its certificate bounds every plan of its class, so every policy here."""
    bounds: Bounds
    capture_s: float
    """Wall-clock seconds of the stages."""
    lower_s: float
    plan_s: float

    @property
    def bound(self) -> float:
        """Of the objective."""
        assert self.ours.certificate is not None
        return self.ours.certificate.bound.value

    def needed(self, result: Result) -> float:
        """Return what a policy's step needed of the objective."""
        goal = make_objective(self.objective, timeline=self.timeline, machine=self.machine)
        return objective_of(result, goal)


def make_setting(
    trace: Trace,
    *,
    machine: Machine,
    fast: FastCapacity,
    objective: str,
    capture_s: float = 0.0,
    bounded: Sequence[str] = MEASURES,
) -> Setting:
    """Lower `trace` onto `machine` with so much fast memory, plan, and bound the measures.

    Args:
        trace: The step.
        machine: To run it on.
        fast: Of the comparison.
        objective: What our plan minimises; its bound comes with the plan.
        capture_s: For the record.
        bounded: Of `MEASURES`, those to bound besides: each costs about as much as a plan.

    Raises:
        InputError: unknown objective.
        InfeasibleError: an operator does not fit into the fast tier, however it is cut.
    """
    begin = time.perf_counter()
    fast_bytes = fast.of(trace.footprint_bytes, page_bytes=machine.slow.page_bytes)
    timeline = lower(trace, machine=machine, fast_bytes=fast_bytes)
    lowered = time.perf_counter()
    ours = plan(timeline, machine=machine, objective=objective)
    plan_s = time.perf_counter() - lowered
    return Setting(
        trace=trace,
        machine=machine,
        timeline=timeline,
        objective=objective,
        ours=ours,
        bounds=_bounds(ours, timeline, machine=machine, objective=objective, bounded=bounded),
        capture_s=capture_s,
        lower_s=lowered - begin,
        plan_s=plan_s,
    )


def _bounds(
    ours: Plan, timeline: Timeline, *, machine: Machine, objective: str, bounded: Sequence[str]
) -> Bounds:
    """Bound the measures besides the objective, whose bound comes with the plan."""
    assert ours.certificate is not None
    values = {
        name: bound_of(timeline, machine=machine, objective=name).value
        for name in bounded
        if name != objective
    }
    values[objective] = ours.certificate.bound.value
    return Bounds(energy_j=values.get("energy"), time_s=values.get("time"), traffic_bytes=values.get("bytes"))
