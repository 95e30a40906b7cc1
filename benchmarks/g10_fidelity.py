"""How faithfully an imported workload carries the G10 artifact: its seven policies by its own rules, beside its results.

    python benchmarks/g10_fidelity.py [FOLDER] [--out FILE]

FOLDER holds any workload of the artifact as plain data; by default BERT_Base with batch 256. Its results.csv,
kernel_ends.csv and plans.csv may be missing: then there is nothing to compare with, or no plan to follow, and the table
says so. The rules are written down in benchmarks/g10/README.md. They are the artifact's, not those of our engine
(benchmarks/g10_rules).
Compiling takes half a minute more, once.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from g10_rules.fidelity import Fidelity, Refused, compare_policies
from tmtrain.errors import TmtrainError
from tmtrain.importing import load_g10

FOLDER = Path(__file__).parent / "g10"


def main() -> None:
    """Read the arguments, run the rules, print the table and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER, help="with the workload's files")
    parser.add_argument("--out", type=Path, help="where the table goes; of BERT_Base beside this program")
    arguments = parser.parse_args()
    try:
        counts = load_g10(arguments.folder).machine.workload
        rows = list(compare_policies(arguments.folder))
    except TmtrainError as error:
        sys.exit(f"{parser.prog}: {error}")
    text = "\n".join(table_lines(rows, title=f"{counts.model}, batch {counts.batch}")) + "\n"
    print(text, end="")
    out = arguments.out or (Path(__file__).with_suffix(".md") if arguments.folder == FOLDER else None)
    if out is not None:
        out.write_text(text, encoding="utf-8")


def table_lines(rows: Sequence[Fidelity | Refused], *, title: str) -> Iterator[str]:
    """Yield the lines of the table; who cannot run is one with the reason."""
    ideal = next((row.published.cycles or row.our_cycles for row in rows if isinstance(row, Fidelity)), 0)
    yield f"{title}, of the G10 artifact (MICRO 2023): its seven policies, by our implementation of its rules."
    yield ""
    yield "| policy | artifact, cycles | x ideal | ours, cycles | total | bytes moved | kernel ends | ours | artifact |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        theirs = row.published.cycles
        ours = None if isinstance(row, Refused) else row.our_cycles
        times_ideal = "" if (theirs or ours) is None else f"{(theirs or ours or 0) / ideal:.4f}"
        published = "not published" if theirs is None else f"{theirs:,}"
        yield f"| {row.policy} | {published} | {times_ideal} | {' | '.join(_our_cells(row))} |"
    yield ""
    yield (
        "The artifact prints six digits for FlashNeuron and the two GDS policies: equal means equal to these. Kernel "
        "ends: both iterations of the page-level policies. "
        "Artifact: its own wall-clock time (results.csv)."
    )


def _our_cells(row: Fidelity | Refused) -> tuple[str, ...]:
    if isinstance(row, Refused):
        return (row.reason, "", "", "", "", "")
    return (
        f"{row.our_cycles:,.0f}",
        _verdict(row.is_exact, f"{row.printed_cycles - (row.published.cycles or 0):+,} cycles"),
        _verdict(row.are_bytes_equal, "differ"),
        row.ends,
        f"{row.seconds:.1f} s",
        "" if row.published.seconds is None else f"{row.published.seconds:.0f} s",
    )


def _verdict(is_equal: bool | None, otherwise: str) -> str:
    return "not published" if is_equal is None else "equal" if is_equal else otherwise


if __name__ == "__main__":
    main()
