"""The Pareto front between energy, time and drive life: plans of which none is better in all three.

Points come from planning for mixes of energy and time, without a write budget and with budgets between the fewest writes
there can be and those of the plan for energy. Each is a plan with a certificate: no plan of the class, within the same
write budget, has a smaller value of the same mix. So for each mix without a budget a line in the plane of energy and
time is known that no plan of the class can cross.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tmtrain.errors import InfeasibleError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Term, make_objective
from tmtrain.planning.problem.wear import life_of_writes
from tmtrain.plans.plan import Plan, optimality_gap
from tmtrain.policies import plan
from tmtrain.units import format_bytes

MIXES = ("energy", "energy:1,time:1", "energy:1,time:4", "time")
"""From joules alone to seconds alone. The energy of a step contains its time already: between the two lies little."""
BUDGETS = (0.5, 0.15)
"""Write budgets beside none: so far up from the fewest writes to those of the plan for energy."""

TWINS = 1e-3
"""Plans that differ by less in everything are shown once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPoint:
    """One plan and what it costs, as measured."""

    objective: str
    write_budget_bytes: float | None
    energy_j: float
    step_time_s: float
    bytes_out: int
    life_s: float
    """Of the drive under uninterrupted training at this step time; infinite where nothing is written."""
    value: float
    """Of its objective."""
    bound: float
    """No plan of the class within the write budget has less."""
    terms: tuple[Term, ...]
    """What the objective consists of: sum of factor times joules, or seconds."""
    plan: Plan

    @property
    def gap(self) -> float | None:
        """The optimality gap, see `tmtrain.plans.optimality_gap`."""
        return optimality_gap(self.value, self.bound)

    def dominates(self, other: "FrontPoint") -> bool:
        """Whether this one is nowhere worse and somewhere better; drive life counts as what is written per second."""
        own, theirs = self.costs, other.costs
        return all(a <= b for a, b in zip(own, theirs, strict=True)) and own != theirs

    @property
    def costs(self) -> tuple[float, float, float]:
        """What is to be small."""
        return self.energy_j, self.step_time_s, -self.life_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """The plans of a search, those that another beats apart."""

    points: tuple[FrontPoint, ...]
    """Of which none dominates another, in order of energy."""
    dominated: tuple[FrontPoint, ...]
    """Their bounds hold all the same."""

    @property
    def all(self) -> tuple[FrontPoint, ...]:
        """Every plan that was made."""
        return (*self.points, *self.dominated)


def pareto(
    timeline: Timeline,
    *,
    machine: Machine,
    recompute: bool = True,
    mixes: tuple[str, ...] = MIXES,
    budgets: tuple[float, ...] = BUDGETS,
    write_budget_bytes: float | None = None,
    time_limit_s: float | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Front:
    """Plan a step for many mixes and write budgets, and keep what no other plan beats in all of energy, time and life.

    Args:
        timeline: The step.
        machine: Rates and energies.
        recompute: Whether plans may.
        mixes: Objectives (`tmtrain.planning.problem.objective`).
        budgets: For the first and the last mix: shares of the way from the fewest writes to those of the first mix.
        write_budget_bytes: That no plan may exceed.
        time_limit_s: For each programme.
        tell: Called with a line before each plan.

    Raises:
        InputError, InfeasibleError, SolverError: as `tmtrain.plans.plan`.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> front = pareto(example_timeline(), machine=load_machine("v4-slc"), mixes=("energy", "time"))
    >>> any(a.dominates(b) for a in front.points for b in front.points)
    False
    """

    def point(objective: str, budget: float | None) -> FrontPoint:
        written = "" if budget is None else f" with at most {format_bytes(budget)} written"
        tell(f"plan for {objective}{written}")
        candidate = plan(
            timeline,
            machine=machine,
            objective=objective,
            recompute=recompute,
            write_budget_bytes=budget,
            time_limit_s=time_limit_s,
        )
        return _point(candidate, timeline=timeline, machine=machine)

    points = [point(mix, write_budget_bytes) for mix in mixes]
    fewest = point("writes", write_budget_bytes)
    low, high = fewest.bytes_out, points[0].bytes_out
    points.append(fewest)
    for budget in [low + share * (high - low) for share in budgets] if high > low else []:
        points += _possible(point, (mixes[0], mixes[-1]), budget)
    return _front(points)


def _possible(
    point: Callable[[str, float | None], FrontPoint], mixes: tuple[str, ...], budget: float
) -> Iterator[FrontPoint]:
    """Yield the plan of each mix that keeps the budget: rounding may exceed what fewest writes just keep."""
    for mix in mixes:
        try:
            yield point(mix, budget)
        except InfeasibleError:
            continue


def _point(plan: Plan, *, timeline: Timeline, machine: Machine) -> FrontPoint:
    proof, needs = plan.certificate, plan.measurement
    assert proof is not None
    assert proof.measured is not None
    assert needs is not None
    return FrontPoint(
        objective=plan.objective,
        write_budget_bytes=proof.write_budget_bytes,
        energy_j=needs.energy_j,
        step_time_s=needs.step_time_s,
        bytes_out=needs.bytes_out,
        life_s=life_of_writes(machine, write_bytes=needs.bytes_out, step_time_s=needs.step_time_s),
        value=proof.measured,
        bound=proof.bound.value,
        terms=make_objective(plan.objective, timeline=timeline, machine=machine).terms,
        plan=plan,
    )


def _front(points: list[FrontPoint]) -> Front:
    best: list[FrontPoint] = []
    rest: list[FrontPoint] = []
    for i, one in enumerate(points):
        # Of twins the first stays, which has no budget, or more of one.
        twin = any(np.allclose(other.costs, one.costs, rtol=TWINS) for other in points[:i])
        beaten = any(other.dominates(one) for other in points)
        (rest if twin or beaten else best).append(one)
    return Front(points=tuple(sorted(best, key=lambda one: one.energy_j)), dominated=tuple(rest))
