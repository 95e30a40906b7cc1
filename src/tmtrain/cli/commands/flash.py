"""``tmtrain flash``."""

from functools import partial
from pathlib import Path

from tmtrain.cli.decision import PolicyName, capacity_of, decide_and_run, plan_to_follow
from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import ModelOptions, SceneOptions, make_scene
from tmtrain.cli.summaries.flash import record_of, table_of
from tmtrain.deciding import Knowledge
from tmtrain.machine import DEFAULT_MACHINE, load_machine
from tmtrain.simulation.swapping import flash_device, serve_steps, swaps_of


def flash(
    source: str,
    /,
    *,
    machine: str = DEFAULT_MACHINE,
    fast: str | None = None,
    policy: PolicyName = "tmtrain",
    objective: str | None = None,
    plan: Path | None = None,
    steps: int = 10,
    fill: float | None = None,
    joined_pages: int | None = None,
    samples: int | None = None,
    options: ModelOptions | None = None,
    json: Flag = False,
) -> None:
    """Run what steps write to flash and read from it on the flash device: wear, lifetime, time, energy.

    Event by event, in two layouts: a page-mapped log with greedy collection, and static by death group.

    Args:
        source: A trace folder, a zoo model, or your own FILE.py:FUNCTION.
        machine: A preset (see tmtrain machine list) or a TOML file, with a section slow.device.
        fast: Fast memory: a share of the step's footprint or a size; by default that of the plan, or 12.5%.
        policy: Who decides what is in fast memory.
        objective: What tmtrain's plan minimises: energy (default), time, bytes, writes, or a mix such as energy:1,time:0.5.
        plan: Follow this plan, made by tmtrain plan --out, instead of making one.
        steps: How many steps, one after another.
        fill: Scale the step, bytes and seconds alike, so that its data fill this share of the device: from 0 to 1.
        joined_pages: Pages of the device simulated as one, such as 256 for whole dies; by default as few as time allows.
        samples: Samples in the batch of your own step.
        options: How the zoo model is trained.
        json: Print JSON.
    """
    loaded = plan_to_follow(plan, policy=policy, objective=objective)
    flash_device(load_machine(machine))  # refused before anything is captured or planned
    with progress() as tell:
        capacity = capacity_of(fast, loaded)
        scene_options = SceneOptions(samples=samples, model=options)
        scene = make_scene(source, machine=machine, fast=capacity, options=scene_options, tell=tell)
        tell(f"{source}: simulate {policy}")
        step = decide_and_run(scene, policy=policy, objective=objective, plan=loaded)
        discards = step.decision.knowledge is not Knowledge.NEVER
        swaps = swaps_of(step.decision.timeline, step.result, discards=discards)
        tell(f"{source}: {steps} steps on the flash device")
        serve = partial(
            serve_steps, swaps, machine=scene.machine, steps=steps, fill=fill, joined_pages=joined_pages
        )
        runs = [serve(layout="log"), serve(layout="grouped")]
    emit([record_of(run) for run in runs], f"{policy}: {scene.title}", table_of(runs), as_json=json)
