"""``tmtrain explain``."""

from pathlib import Path

from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import SceneOptions, scene_of_plan
from tmtrain.cli.summaries.explanation import explanation_lines
from tmtrain.plans.file import load_plan
from tmtrain.questions.explain import explain as explain_plan


def explain(
    source: str,
    plan: Path,
    tensor: str,
    /,
    *,
    machine: str | None = None,
    options: SceneOptions | None = None,
    json: Flag = False,
) -> None:
    """Say why a plan keeps, moves or recomputes a tensor: its gaps, and what each fate would cost.

    Args:
        source: What the plan was made for: a trace folder, a zoo model, your own FILE.py:FUNCTION, or a step from outside.
        plan: Made by tmtrain plan --out.
        tensor: Name of a tensor, path of a module, or a glob over either.
        machine: A preset or a TOML file; by default the preset that the plan names.
        options: How the step is read or captured.
        options.calibration: The measured times that the plan was made with.
        json: Print JSON.
    """
    loaded = load_plan(plan)
    with progress() as tell:
        scene = scene_of_plan(loaded, source, machine=machine, options=options, tell=tell)
        tell(f"{source}: explain {tensor}")
        answer = explain_plan(
            loaded, tensor, trace=scene.trace, timeline=scene.timeline, machine=scene.machine
        )
    emit(answer, *(facts(title, lines) for title, lines in explanation_lines(answer)), as_json=json)
