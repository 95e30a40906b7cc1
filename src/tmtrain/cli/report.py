"""``tmtrain report``."""

from pathlib import Path

from tmtrain.cli.evaluate import show_results
from tmtrain.cli.flag import Flag
from tmtrain.cli.progress import progress
from tmtrain.report import read_results, write_report


def report(folder: Path, /, *, json: Flag = False) -> None:
    """Print the table of an evaluation again and rebuild its page.

    Args:
        folder: What was given to tmtrain evaluate as --out.
        json: Print JSON.
    """
    with progress() as tell:
        tell(f"{folder}: report")
        page = write_report(folder)
    source = folder / "results.json"
    show_results(read_results(source), source=source, page=page, as_json=json)
