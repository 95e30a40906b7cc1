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
_BEST = f"measured on this host, best of {_TRIES}"
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
    head = [
        "# This host, by `tmtrain machine measure`. Not measured: energies, endurance, prices, which are the base's.",
        "schema = 1",
        f'base = "{BASE}"',
        f'description = "a host of {rates.threads} threads and its drive, measured {date}; energies, prices of others"',
    ]
    tables = {
        "compute": _compute_lines(rates, date),
        "fast": _fast_lines(rates, date),
        "slow": ['device = "unknown"', *_slow_lines(rates.drive, rates.drive_bytes, date)],
        "link": _link_lines(rates.drive, date),
    }
    body = [line for name, lines in tables.items() for line in ("", f"[{name}]", *lines)]
    return "\n".join((*head, *body, ""))


def _compute_lines(rates: HostRates, date: str) -> list[str]:
    clock_hz = rates.matrix_flops_per_s / (2 * _ARRAY**2)
    cached_bytes = min(rates.cache_bytes, rates.memory_bytes // 4)  # more would leave no memory to plan for
    return [
        _line("num_arrays", 1, "", "the processor taken as one matrix unit", date),
        _line("array_rows", _ARRAY, "", "assumed", date),
        _line("array_columns", _ARRAY, "", "assumed", date),
        _line("clock", clock_hz / 1e9, "GHz", f"derived: {_BEST}, fp32 product of side {_SIDE}", date),
        _line("fp32_passes", 1, "", "the rate was measured in fp32", date),
        _line(
            "vector_ops", rates.vector_ops_per_s / 1e9, "Gop/s", f"{_BEST}, fp32 additions in a cache", date
        ),
        _line("transcendental_share", 0.25, "", "assumed", date),
        _line("reduction_share", 1, "", "assumed", date),
        _line("sram", cached_bytes / 2**20, "MiB", "last cache, as the system says it", date),
    ]


def _fast_lines(rates: HostRates, date: str) -> list[str]:
    bandwidth = rates.memory_bytes_per_s / 1e9
    return [
        _line("capacity", rates.memory_bytes / 2**30, "GiB", "memory of this host", date),
        _line("bandwidth", bandwidth, "GB/s", f"{_BEST}, fp32 additions in memory", date),
        _line("efficiency", 1, "", "the bandwidth was measured", date),
        _line("latency", rates.operator_s * 1e6, "us", f"{_BEST}, an operator on one element", date),
    ]


def _slow_lines(drive: DriveRates, drive_bytes: int, date: str) -> list[str]:
    moved = "measured on this host, as tmtrain moves blocks"
    return [
        _line("capacity", max(1, drive_bytes >> 30), "GiB", "file systems of the folders", date),
        _line("page", PAGE_BYTES / 1024, "KiB", "of plans for real runs", date),
        _line("read_bandwidth", drive.read_bytes_per_s / 1e9, "GB/s", moved, date),
        _line("write_bandwidth", drive.write_bytes_per_s / 1e9, "GB/s", moved, date),
        _line("shared_bandwidth", drive.shared_bytes_per_s / 1e9, "GB/s", moved, date),
    ]


def _link_lines(drive: DriveRates, date: str) -> list[str]:
    both = drive.read_bytes_per_s + drive.write_bytes_per_s
    return [_line("bandwidth", both / 1e9, "GB/s", "no limit beside the drive's own", date)]


def _line(key: str, value: float, unit: str, source: str, date: str) -> str:
    """Return one constant as machine files have it; nothing is known of its spread, so its range is itself."""
    number = f'value = {value:.10g}, unit = "{unit}"' if unit else f"value = {value:.10g}"
    return (
        f'{key} = {{ {number}, range = [{value:.10g}, {value:.10g}], date = "{date}", source = "{source}" }}'
    )


def _fastest(call: Callable[[], object], *, runs: int = 3) -> float:
    """Return the seconds of one call, the best of a few tries of so many."""
    call()  # the first one may compile, or touch memory for the first time
    tries: list[float] = []
    for _ in range(_TRIES):
        began = time.perf_counter()
        for _ in range(runs):
            call()
        tries.append((time.perf_counter() - began) / runs)
    return min(tries)


def _cache_bytes() -> int:
    name = "SC_LEVEL3_CACHE_SIZE"
    size = os.sysconf(name) if name in os.sysconf_names else 0
    return size if size > 0 else _CACHE_BYTES  # virtual machines say 0
