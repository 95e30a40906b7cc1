"""The closed forms beside SCALE-Sim itself, on shapes that the recorded tables do not have.

Needs the optional package: ``pip install -e '.[scalesim]'`` (it works with numpy below 2.4).
"""

import csv
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scalesim_files import RUN, write_files
from tmtrain.machine import Dataflow, load_machine, matrix_cycles
from tmtrain.machine.arrays import Products, sram_elements

pytest.importorskip("scalesim")
pytestmark = pytest.mark.scalesim

PROGRAM = """
import sys
from scalesim.scale_sim import scalesim
config, topology, layout, out = sys.argv[1:]
scalesim(save_disk_space=True, verbose=False, config=config, topology=topology, layout=layout,
         input_type_gemm=True).run_scale(top_path=out)
"""


def report(folder: Path, name: str) -> dict[str, float]:
    """Read the one row of a report."""
    with (folder / RUN / name).open() as file:
        row = next(csv.DictReader(file, skipinitialspace=True))
    return {column: float(value) for column, value in row.items() if column and value}


@pytest.mark.parametrize("dataflow", ["weight", "input", "output"])
@pytest.mark.parametrize(("m", "n", "k"), [(19, 45, 70), (70, 19, 33)])
def test_one_product(tmp_path: Path, dataflow: Dataflow, m: int, n: int, k: int) -> None:
    rows, columns = 8, 12
    files = write_files(
        tmp_path,
        array_rows=rows,
        array_cols=columns,
        dataflow=f"{dataflow[0]}s",
        topology=f"Layer, M, N, K,\nlayer, {m}, {n}, {k},\n",
        sram_kb=1024,
    )
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *files.values(), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    array = replace(
        load_machine("v4-slc").compute,
        num_arrays=1,
        array_rows=rows,
        array_columns=columns,
        dataflow=dataflow,
        weight_load="serial",
    )
    shape = {"batch": 1, "m": m, "n": n, "k": k}
    assert report(tmp_path, "COMPUTE_REPORT.csv")["Total Cycles"] + 1 == float(
        matrix_cycles(compute=array, **shape)
    )
    moved = sram_elements(Products.of(**shape), compute=array)
    said = report(tmp_path, "DETAILED_ACCESS_REPORT.csv")
    assert said["SRAM IFMAP Reads"] == moved.activation_reads
    assert said["SRAM Filter Reads"] == moved.weight_reads
    slip = -(-m // rows) * -(-n // columns) * (rows + columns) if dataflow == "output" else 0
    assert said["SRAM OFMAP Writes"] - slip == moved.result_writes
