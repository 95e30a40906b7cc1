"""``monitor.json`` with one run more, and its figure: what ``tmtrain simulate --steps N --out FOLDER`` leaves."""

from pathlib import Path

from tmtrain.bundle import write_text_atomically
from tmtrain.evaluation.monitored import MONITOR_SCHEMA, MonitoredRun, MonitorRecord
from tmtrain.evaluation.record_file import write_record
from tmtrain.reporting.figures.monitor import monitor_figure
from tmtrain.reporting.figures.svg import standalone
from tmtrain.reporting.results import MONITOR, read_monitor


def add_run(run: MonitoredRun, folder: Path) -> None:
    """Add `run` to the runs in `folder`, made if it is not there, and draw all of them as ``monitor.svg``.

    Where the folder is that of an evaluation, ``tmtrain report`` shows the run in the section that it belongs to.

    Raises:
        FileFormatError: the record that is there is damaged.
        InputError: the disk refuses.

    >>> import tempfile
    >>> from tmtrain.reporting.example import example_monitored
    >>> folder = Path(tempfile.mkdtemp())
    >>> add_run(example_monitored(), folder)
    >>> sorted(path.name for path in folder.iterdir()), len(read_monitor(folder / "monitor.json").runs)
    (['monitor.json', 'monitor.svg'], 1)
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = read_monitor(folder / MONITOR).runs if (folder / MONITOR).exists() else []
    record = MonitorRecord(schema=MONITOR_SCHEMA, runs=[*known, run])
    figure = standalone(monitor_figure(record.runs, key="runs"))
    write_record(folder / MONITOR, record)
    write_text_atomically(folder / "monitor.svg", figure)
