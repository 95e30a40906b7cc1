"""``tmtrain plan``: one plan, the plans of a front, or the plan of the least fast memory."""

import dataclasses
from collections.abc import Callable
from functools import partial
from json import dumps
from pathlib import Path

from tmtrain.bundle import write_text_atomically
from tmtrain.cli.decision import simulate_plan
from tmtrain.cli.limits import LimitOptions, PlanLimits, PlanSearch, SearchOptions
from tmtrain.cli.options import DEFAULT_FAST, Flag
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import Scene, SceneOptions, make_scene
from tmtrain.cli.summaries.front import FrontSummary, summarise_front
from tmtrain.cli.summaries.least_fast import LeastFastSummary, summarise_least_fast
from tmtrain.cli.summaries.plan import PlanSummary, summarise_plan
from tmtrain.errors import InputError
from tmtrain.lowering import Timeline
from tmtrain.machine import DEFAULT_MACHINE, Machine
from tmtrain.planning import check_objective
from tmtrain.planning import plan as make_plan
from tmtrain.planning.problem.objective import make_objective
from tmtrain.planning.questions.min_fast import min_fast
from tmtrain.planning.questions.pareto import pareto
from tmtrain.plans import Plan
from tmtrain.plans.file import save_plan
from tmtrain.reporting.figures.pareto import pareto_figure
from tmtrain.simulation import objective_of
from tmtrain.units import parse_fast


def plan(
    source: str,
    /,
    *,
    machine: str = DEFAULT_MACHINE,
    fast: str | None = None,
    objective: str | None = None,
    no_recompute: Flag = False,
    out: Path | None = None,
    options: SceneOptions | None = None,
    limits: LimitOptions | None = None,
    search: SearchOptions | None = None,
    json: Flag = False,
) -> None:
    """Plan where every page is at every moment of a step, and prove how good the plan is.

    Args:
        source: A trace folder, a zoo model, your own FILE.py:FUNCTION, or a step from outside.
        machine: A preset (see tmtrain machine list) or a TOML file.
        fast: Fast memory: a share of the step's footprint (by default 12.5%) or a size (8GiB).
        objective: What to minimise: energy (default), time, bytes, writes, or a mix such as energy:1,time:0.5.
        no_recompute: Keep and move only.
        out: Write the plan to this folder, by custom NAME.plan; with --pareto table and figure.
        options: How the step is read or captured.
        limits: What the plan has to keep to.
        search: Many plans instead of one.
        json: Print JSON.
    """
    limits, search = limits or PlanLimits(), search or PlanSearch()
    limits.check()
    search.check(limits)
    _refuse_ignored(search, fast=fast, objective=objective)
    check_objective(objective or "energy")
    capacity = parse_fast("100%" if search.min_fast else fast or DEFAULT_FAST)
    with progress() as tell:
        scene = make_scene(source, machine=machine, fast=capacity, options=options, tell=tell)
        request = _Request(scene=scene, limits=limits, recompute=not no_recompute, out=out, tell=tell)
        if search.pareto:
            summary = request.front()
        elif search.min_fast:
            summary = request.least_fast(search)
        else:
            tell(f"{source}: plan for {objective or 'energy'}")
            summary = request.one_plan(objective or "energy")
    emit(summary, facts(summary.title, summary.lines()), as_json=json)


def _refuse_ignored(search: PlanSearch, *, fast: str | None, objective: str | None) -> None:
    if search.min_fast and fast is not None:
        raise InputError("--min-fast finds the fast memory: leave --fast out")
    if (search.min_fast or search.pareto) and objective is not None:
        raise InputError("--pareto and --min-fast choose the objectives themselves: leave --objective out")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """What one plan and each search have in common; each method answers in one way and writes to `out`."""

    scene: Scene
    limits: PlanLimits
    recompute: bool
    out: Path | None
    tell: Callable[[str], None]

    def one_plan(self, objective: str) -> PlanSummary:
        """Plan for one objective in this scene."""
        scene, limits = self.scene, self.limits
        ours = make_plan(
            scene.timeline,
            machine=scene.machine,
            objective=objective,
            recompute=self.recompute,
            write_budget_bytes=limits.write_budget_bytes(scene.timeline, scene.machine),
            time_limit_s=limits.time_limit,
        )
        if self.out is not None:
            save_plan(ours, self.out)
        return summarise_plan(ours, scene, out=str(self.out) if self.out else None)

    def front(self) -> FrontSummary:
        """Make the plans of the front; write ``pareto.json`` and ``pareto.svg``."""
        scene, limits, out = self.scene, self.limits, self.out
        front = pareto(
            scene.timeline,
            machine=scene.machine,
            recompute=self.recompute,
            write_budget_bytes=limits.write_budget_bytes(scene.timeline, scene.machine),
            time_limit_s=limits.time_limit,
            tell=self.tell,
        )
        summary = summarise_front(front, scene, figure=str(out / "pareto.svg") if out else None)
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            record = dumps(dataclasses.asdict(summary), indent=1)
            write_text_atomically(out / "pareto.json", record + "\n")
            write_text_atomically(out / "pareto.svg", _standalone(pareto_figure(front, key="front")))
        return summary

    def least_fast(self, search: PlanSearch) -> LeastFastSummary:
        """Find the smallest fast memory, judging plans by the simulator; write the plan."""
        scene, limits = self.scene, self.limits
        least = min_fast(
            scene.trace,
            machine=scene.machine,
            limit=search.limit(limits, trace=scene.trace, machine=scene.machine),
            recompute=self.recompute,
            time_limit_s=limits.time_limit,
            judge=partial(_simulated, machine=scene.machine),
            tell=self.tell,
        )
        best = least.achieved
        assert best.plan is not None, "what was achieved was achieved by a plan"
        assert best.timeline is not None
        if self.out is not None:
            save_plan(best.plan, self.out)
        result = simulate_plan(best.plan, best.timeline, machine=scene.machine).result
        return summarise_least_fast(least, result, scene, out=str(self.out) if self.out else None)


def _simulated(plan: Plan, timeline: Timeline, objective: str, *, machine: Machine) -> float:
    """Return what a plan needs of the objective, as simulated."""
    goal = make_objective(objective, timeline=timeline, machine=machine)
    return objective_of(simulate_plan(plan, timeline, machine=machine).result, goal)


def _standalone(svg: str) -> str:
    """Make of an element of a page a file of its own."""
    if "xmlns=" in svg[:400]:
        return svg
    return svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
