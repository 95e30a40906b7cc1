"""``tmtrain report``."""

from pathlib import Path

from tmtrain.cli.commands.evaluate import Evaluation
from tmtrain.cli.options import Flag
from tmtrain.cli.output import emit, facts
from tmtrain.cli.progress import progress
from tmtrain.reporting import costs_table, headline_tables, read_results, results_table, write_report


def report(folder: Path, /, *, json: Flag = False) -> None:
    """Print the table of an evaluation again and rebuild its page.

    Args:
        folder: What was given to tmtrain evaluate as --out.
        json: Print JSON.
    """
    with progress() as tell:
        tell(f"{folder}: report")
        page = write_report(folder)
    file = folder / "results.json"
    results = read_results(file)
    record = Evaluation.of(results, file=file, page=page)
    tables = (results_table(results), costs_table(results), headline_tables(results))
    emit(record, *tables, facts("written", record.lines()), as_json=json)
