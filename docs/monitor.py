"""Draw the picture of the timing monitor from a run of its benchmark.

Usage: python benchmarks/monitor.py --runs RUNS.json > benchmarks/monitor.md && python docs/monitor.py RUNS.json
"""

import sys
from pathlib import Path

import msgspec

from tmtrain.bundle import write_text_atomically
from tmtrain.evaluation.monitored import MonitoredRun
from tmtrain.reporting.figures.monitor import monitor_figure, setting_title

SHOWN = ("llama-2-7b on v4-slc, 75 %", "bert-large on v4-slc, 90 %", "llama-2-7b on v4-slc, 12.5 %")
"""Beginnings of titles: where timing matters, and where the link is busy whatever one does."""


def main(runs: Path) -> None:
    """Write ``monitor.svg`` beside this file."""
    known = msgspec.json.decode(runs.read_bytes(), type=list[MonitoredRun])
    shown = [run for start in SHOWN for run in known if setting_title(run).startswith(start)]
    write_text_atomically(Path(__file__).parent / "monitor.svg", monitor_figure(shown, key="docs"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
