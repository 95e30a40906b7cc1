"""``tmtrain explain``."""

from pathlib import Path

from tmtrain.cli.flag import Flag
from tmtrain.cli.options import ModelOptions
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import scene_of_plan
from tmtrain.cli.summaries.explanation import explanation_lines
from tmtrain.planning.questions.explain import explain as run
from tmtrain.plans.file import load_plan


def explain(
    source: str,
    plan: Path,
    tensor: str,
    /,
    *,
    machine: str | None = None,
    samples: int | None = None,
    calibration: Path | None = None,
    options: ModelOptions | None = None,
    json: Flag = False,
) -> None:
    """Say why a plan keeps, moves or recomputes a tensor: its gaps, and what each fate would cost.

    Args:
        source: What the plan was made for: a trace folder, a zoo model, your own FILE.py:FUNCTION, or a step from outside.
        plan: Made by tmtrain plan --out.
        tensor: Name of a tensor, path of a module, or a glob over either.
        machine: A preset or a TOML file; by default the preset that the plan names.
        samples: Samples in the batch of your own step.
        calibration: The measured times that the plan was made with.
        options: How the zoo model is trained.
        json: Print JSON.
    """
    made = load_plan(plan)
    with progress() as tell:
        scene = scene_of_plan(
            made,
            source,
            machine=machine,
            options=options,
            samples=samples,
            calibration=calibration,
            tell=tell,
        )
        tell(f"{source}: explain {tensor}")
        told = run(made, tensor, trace=scene.trace, timeline=scene.timeline, machine=scene.machine)
    emit(told, *(facts(title, lines) for title, lines in explanation_lines(told)), as_json=json)
