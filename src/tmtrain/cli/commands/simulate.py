"""``tmtrain simulate``."""

from collections.abc import Callable
from pathlib import Path

from tmtrain.cli.decision import PolicyName, SimulatedDecision, capacity_of, decide_and_run, plan_to_follow
from tmtrain.cli.disturbances import ManySteps, ManyStepsOptions
from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import Scene, SceneOptions, make_scene
from tmtrain.cli.summaries.monitored import MonitoredSummary
from tmtrain.cli.summaries.step import summarise_step
from tmtrain.errors import InputError
from tmtrain.evaluation.monitored import DisturbedSteps, MonitoredRun, monitored_run
from tmtrain.machine import DEFAULT_MACHINE
from tmtrain.planning.problem.objective import make_objective
from tmtrain.reporting import write_perfetto
from tmtrain.reporting.monitor_file import add_run
from tmtrain.reporting.monitored import monitor_verdict
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
    many: ManyStepsOptions | None = None,
    json: Flag = False,
) -> None:
    """Simulate one steady step under one policy, or with --steps many disturbed steps of our plan.

    Args:
        source: A trace folder, a zoo model, your own FILE.py:FUNCTION, or a step from outside.
        machine: A preset (see tmtrain machine list) or a TOML file.
        fast: Fast memory: a share of the step's footprint or a size; by default that of the plan, or 12.5%.
        policy: Who decides what is in fast memory.
        objective: What the plan minimises and rivals are tuned for: energy (default), time, bytes, writes, or a mix.
        plan: Follow this plan, made by tmtrain plan --out, instead of making one.
        perfetto: Write the simulated step for ui.perfetto.dev, to FILE.json or FILE.json.gz.
        out: Write the result, slice by slice, to this folder, by custom NAME.result; with --steps, record and figure.
        options: How the step is read or captured.
        many: Many steps instead of one.
        json: Print JSON.
    """
    many = many or ManySteps()
    many.check(policy=policy)
    _refuse_ignored(many, perfetto=perfetto)
    loaded = plan_to_follow(plan, policy=policy, objective=objective)
    with progress() as tell:
        capacity = capacity_of(fast, loaded)
        scene = make_scene(source, machine=machine, fast=capacity, options=options, tell=tell)
        if many.steps is not None:
            step = decide_and_run(scene, policy=policy, objective=objective, plan=loaded)
            run = _many_steps(many, scene, step, tell=tell)
            _tell_many(run, scene, policy=policy, out=out, as_json=json)
            return
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


def _refuse_ignored(many: ManySteps, *, perfetto: Path | None) -> None:
    if many.steps is not None and perfetto is not None:
        raise InputError("--perfetto shows one steady step: leave --perfetto or --steps out")


def _many_steps(
    many: ManySteps, scene: Scene, step: SimulatedDecision, *, tell: Callable[[str], None]
) -> MonitoredRun:
    """Run the steps under the plan that was decided, and with the monitor if it is asked for."""
    assert step.decision.plan is not None, "policies of ours have a plan"
    assert many.steps is not None
    disturbed = DisturbedSteps(
        timeline=step.decision.timeline,
        machine=scene.machine,
        plan=step.decision.plan,
        objective=step.decision.plan.objective,
        disturbances=many.disturbances(),
        num_steps=many.steps,
        seed=many.seed or 0,
        tell=tell,
    )
    return monitored_run(disturbed, trace=scene.trace, monitor=many.monitor)


def _tell_many(run: MonitoredRun, scene: Scene, *, policy: str, out: Path | None, as_json: bool) -> None:
    if out is not None:
        add_run(run, out)
    summary = MonitoredSummary(run=run, verdict=monitor_verdict(run), out=str(out) if out else None)
    goal = make_objective(run.objective, timeline=scene.timeline, machine=scene.machine)
    emit(summary, facts(f"{policy}: {scene.title}", summary.lines(goal)), as_json=as_json)
