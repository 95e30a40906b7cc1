"""``tmtrain simulate``."""

from pathlib import Path

from tmtrain.cli.decision import PolicyName, SimulatedDecision, capacity_of, decide_and_run, plan_to_follow
from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import SceneOptions, make_scene
from tmtrain.cli.summaries.step import summarise_step
from tmtrain.machine import DEFAULT_MACHINE
from tmtrain.reporting import write_perfetto
from tmtrain.simulation import save_result


def simulate(
    source: str,
    /,
    *,
    machine: str = DEFAULT_MACHINE,
    fast: str | None = None,
    policy: PolicyName = "tmtrain",
    objective: str | None = None,
    plan: Path | None = None,
    perfetto: Path | None = None,
    out: Path | None = None,
    options: SceneOptions | None = None,
    json: Flag = False,
) -> None:
    """Simulate one steady step under one policy.

    Args:
        source: A trace folder, a zoo model, your own FILE.py:FUNCTION, or a step from outside.
        machine: A preset (see tmtrain machine list) or a TOML file.
        fast: Fast memory: a share of the step's footprint or a size; by default that of the plan, or 12.5%.
        policy: Who decides what is in fast memory.
        objective: What the plan minimises and rivals are tuned for: energy (default), time, bytes, writes, or a mix.
        plan: Follow this plan, made by tmtrain plan --out, instead of making one.
        perfetto: Write the simulated step for ui.perfetto.dev, to FILE.json or FILE.json.gz.
        out: Write the result, slice by slice, to this folder, by custom NAME.result.
        options: How the step is read or captured.
        json: Print JSON.
    """
    loaded = plan_to_follow(plan, policy=policy, objective=objective)
    with progress() as tell:
        capacity = capacity_of(fast, loaded)
        scene = make_scene(source, machine=machine, fast=capacity, options=options, tell=tell)
        tell(f"{source}: simulate {policy}")
        step = decide_and_run(scene, policy=policy, objective=objective, plan=loaded)
        _write(step, out=out, perfetto=perfetto)
    paths = {"out": str(out) if out else None, "perfetto": str(perfetto) if perfetto else None}
    summary = summarise_step(step.result, scene, **paths)
    emit(summary, facts(f"{policy}: {scene.title}", summary.lines()), as_json=json)


def _write(step: SimulatedDecision, *, out: Path | None, perfetto: Path | None) -> None:
    if out is not None:
        save_result(step.result, out)
    if perfetto is not None:
        timeline = step.decision.timeline
        names = [timeline.operator_names[op] for op in timeline.slices.op.tolist()]
        write_perfetto(step.result, perfetto, names=names)
