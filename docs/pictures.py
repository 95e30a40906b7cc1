"""Draw the pictures of README.md from an evaluation.

Usage: make run && .venv/bin/python docs/pictures.py out/run gpt2-xl
"""

import sys
from pathlib import Path

from tmtrain.bundle import write_text_atomically
from tmtrain.reporting.figures.palette import policy_colours
from tmtrain.reporting.figures.rivals import rivals_figure
from tmtrain.reporting.results import read_results
from tmtrain.reporting.section import sections_of


def main(folder: Path, model: str) -> None:
    """Write ``rivals.svg`` beside this file: all policies on one model."""
    section = next(
        section
        for section in sections_of(read_results(folder / "results.json"))
        if section.first.model == model
    )
    svg = rivals_figure(section, colours=policy_colours(row.policy for row in section.rows))
    write_text_atomically(Path(__file__).parent / "rivals.svg", svg)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
