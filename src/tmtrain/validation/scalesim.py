"""Systolic arrays beside SCALE-Sim 3.0.0: cycles, SRAM accesses and memory accesses of 408 runs, each equal.

The tables in ``data/scalesim`` are our own runs of the package, one layer each: matrix products (``gemm.csv``) and
convolutions (``conv.csv``) with unlimited bandwidth, and products with a given one (``gemm_bw.csv``). Where its counts
are unsound, what is compared is what they are meant to be:

* it reports the index of the last cycle, one less than their number;
* output-stationary, it counts rows + columns SRAM writes too many per tile: they are taken off;
* a convolution whose stride does not divide the input gets one more, cut-off result: here, padding behind the input;
* with a given bandwidth, stalls are taken off the cycles, and memory accesses, which it rounds up to whole bursts,
  are not compared.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib import resources
from typing import Any

from numpy.typing import NDArray

from tmtrain.machine import Compute, Dataflow, load_machine, matrix_cycles
from tmtrain.machine.arrays import Convolution, Products, Window, dram_elements, sram_elements
from tmtrain.validation.comparison import Comparison

SOURCE = "SCALE-Sim 3.0.0, our own runs"
TABLES = ("gemm", "conv", "gemm_bw")

_FOLDER = resources.files("tmtrain.validation") / "data" / "scalesim"
_DATAFLOWS: dict[str, Dataflow] = {"ws": "weight", "is": "input", "os": "output"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One quantity of one run."""

    case: str
    """Table, array and dataflow."""
    quantity: str
    model: int
    reference: int

    @property
    def distance(self) -> tuple[int, int]:
        """What puts the run that is furthest off last, the largest if none is off."""
        return abs(self.model - self.reference), self.reference


def compare() -> list[Comparison]:
    """Return one row per table, array, dataflow and quantity: of all its runs the one that is furthest off."""
    groups: dict[tuple[str, str], list[Count]] = {}
    for table in TABLES:
        for row in read_rows(table):
            for count in counts_of(row, table=table):
                groups.setdefault((count.case, count.quantity), []).append(count)
    return [_worst(counts) for counts in groups.values()]


def read_rows(table: str) -> list[dict[str, str]]:
    """Return the runs of a table, by column."""
    return list(csv.DictReader((_FOLDER / f"{table}.csv").read_text(encoding="utf-8").splitlines()))


def counts_of(row: dict[str, str], *, table: str) -> Iterator[Count]:
    """Yield what model and SCALE-Sim count in one run."""
    reported = {name: int(value) for name, value in row.items() if value.isdecimal()}
    compute = _array_of(row)
    convolution = _convolution_of(reported) if table == "conv" else None
    products = convolution.products() if convolution else _product_of(reported)
    case = f"{table} on {compute.array_rows}x{compute.array_columns}, {compute.dataflow}-stationary"

    def count(quantity: str, model: NDArray[Any], reference: int) -> Count:
        return Count(case=case, quantity=quantity, model=int(model), reference=reference)

    cycles = matrix_cycles(compute=compute, **products.sizes)
    yield count("cycles", cycles, reported["total_cycles"] - reported["stall_cycles"] + 1)
    sram = sram_elements(products, compute=compute)
    yield count("SRAM reads of activations", sram.activation_reads, reported["sram_ifmap_reads"])
    yield count("SRAM reads of weights", sram.weight_reads, reported["sram_filter_reads"])
    yield count(
        "SRAM writes of results", sram.result_writes, reported["sram_ofmap_writes"] - _slip(reported, compute)
    )
    if table == "gemm_bw":
        return
    dram = dram_elements(
        products, compute=compute, activations=convolution.input_elements if convolution else None
    )
    yield count("memory reads of activations", dram.activation_reads, reported["dram_ifmap_reads"])
    yield count("memory reads of weights", dram.weight_reads, reported["dram_filter_reads"])
    yield count("memory writes of results", dram.result_writes, reported["dram_ofmap_writes"])


def _array_of(row: dict[str, str]) -> Compute:
    return replace(
        load_machine("v4-slc").compute,
        num_arrays=1,
        array_rows=int(row["array_rows"]),
        array_columns=int(row["array_cols"]),
        dataflow=_DATAFLOWS[row["dataflow"]],
        weight_load="serial",
    )


def _product_of(reported: dict[str, int]) -> Products:
    return Products.of(batch=1, m=reported["M"], n=reported["N"], k=reported["K"])


def _convolution_of(reported: dict[str, int]) -> Convolution:
    height, width = (
        Window(
            size=reported[f"ifmap_{axis}"],
            kernel=reported[f"filt_{axis}"],
            stride=reported["stride"],
            after=(reported[f"filt_{axis}"] - reported[f"ifmap_{axis}"]) % reported["stride"],
        )
        for axis in ("h", "w")
    )
    return Convolution(
        images=1,
        channels=reported["channels"],
        filters=reported["num_filters"],
        height=height,
        width=width,
    )


def _slip(reported: dict[str, int], compute: Compute) -> int:
    """Return the SRAM writes that SCALE-Sim counts and nobody makes."""
    if compute.dataflow != "output":
        return 0
    tiles = reported["folds_row"] * reported["folds_col"]
    return tiles * (compute.array_rows + compute.array_columns)


def _worst(counts: list[Count]) -> Comparison:
    worst = max(counts, key=lambda count: count.distance)
    return Comparison(
        case=f"{worst.case}, {len(counts)} runs",
        quantity=worst.quantity,
        model=worst.model,
        reference=worst.reference,
        tolerance=0.0,
        source=SOURCE,
    )
