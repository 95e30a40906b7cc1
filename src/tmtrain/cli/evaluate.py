"""``tmtrain evaluate``: the main job."""

from dataclasses import dataclass
from pathlib import Path

from tmtrain.cli.flag import Flag
from tmtrain.cli.options import DEFAULT_FAST, ModelOptions, Several, SeveralPolicies
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.evaluate import Row, Study
from tmtrain.evaluate import evaluate as run
from tmtrain.machine import DEFAULT_MACHINE
from tmtrain.policies import DEFAULT_POLICIES
from tmtrain.report import costs_table, results_table, write_report
from tmtrain.units import parse_fast


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What ``tmtrain evaluate`` and ``tmtrain report`` print: ``results.json``, and where things are."""

    schema: int
    rows: list[Row]
    results: str
    report: str

    def lines(self) -> list[tuple[str, str]]:
        """Return where things are."""
        return [("results", self.results), ("report", self.report)]


def evaluate(
    models: tuple[str, ...],
    /,
    *,
    out: Path,
    machine: Several = (DEFAULT_MACHINE,),
    fast: Several = (DEFAULT_FAST,),
    objective: str = "energy",
    policy: SeveralPolicies = DEFAULT_POLICIES,
    no_sensitivity: Flag = False,
    options: ModelOptions | None = None,
    json: Flag = False,
) -> None:
    """Compare policies over models, machines and capacities; print the table and write the report.

    Args:
        models: Zoo models, your own FILE.py:FUNCTION, or trace folders.
        out: Folder for results.json, sensitivity.json, report.html and the runs.
        machine: One or more presets (see tmtrain machine list) or TOML files.
        fast: One or more sizes of fast memory: shares of the footprint (12.5%) or sizes (8GiB).
        objective: What tmtrain's plans minimise: energy, time, bytes, writes, or a mix such as energy:1,time:0.5.
        policy: One or more of those that may decide what is in fast memory.
        no_sensitivity: Leave out how the comparison moves with uncertain constants.
        options: How zoo models are trained.
        json: Print JSON.
    """
    study = Study(
        models=models,
        machines=machine,
        fasts=tuple(parse_fast(size) for size in fast),
        objective=objective,
        policies=policy,
        options=options,
        sensitivity=not no_sensitivity,
    )
    with progress() as tell:
        results = run(study, out=out, tell=tell)
        tell("report")
        page = write_report(out)
    record = Evaluation(
        schema=results.schema, rows=results.rows, results=str(out / "results.json"), report=str(page)
    )
    tables = (results_table(results), costs_table(results))
    emit(record, *tables, facts("written", record.lines()), as_json=json)
