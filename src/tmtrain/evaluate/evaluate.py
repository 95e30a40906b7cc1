"""`evaluate`: models x machines x capacities x policies -> a folder with results, runs and a sensitivity study."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tmtrain.bundle import write_bytes_atomically
from tmtrain.capture import StepOptions
from tmtrain.evaluate.compare import Outcome, run_policy
from tmtrain.evaluate.fate_record import record_fates, save_fates
from tmtrain.evaluate.row import SCHEMA, Results, Row
from tmtrain.evaluate.sensitivity import SENSITIVITY_SCHEMA, Case, Sensitivity, sweep
from tmtrain.evaluate.setting import Setting, make_setting
from tmtrain.evaluate.source import check_source, trace_of
from tmtrain.machine import load_machine
from tmtrain.plan import Plan, check_objective
from tmtrain.plan.file import save_plan
from tmtrain.policies import DEFAULT_POLICIES, make_policy
from tmtrain.policies.tmtrain import Tmtrain
from tmtrain.simulate import save_result
from tmtrain.units import FastCapacity

SENSITIVITY_POLICIES = ("lru", "belady", "tmtrain")
"""Policies whose ranking the sensitivity study questions; the others are far behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What to compare."""

    models: tuple[str, ...]
    """Zoo models, ``FILE.py:FUNCTION``, or saved traces."""
    machines: tuple[str, ...] = ("v4-slc",)
    """Presets or TOML files."""
    fasts: tuple[FastCapacity, ...] = (FastCapacity(fraction=0.125),)
    objective: str = "energy"
    policies: tuple[str, ...] = DEFAULT_POLICIES
    options: StepOptions | None = None
    """For zoo models."""
    sensitivity: bool = True


def evaluate(study: Study, *, out: Path, tell: Callable[[str], None] = lambda _: None) -> Results:
    """Run every policy in every setting and leave ``results.json``, ``sensitivity.json`` and ``runs/`` in `out`.

    Args:
        study: What to compare.
        out: Folder; made if it is not there.
        tell: Called with a line before each piece of work.

    Raises:
        InputError: an unknown model, machine, policy or objective (before anything is computed), or a full disk.
        InfeasibleError: a capacity that one operator alone exceeds.
    """
    machines = [load_machine(name) for name in study.machines]
    check_objective(study.objective)
    for policy in study.policies:
        make_policy(policy)
    for model in study.models:
        check_source(model, study.options)
    rows: list[Row] = []
    cases: list[Case] = []
    for model in study.models:
        tell(f"{model}: capture")
        begin = time.perf_counter()
        trace = trace_of(model, study.options)
        capture_s = time.perf_counter() - begin
        for machine in machines:
            for number, fast in enumerate(study.fasts):
                place = f"{trace.model} on {machine.name} with {fast} fast"
                tell(f"{place}: lower and bound")
                setting = make_setting(
                    trace, machine=machine, fast=fast, objective=study.objective, capture_s=capture_s
                )
                outcomes = _compare(
                    setting, study, out=out, label=str(fast), tell=lambda p, at=place: tell(f"{at}: {p}")
                )
                rows += [outcome.row for outcome in outcomes.values()]
                if study.sensitivity and number == 0:
                    tell(f"{place}: sensitivity")
                    ours = outcomes[Tmtrain.name].plan if Tmtrain.name in outcomes else None
                    cases += sweep(setting, policies=SENSITIVITY_POLICIES, ours=ours)
    results = Results(schema=SCHEMA, rows=rows)
    _write_json(out / "results.json", results)
    if study.sensitivity:
        _write_json(out / "sensitivity.json", Sensitivity(schema=SENSITIVITY_SCHEMA, cases=cases))
    return results


def _compare(
    setting: Setting, study: Study, *, out: Path, label: str, tell: Callable[[str], None]
) -> dict[str, Outcome]:
    outcomes: dict[str, Outcome] = {}
    for policy in study.policies:
        tell(policy)
        model = "".join(c if c.isalnum() or c in "-_." else "_" for c in setting.trace.model)
        run = f"runs/{model}.{setting.machine.name}.{label.replace(' ', '')}.{policy}"
        outcome = run_policy(setting, policy, run=run)
        save_result(outcome.result, out / run)
        if outcome.plan is not None and outcome.plan.certificate is not None:
            _save_plan(outcome.plan, setting, out / run)
        outcomes[policy] = outcome
    return outcomes


def _save_plan(plan: Plan, setting: Setting, run: Path) -> None:
    """Keep a plan beside its run (``tmtrain explain`` takes it), and what the report tells about it."""
    save_plan(plan, run.with_name(f"{run.name}.plan"))
    record = record_fates(plan, trace=setting.trace, timeline=setting.timeline, machine=setting.machine)
    save_fates(record, run.with_name(f"{run.name}.fates"))


def _write_json(path: Path, value: Results | Sensitivity) -> None:
    write_bytes_atomically(path, msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n")
