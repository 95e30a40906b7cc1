"""What ``tmtrain plan --pareto`` and ``--min-fast`` find and tell."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tmtrain.bundle import write_text_atomically
from tmtrain.cli.limits import PlanLimits, PlanSearch
from tmtrain.cli.scene import Scene
from tmtrain.lowering import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.questions.min_fast import LeastFast, min_fast
from tmtrain.planning.questions.pareto import FrontPoint, pareto
from tmtrain.plans import Plan
from tmtrain.plans.file import save_plan
from tmtrain.policies import follow
from tmtrain.reporting.figures.pareto import pareto_figure
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.simulation import simulate
from tmtrain.units import format_bytes, format_seconds, format_years


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontPointSummary:
    """One plan of the front."""

    objective: str
    write_budget_bytes: float | None
    energy_j: float
    step_time_s: float
    bytes_out: int
    life_s: float | None
    """null where nothing is written."""
    value: float
    bound: float
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontSummary:
    """The Pareto front in numbers, as predicted."""

    title: str
    points: tuple[FrontPointSummary, ...]
    dominated: int
    """Plans that others beat, or equal, in everything."""
    figure: str | None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values as people read them."""
        for point in self.points:
            budget = point.write_budget_bytes
            life = "forever" if point.life_s is None else format_years(point.life_s)
            yield (
                point.objective + ("" if budget is None else f", at most {format_bytes(budget)} written"),
                f"{quantity(point.energy_j, 'J'):>8}  {format_seconds(point.step_time_s):>8}  life {life:<12} "
                f"at most {percent(point.gap)} from the best of its kind",
            )
        if self.dominated:
            yield "beaten", f"{self.dominated} more plans, by these in everything"
        if self.figure is not None:
            yield "figure", self.figure


@dataclass(frozen=True, slots=True, kw_only=True)
class LeastFastSummary:
    """How little fast memory is enough."""

    title: str
    limit: str
    footprint_bytes: int
    impossible_bytes: int
    """Proved: with so much, no plan meets the limit."""
    achieved_bytes: int
    """With so much, ours does, as simulated."""
    achieved_fraction: float
    step_time_s: float
    """Simulated, as the two below."""
    energy_j: float
    bytes_out: int
    probes: int
    out: str | None

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values as people read them."""
        yield "limit", self.limit
        share = percent(self.achieved_fraction)
        yield (
            "enough",
            f"{format_bytes(self.achieved_bytes)}, {share} of {format_bytes(self.footprint_bytes)} (simulated)",
        )
        if self.impossible_bytes:
            part = percent(self.impossible_bytes / self.footprint_bytes)
            yield (
                "impossible",
                f"with {format_bytes(self.impossible_bytes)}, {part}, whatever the plan (certified)",
            )
        else:
            yield "impossible", "not proved at any capacity tried"
        step = f"{format_seconds(self.step_time_s)} and {quantity(self.energy_j, 'J')}"
        yield "there", f"{step} a step, writes {format_bytes(self.bytes_out)}"
        yield "tried", f"{self.probes} capacities"
        if self.out is not None:
            yield "plan", self.out


def find_front(
    scene: Scene,
    *,
    limits: PlanLimits,
    search: PlanSearch,
    recompute: bool,
    out: Path | None,
    tell: Callable[[str], None],
) -> FrontSummary:
    """Make the plans of the front; write ``pareto.json`` and ``pareto.svg`` to `out`."""
    assert search.pareto
    front = pareto(
        scene.timeline, machine=scene.machine, recompute=recompute, time_limit_s=limits.time_limit, tell=tell,
        write_budget_bytes=limits.write_budget_bytes(scene.timeline, scene.machine),
    )  # fmt: skip
    found = FrontSummary(
        title=f"{scene.title}: plans of which none beats another in energy, time and drive life",
        points=tuple(_front_point(point) for point in front.points),
        dominated=len(front.dominated),
        figure=str(out / "pareto.svg") if out else None,
    )
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_text_atomically(out / "pareto.json", json.dumps(dataclasses.asdict(found), indent=1) + "\n")
        write_text_atomically(out / "pareto.svg", _alone(pareto_figure(front, key="front")))
    return found


def find_least_fast(
    scene: Scene,
    *,
    limits: PlanLimits,
    search: PlanSearch,
    recompute: bool,
    out: Path | None,
    tell: Callable[[str], None],
) -> LeastFastSummary:
    """Find the smallest fast memory, judging plans by the simulator; write the plan to `out`."""
    limit = search.limit(limits, trace=scene.trace, machine=scene.machine)
    found = min_fast(
        scene.trace, machine=scene.machine, limit=limit, recompute=recompute, time_limit_s=limits.time_limit,
        judge=partial(_simulated, machine=scene.machine), tell=tell,
    )  # fmt: skip
    if out is not None and found.achieved.plan is not None:
        save_plan(found.achieved.plan, out)
    return _least_fast(found, scene, out=str(out) if out else None)


def _front_point(point: FrontPoint) -> FrontPointSummary:
    return FrontPointSummary(
        objective=point.objective, write_budget_bytes=point.write_budget_bytes, energy_j=point.energy_j,
        step_time_s=point.step_time_s, bytes_out=point.bytes_out, life_s=point.life_s if point.bytes_out else None,
        value=point.value, bound=point.bound, gap=point.gap,
    )  # fmt: skip


def _simulated(made: Plan, timeline: Timeline, objective: str, *, machine: Machine) -> float:
    result = simulate(follow(made, timeline, machine=machine), machine=machine, policy="tmtrain")
    return make_objective(objective, timeline=timeline, machine=machine).measured(
        energy_j=result.energy_j,
        step_time_s=result.step_time_s,
        bytes_in=result.bytes_in,
        bytes_out=result.bytes_out,
    )


def _least_fast(found: LeastFast, scene: Scene, *, out: str | None) -> LeastFastSummary:
    achieved = found.achieved
    assert achieved.plan is not None
    assert achieved.timeline is not None
    decision = follow(achieved.plan, achieved.timeline, machine=scene.machine)
    result = simulate(decision, machine=scene.machine, policy="tmtrain")
    return LeastFastSummary(
        title=f"{scene.trace.model}, batch {scene.trace.samples}, on {scene.machine.name}: how little fast memory?",
        limit=found.limit.words,
        footprint_bytes=found.footprint_bytes,
        impossible_bytes=found.impossible_bytes,
        achieved_bytes=achieved.fast_bytes,
        achieved_fraction=achieved.fast_bytes / found.footprint_bytes,
        step_time_s=result.step_time_s,
        energy_j=result.energy_j,
        bytes_out=result.bytes_out,
        probes=len(found.probes),
        out=out,
    )


def _alone(svg: str) -> str:
    """Make of an element of a page a file of its own."""
    return (
        svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        if "xmlns=" not in svg[:400]
        else svg
    )
