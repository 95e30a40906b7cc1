"""This host, measured: the rates of its drives, its matrix products and its memory, as the text of a machine file."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

from tmtrain.runtime.host.drive import DriveRates, measure_drive
from tmtrain.runtime.host.host import BASE, PAGE_BYTES
from tmtrain.runtime.tier.stripes import capacity_bytes

_SIDE = 1024
"""Of the square matrices that are multiplied: large enough that a core reaches its rate."""
_LARGE, _SMALL = 1 << 24, 1 << 16
"""Elements of fp32 that no cache holds, and that every one does."""
_TRIES = 5
_ARRAY = 16
"""Rows and columns of the one array that stands for the matrix unit; its clock is what gives the measured rate."""
_CACHE_BYTES = 32 << 20
"""Where the system does not say how large its last cache is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRates:
    """What was measured of a host, best of a few tries."""

    drive: DriveRates
    threads: int
    """That torch computes with."""
    matrix_flops_per_s: float
    """fp32."""
    vector_ops_per_s: float
    """Additions of fp32 in a cache."""
    memory_bytes_per_s: float
    """Additions of fp32 in memory: two reads and a write."""
    operator_s: float
    """The least that an operator takes."""
    memory_bytes: int
    cache_bytes: int
    drive_bytes: int
    """What the file systems hold, in equal shares if there are several."""


def measure_host(folders: Sequence[Path]) -> HostRates:
    """Measure this host and the drives behind `folders`, together; takes some seconds, and other programs should rest.

    Raises: as `tmtrain.runtime.host.drive.measure_drive`.
    """
    a, b, product = (torch.ones(_SIDE, _SIDE) for _ in range(3))
    large, small = torch.ones(3, _LARGE), torch.ones(3, _SMALL)
    tiny = torch.ones(1)
    return HostRates(
        drive=measure_drive(folders),
        threads=torch.get_num_threads(),
        matrix_flops_per_s=2 * _SIDE**3 / _fastest(lambda: torch.mm(a, b, out=product)),
        vector_ops_per_s=_SMALL / _fastest(lambda: torch.add(small[0], small[1], out=small[2]), runs=1000),
        memory_bytes_per_s=3 * 4 * _LARGE / _fastest(lambda: torch.add(large[0], large[1], out=large[2])),
        operator_s=_fastest(lambda: tiny.add_(1), runs=1000),
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cache_bytes=_cache_bytes(),
        drive_bytes=capacity_bytes(folders),
    )


def machine_text(rates: HostRates) -> str:
    """Return a machine file (``docs/machine-format.md``); what was not measured is that of its base, and it says so."""
    date = datetime.now(UTC).date().isoformat()

    def line(key: str, value: float, unit: str, how: str) -> str:
        said = f'value = {value:.10g}, unit = "{unit}", ' if unit else f"value = {value:.10g}, "
        return f'{key} = {{ {said}range = [{value:.10g}, {value:.10g}], date = "{date}", source = "{how}" }}'

    drive, best = rates.drive, f"measured on this host, best of {_TRIES}"
    moved = "measured on this host, as tmtrain moves blocks"
    clock = rates.matrix_flops_per_s / (2 * _ARRAY**2)
    cached = min(rates.cache_bytes, rates.memory_bytes // 4)
    both = drive.read_bytes_per_s + drive.write_bytes_per_s
    return "\n".join((
        "# This host, by `tmtrain machine measure`. Not measured: energies, endurance, prices, which are the base's.",
        "schema = 1",
        f'base = "{BASE}"',
        f'description = "a host of {rates.threads} threads and its drive, measured {date}; energies, prices of others"',
        "",
        "[compute]",
        line("num_arrays", 1, "", "the processor taken as one matrix unit"),
        line("array_rows", _ARRAY, "", "assumed"),
        line("array_columns", _ARRAY, "", "assumed"),
        line("clock", clock / 1e9, "GHz", f"derived: {best}, fp32 product of side {_SIDE}"),
        line("fp32_passes", 1, "", "the rate was measured in fp32"),
        line("vector_ops", rates.vector_ops_per_s / 1e9, "Gop/s", f"{best}, fp32 additions in a cache"),
        line("transcendental_share", 0.25, "", "assumed"),
        line("reduction_share", 1, "", "assumed"),
        line("sram", cached / 2**20, "MiB", "last cache, as the system says it"),
        "",
        "[fast]",
        line("capacity", rates.memory_bytes / 2**30, "GiB", "memory of this host"),
        line("bandwidth", rates.memory_bytes_per_s / 1e9, "GB/s", f"{best}, fp32 additions in memory"),
        line("efficiency", 1, "", "the bandwidth was measured"),
        line("latency", rates.operator_s * 1e6, "us", f"{best}, an operator on one element"),
        "",
        "[slow]",
        'device = "unknown"',
        line("capacity", max(1, rates.drive_bytes >> 30), "GiB", "file systems of the folders"),
        line("page", PAGE_BYTES / 1024, "KiB", "of plans for real runs"),
        line("read_bandwidth", drive.read_bytes_per_s / 1e9, "GB/s", moved),
        line("write_bandwidth", drive.write_bytes_per_s / 1e9, "GB/s", moved),
        line("shared_bandwidth", drive.shared_bytes_per_s / 1e9, "GB/s", moved),
        "",
        "[link]",
        line("bandwidth", both / 1e9, "GB/s", "no limit beside the drive's own"),
        "",
    ))  # fmt: skip


def _fastest(call: Callable[[], object], *, runs: int = 3) -> float:
    """Return the seconds of one call, the best of a few tries of so many."""
    call()
    tries: list[float] = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        for _ in range(runs):
            call()
        tries.append((time.perf_counter() - began) / runs)
    return min(tries)


def _cache_bytes() -> int:
    name = "SC_LEVEL3_CACHE_SIZE"
    found = os.sysconf(name) if name in os.sysconf_names else 0
    return found if found > 0 else _CACHE_BYTES
