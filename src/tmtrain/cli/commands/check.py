"""``tmtrain check``."""

from collections import Counter
from pathlib import Path

from rich.text import Text

from tmtrain.checking import check_plan
from tmtrain.cli.decision import simulate_plan
from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit, facts
from tmtrain.cli.summaries.check import summarise_check
from tmtrain.errors import InputError
from tmtrain.importing import import_trace, is_outside
from tmtrain.lowering import lower
from tmtrain.machine import Machine, load_machine
from tmtrain.planning.problem.objective import make_objective
from tmtrain.plans import Plan
from tmtrain.plans.file import load_plan
from tmtrain.simulation import objective_of
from tmtrain.trace import Trace, load_trace


def check(
    trace: Path,
    plan: Path,
    /,
    *,
    machine: str | None = None,
    calibration: Path | None = None,
    samples: int | None = None,
    step: int | None = None,
    json: Flag = False,
) -> int:
    """Verify a plan and its proof from the two files alone, without the planner.

    Args:
        trace: The trace folder, or the step from outside, that was planned.
        plan: The plan folder.
        machine: The TOML file of the machine, where the plan was made for none of the presets.
        calibration: The measured times that the plan was made with.
        samples: As the plan was made, for a step from outside.
        step: As the plan was made, for a step from outside.
        json: Print JSON.

    Returns:
        Exit code: 1 if the plan breaks a rule or its proof does not hold.
    """
    loaded = load_plan(plan)
    planned = _planned_step(trace, samples, step)
    there = load_machine(machine or loaded.machine, calibration=calibration)
    report = check_plan(planned, loaded, machine=there)
    summary = summarise_check(
        report,
        plan=loaded,
        measured=_measured(planned, loaded, machine=there) if report.ok else None,
    )
    rules = Counter(violation.rule for violation in report.violations)
    broken = [Text(f"{violation}") for violation in report.violations[: summary.shown]]
    verdict = f"{len(report.violations)} violations of {len(rules)} rules" if rules else "all rules are kept"
    emit(summary, facts(f"{plan}", summary.lines()), *broken, verdict, as_json=json)
    return 0 if report.ok else 1


def _planned_step(trace: Path, samples: int | None, step: int | None) -> Trace:
    """Read the step that a plan was made for."""
    if is_outside(trace):
        return import_trace(trace, samples=samples, step=step)
    if samples is not None or step is not None:
        raise InputError(
            f"--samples and --step cannot be chosen for {trace}: it is one step, and says its batch itself"
        )
    return load_trace(trace)


def _measured(step: Trace, plan: Plan, *, machine: Machine) -> float:
    """Run a plan that keeps the rules, and return what it needs of its objective."""
    timeline = lower(step, machine=machine, fast_bytes=plan.fast_bytes)
    goal = make_objective(plan.objective, timeline=timeline, machine=machine)
    return objective_of(simulate_plan(plan, timeline, machine=machine).result, goal)
