"""How much faster the closed forms of systolic arrays are than SCALE-Sim, on the recorded runs, and that both say the same.

Seconds are of the processor, so that what else runs on it does not count; both sides read their files in them.

Needs SCALE-Sim in an environment of its own, with numpy below 2.4:

    pip install -e '.[scalesim]'
    python benchmarks/array_speed.py                # a few minutes: docs/validation.md
    python benchmarks/array_speed.py --every 9      # one row in nine
"""

import argparse
import contextlib
import csv
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from scalesim.scale_sim import scalesim

from scalesim_files import RUN, write_files
from tmtrain.validation.scalesim import Count, counts_of, read_rows

TABLES = ("gemm", "conv")
SRAM_KB = 16384
"""Of each buffer, as in the recorded runs."""
REPEATS = 20
"""Of the closed forms, the mean of which counts: they take milliseconds."""
_TOPOLOGIES = {
    "gemm": ("Layer, M, N, K,\n", ("M", "N", "K")),
    "conv": (
        "Layer, IH, IW, FH, FW, C, F, S,\n",
        ("ifmap_h", "ifmap_w", "filt_h", "filt_w", "channels", "num_filters", "stride"),
    ),
}
"""Heading of the topology file, and the columns of our tables that go below it."""


def program_run(row: dict[str, str], *, table: str, folder: Path) -> Callable[[], int]:
    """Return a run of SCALE-Sim on `row` that gives its cycles; writing the files is not part of it."""
    heading, columns = _TOPOLOGIES[table]
    layer = ", ".join(row[column] for column in columns)
    files = write_files(
        folder,
        array_rows=row["array_rows"],
        array_cols=row["array_cols"],
        dataflow=row["dataflow"],
        topology=f"{heading}layer, {layer},\n",
        sram_kb=SRAM_KB,
    )

    def run() -> int:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            simulator = scalesim(
                save_disk_space=True, verbose=False, input_type_gemm=table == "gemm", **files
            )
            simulator.run_scale(top_path=str(folder))
        with (folder / RUN / "COMPUTE_REPORT.csv").open() as file:
            return int(float(next(csv.DictReader(file, skipinitialspace=True))["Total Cycles"]))

    return run


def closed_forms_s(row: dict[str, str], *, table: str) -> float:
    """Return the seconds of the closed forms on `row`: the mean of `REPEATS`."""
    start = time.process_time()
    counts: list[Count] = []
    for _ in range(REPEATS):
        counts = list(counts_of(row, table=table))
    seconds = (time.process_time() - start) / REPEATS
    if any(count.model != count.reference for count in counts):
        raise SystemExit(f"{row}: the closed forms count something else")
    return seconds


def program_s(row: dict[str, str], *, table: str) -> float:
    """Return the seconds of SCALE-Sim on `row`."""
    with tempfile.TemporaryDirectory() as folder:
        run = program_run(row, table=table, folder=Path(folder))
        start = time.process_time()
        cycles = run()
        seconds = time.process_time() - start
    if cycles != int(row["total_cycles"]):
        raise SystemExit(f"{row}: SCALE-Sim says {cycles} cycles now")
    return seconds


def main() -> None:
    """Print a line per table."""
    parser = argparse.ArgumentParser(description="closed forms against SCALE-Sim: seconds")
    parser.add_argument("--every", type=int, default=1, help="one row in so many")
    args = parser.parse_args()
    print("| table | runs | SCALE-Sim, s | closed forms, s | times | least | median | most |")
    print("|---|---|---|---|---|---|---|---|")
    for table in TABLES:
        rows = read_rows(table)[:: args.every]
        theirs = [program_s(row, table=table) for row in rows]
        ours = [closed_forms_s(row, table=table) for row in rows]
        ratios = sorted(a / b for a, b in zip(theirs, ours, strict=True))
        print(
            f"| {table} | {len(ours)} | {sum(theirs):.1f} | {sum(ours):.3f} | {sum(theirs) / sum(ours):,.0f} | "
            f"{ratios[0]:,.0f} | {ratios[len(ratios) // 2]:,.0f} | {ratios[-1]:,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
