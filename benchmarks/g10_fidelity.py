"""How faithfully the imported workload carries the G10 artifact: its seven policies by its own rules, beside its results.

    python benchmarks/g10_fidelity.py [--folder FOLDER] [--out FILE]

The rules are written down in benchmarks/g10/README.md. They are the artifact's, not those of our engine
(benchmarks/g10_rules).
Compiling takes half a minute more, once.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from g10_rules.fidelity import Fidelity, Refused, compare_policies

FOLDER = Path(__file__).parent / "g10"


def main() -> None:
    """Read the arguments, run the rules, print the table and write it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=FOLDER, help="with the artifact's files")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    text = "\n".join(table_lines(list(compare_policies(arguments.folder)))) + "\n"
    print(text, end="")
    arguments.out.write_text(text, encoding="utf-8")


def table_lines(rows: Sequence[Fidelity | Refused]) -> Iterator[str]:
    """Yield the lines of the table; who cannot run is one with the reason."""
    ideal = next(row.artifact_cycles for row in rows if row.policy == "ideal")
    yield "BERT_Base, batch 256, of the G10 artifact (MICRO 2023): its seven policies, by our implementation of its rules."
    yield ""
    yield "| policy | artifact, cycles | x ideal | ours, cycles | total | bytes moved | kernel ends | ours | artifact |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        if isinstance(row, Refused):
            times_ideal = row.artifact_cycles / ideal
            yield f"| {row.policy} | {row.artifact_cycles:,} | {times_ideal:.4f} | {row.reason} | | | | | |"
            continue
        total = "equal" if row.is_exact else f"{row.error:+.2%}"
        moved = "equal" if row.are_bytes_equal else "differ"
        times_ideal = row.artifact_cycles / ideal
        yield (
            f"| {row.policy} | {row.artifact_cycles:,} | {times_ideal:.4f} | {row.our_cycles:,.0f} | {total} "
            f"| {moved} | {_ends(row)} | {row.seconds:.1f} s | {row.artifact_seconds:.0f} s |"
        )
    yield ""
    yield (
        "The artifact prints six digits for FlashNeuron and the two GDS policies: equal means equal to these. Kernel "
        "ends: both iterations of the page-level policies. "
        "Artifact: its own wall-clock time (benchmarks/g10/results.csv)."
    )


def _ends(row: Fidelity) -> str:
    if row.policy not in ("lru", "deepUM", "prefetch_lru"):
        return "not recorded"
    return row.first_difference or "all equal"


if __name__ == "__main__":
    main()
