"""``tmtrain evaluate``: the main job."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from tmtrain.cli.decision import SeveralPolicies
from tmtrain.cli.options import DEFAULT_FAST, Flag, Several
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.cli.scene import ModelOptions
from tmtrain.errors import InputError
from tmtrain.evaluation import Results, Row, Study
from tmtrain.evaluation import evaluate as evaluate_study
from tmtrain.evaluation.row import Refusal
from tmtrain.evaluation.suite import SUITES, find_suite
from tmtrain.reporting import costs_table, headline_tables, results_table, write_report
from tmtrain.units import parse_fast


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What ``tmtrain evaluate`` and ``tmtrain report`` print: ``results.json``, and where things are."""

    schema: int
    rows: list[Row]
    refusals: list[Refusal]
    results: str
    report: str

    @classmethod
    def of(cls, results: Results, *, file: Path, page: Path) -> "Evaluation":
        """Add to the results where they and their page are."""
        return cls(
            schema=results.schema,
            rows=results.rows,
            refusals=results.refusals,
            results=str(file),
            report=str(page),
        )

    def lines(self) -> list[tuple[str, str]]:
        """Return where things are."""
        return [("results", self.results), ("report", self.report)]


def evaluate(
    models: Annotated[tuple[str, ...], Parameter(show_default=False)] = (),
    /,
    *,
    out: Path,
    suite: Annotated[str | None, Parameter(choices=tuple(SUITES))] = None,
    quick: Flag = False,
    machine: Several | None = None,
    fast: Several | None = None,
    objective: str | None = None,
    policy: SeveralPolicies | None = None,
    no_sensitivity: Flag = False,
    no_monitor: Flag = False,
    calibration: Path | None = None,
    options: ModelOptions | None = None,
    jobs: int | None = None,
    resume: Flag = False,
    force: Flag = False,
    json: Flag = False,
) -> None:
    """Compare policies over models, machines and capacities; print the table and write the report.

    Args:
        models: Zoo models, your own FILE.py:FUNCTION, trace folders, or steps from outside (G10, PyTorch, Chakra).
        out: Folder for results.json, sensitivity.json, monitor.json, report.html and the runs.
        suite: Instead of models: a study with a name; what you say besides replaces its own.
        quick: The reduced form of the suite.
        machine: One or more presets (see tmtrain machine list) or TOML files; v4-slc if you say nothing.
        fast: One or more sizes of fast memory: shares of the footprint (12.5%, the default) or sizes (8GiB).
        objective: What tmtrain's plans minimise: energy (the default), time, bytes, writes, or a mix (energy:1,time:0.5).
        policy: One or more of those that may decide what is in fast memory.
        no_sensitivity: Leave out how the comparison moves with uncertain constants.
        no_monitor: Leave out what the timing monitor is worth over a few steps that jitter.
        calibration: Measured times of operators, CSV or Parquet, in place of the model's.
        options: How zoo models are trained.
        jobs: Settings at once; as many as there are cores if you say nothing.
        resume: Take over what an interrupted run of the same study has finished in this folder.
        force: Replace what an earlier study left in this folder.
        json: Print JSON.
    """
    changes = {
        "machines": machine,
        "fasts": tuple(parse_fast(size) for size in fast) if fast else None,
        "objective": objective,
        "policies": policy,
        "calibration": calibration,
        "options": options,
        "sensitivity": False if no_sensitivity else None,
        "monitor": False if no_monitor else None,
    }
    study = _changed(_study(models, suite=suite, quick=quick), changes)
    with progress() as tell:
        results = evaluate_study(
            study, out=out, jobs=jobs or os.cpu_count() or 1, resume=resume, force=force, tell=tell
        )
        tell("report")
        page = write_report(out)
    _emit(results, out=out, page=page, is_suite=suite is not None, as_json=json)


def _emit(results: Results, *, out: Path, page: Path, is_suite: bool, as_json: bool) -> None:
    record = Evaluation.of(results, file=out / "results.json", page=page)
    # Of a suite the page, and `tmtrain report`, have the tables of every model.
    each = () if is_suite else (results_table(results), costs_table(results))
    emit(record, *each, headline_tables(results), facts("written", record.lines()), as_json=as_json)


def _changed(study: Study, changes: Mapping[str, Any]) -> Study:
    """Return the study with what the user said in place of its own; None says nothing."""
    return replace(study, **{name: value for name, value in changes.items() if value is not None})


def _study(models: tuple[str, ...], *, suite: str | None, quick: bool) -> Study:
    if suite is not None:
        if models:
            raise InputError(
                f"a suite has models of its own: leave out {', '.join(models)}, or --suite {suite}"
            )
        return find_suite(suite, quick=quick)
    if quick:
        raise InputError("--quick is the reduced form of a suite: say which with --suite")
    if not models:
        raise InputError("nothing to evaluate: name models (see tmtrain evaluate --help), or a --suite")
    return Study(models=models, fasts=(parse_fast(DEFAULT_FAST),))
