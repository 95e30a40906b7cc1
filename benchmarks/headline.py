"""Ours beside the systems that people name: the table that the README leads with.

    tmtrain evaluate --suite headline --out out/headline          # about 10 minutes on 2 cores
    python benchmarks/headline.py out/headline/results.json [--out FILE]

One step of every model, fast memory at 12.5 % of its footprint for everybody, planned for energy. "Best published" is the
published system that needs least energy for that model, with its own recomputation if it has any.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from tmtrain.evaluation import Row
from tmtrain.reporting.quantity import change, percent
from tmtrain.reporting.results import read_results
from tmtrain.reporting.section import Section, sections_of
from tmtrain.units import format_bytes

HEAD = (
    "model",
    "footprint",
    "best published",
    "samples/J",
    "bytes",
    "time",
    "against checkpoint-lru",
    "against our move-only plan",
    "above the bound",
)


def main() -> None:
    """Read the results and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("results", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    table = "\n".join(_table(sections_of(read_results(arguments.results))))
    print(table)
    arguments.out.write_text(f"# Headline\n\n{__doc__}\n{table}\n")


def _table(sections: tuple[Section, ...]) -> Iterator[str]:
    yield f"| {' | '.join(HEAD)} |"
    yield "|---" * len(HEAD) + "|"
    for section in sections:
        ours, best = section.ours, section.best_rival()
        if ours is not None and best is not None:
            yield f"| {' | '.join(_cells(section, ours, best))} |"


def _cells(section: Section, ours: Row, best: Row) -> Iterator[str]:
    yield ours.model
    yield format_bytes(ours.footprint_bytes)
    yield best.policy
    yield change(ours.samples_per_j, best.samples_per_j)
    yield change(ours.traffic_bytes, best.traffic_bytes) if best.traffic_bytes else "it moves none"
    yield change(ours.step_time_s, best.step_time_s)
    for policy in ("checkpoint-lru", "tmtrain-move"):
        row = section.rival(policy)
        yield "–" if row is None else change(ours.samples_per_j, row.samples_per_j)
    yield percent(ours.gap)


if __name__ == "__main__":
    main()
