"""``tmtrain plan``."""

from pathlib import Path

from tmtrain.cli.flag import Flag
from tmtrain.cli.options import DEFAULT_FAST, ModelOptions
from tmtrain.cli.output import emit, facts
from tmtrain.cli.plan_summary import summarise_plan
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import make_scene
from tmtrain.machine import DEFAULT_MACHINE
from tmtrain.plan import plan as make_plan
from tmtrain.plan.file import save_plan
from tmtrain.plan.objective import ObjectiveName
from tmtrain.units import parse_fast


def plan(
    source: str,
    /,
    *,
    machine: str = DEFAULT_MACHINE,
    fast: str = DEFAULT_FAST,
    objective: ObjectiveName = "energy",
    no_recompute: Flag = False,
    out: Path | None = None,
    samples: int | None = None,
    options: ModelOptions | None = None,
    json: Flag = False,
) -> None:
    """Plan where every page is at every moment of a step, and prove how good the plan is.

    Args:
        source: A trace folder, a zoo model, or your own FILE.py:FUNCTION.
        machine: A preset (see tmtrain machine list) or a TOML file.
        fast: Fast memory: a share of the step's footprint (12.5%) or a size (8GiB).
        objective: What to minimise.
        no_recompute: Keep and move only.
        out: Write the plan to this folder, by custom NAME.plan.
        samples: Samples in the batch of your own step.
        options: How the zoo model is trained.
        json: Print JSON.
    """
    capacity = parse_fast(fast)
    with progress() as tell:
        scene = make_scene(
            source, machine=machine, fast=capacity, options=options, samples=samples, tell=tell
        )
        tell(f"{source}: plan for {objective}")
        made = make_plan(
            scene.timeline, machine=scene.machine, objective=objective, recompute=not no_recompute
        )
        if out is not None:
            save_plan(made, out)
    summary = summarise_plan(made, scene, out=str(out) if out else None)
    emit(summary, facts(scene.title, summary.lines()), as_json=json)
