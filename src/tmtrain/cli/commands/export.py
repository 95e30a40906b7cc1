"""``tmtrain export``."""

from pathlib import Path

from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import SceneOptions, scene_of_plan
from tmtrain.exports import export as export_plan
from tmtrain.exports.deepspeed import Device
from tmtrain.exports.verbs import Target
from tmtrain.plans.file import load_plan


def export(
    source: str,
    plan: Path,
    /,
    *,
    to: Target,
    out: Path,
    machine: str | None = None,
    device: Device | None = None,
    layers: str | None = None,
    options: SceneOptions | None = None,
    json: Flag = False,
) -> None:
    """Write a plan for those who run something else: tables, checkpointing, FSDP2, DeepSpeed, Chakra.

    Args:
        source: What the plan was made for: a trace folder, a zoo model, your own FILE.py:FUNCTION, or a step from outside.
        plan: Made by tmtrain plan --out.
        to: The form; docs/exports.md says what each of them cannot say.
        out: Where to; for table, FILE.json is one JSON file, any other name a folder of Parquet tables.
        machine: A preset or a TOML file; by default the preset that the plan names.
        device: For deepspeed: offload to nvme (the default) or cpu.
        layers: For checkpoint: regular expression of the paths of the modules that may run again, if not found by itself.
        options: How the step is read or captured.
        options.calibration: The measured times that the plan was made with.
        json: Print JSON.
    """
    loaded = load_plan(plan)
    with progress() as tell:
        scene = scene_of_plan(loaded, source, machine=machine, options=options, tell=tell)
        tell(f"{source}: export to {to}")
        exported = export_plan(
            loaded,
            out,
            to=to,
            trace=scene.trace,
            timeline=scene.timeline,
            machine=scene.machine,
            device=device,
            layers=layers,
        )
    record = {"to": exported.to, "files": exported.files, **exported.facts}
    written = [("written", file) for file in exported.files]
    emit(record, facts(f"{to}: {scene.title}", [*exported.lines, *written]), as_json=json)
