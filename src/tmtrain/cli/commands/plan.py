"""``tmtrain plan``."""

from pathlib import Path

from tmtrain.cli.commands.plan_searches import find_front, find_least_fast
from tmtrain.cli.flag import Flag
from tmtrain.cli.limits import LimitOptions, PlanLimits, PlanSearch, SearchOptions
from tmtrain.cli.options import DEFAULT_FAST, ModelOptions
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import make_scene
from tmtrain.cli.summaries.plan import summarise_plan
from tmtrain.errors import InputError
from tmtrain.machine import DEFAULT_MACHINE
from tmtrain.planning import check_objective
from tmtrain.planning import plan as make_plan
from tmtrain.plans.file import save_plan
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
    samples: int | None = None,
    calibration: Path | None = None,
    limits: LimitOptions | None = None,
    search: SearchOptions | None = None,
    options: ModelOptions | None = None,
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
        samples: Samples in the batch of your own step.
        calibration: Measured times of operators, CSV or Parquet, in place of the model's.
        limits: What the plan has to keep to.
        search: Many plans instead of one.
        options: How the zoo model is trained.
        json: Print JSON.
    """
    limits, search = limits or PlanLimits(), search or PlanSearch()
    limits.check()
    search.check(limits)
    _refuse_ignored(search, fast=fast, objective=objective)
    check_objective(objective or "energy")
    with progress() as tell:
        scene = make_scene(
            source, machine=machine, fast=parse_fast("100%" if search.min_fast else fast or DEFAULT_FAST),
            options=options, samples=samples, calibration=calibration, tell=tell,
        )  # fmt: skip
        if search.pareto or search.min_fast:
            find = find_front if search.pareto else find_least_fast
            found = find(scene, limits=limits, search=search, recompute=not no_recompute, out=out, tell=tell)
        else:
            tell(f"{source}: plan for {objective or 'energy'}")
            made = make_plan(
                scene.timeline, machine=scene.machine, objective=objective or "energy", recompute=not no_recompute,
                write_budget_bytes=limits.write_budget_bytes(scene.timeline, scene.machine),
                time_limit_s=limits.time_limit,
            )  # fmt: skip
            if out is not None:
                save_plan(made, out)
            found = summarise_plan(made, scene, out=str(out) if out else None)
    emit(found, facts(found.title, found.lines()), as_json=json)


def _refuse_ignored(search: PlanSearch, *, fast: str | None, objective: str | None) -> None:
    if search.min_fast and fast is not None:
        raise InputError("--min-fast finds the fast memory: leave --fast out")
    if (search.min_fast or search.pareto) and objective is not None:
        raise InputError("--pareto and --min-fast choose the objectives themselves: leave --objective out")
