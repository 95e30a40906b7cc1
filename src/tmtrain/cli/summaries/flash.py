"""What ``tmtrain flash`` prints: one column for each layout."""

import dataclasses
from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from tmtrain.reporting.quantity import digits, percent, quantity
from tmtrain.simulation.flash import Latency
from tmtrain.simulation.swapping import Served
from tmtrain.units import YEAR_S, format_bytes, format_seconds, format_years


def record_of(served: Served) -> dict[str, object]:
    """Return a run with what follows from it, for JSON."""
    return {**dataclasses.asdict(served), "spread": served.spread}


def table_of(runs: Sequence[Served]) -> Table:
    """Lay the runs of the same steps out side by side."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True, style="dim")
    for run in runs:
        table.add_column(f"{run.layout} layout", overflow="fold")
    for rows in zip(*(_lines(run) for run in runs), strict=True):
        table.add_row(Text(rows[0][0]), *(Text(value) for _, value in rows))
    return table


def _lines(run: Served) -> Iterator[tuple[str, str]]:
    wear, pace = run.wear, run.pace
    yield "outcome", run.message
    yield (
        "places on flash",
        f"{format_bytes(run.space_bytes)}, {percent(run.fill)} of the device" + _scaled(run),
    )
    yield "a step reads, writes", f"{format_bytes(run.step_read_bytes)}, {format_bytes(run.step_write_bytes)}"
    yield "death groups", str(run.groups)
    yield (
        "write amplification",
        f"{wear.write_amplification:.4f} ({wear.whole_write_amplification:.4f} from the start)",
    )
    yield (
        "erases of a block",
        f"{wear.least_erases} to {wear.most_erases}, {digits(wear.mean_erases)} on average",
    )
    yield "cycles per step", digits(wear.cycles_per_step)
    yield "lifetime", f"{format_years(wear.life_years * YEAR_S)}, {digits(wear.life_steps)} steps"
    yield "device time", f"{format_seconds(pace.device_s)} for {format_seconds(pace.asked_s)} of steps"
    yield (
        "reads, writes",
        f"{quantity(pace.read_bytes_per_s, 'B/s')}, {quantity(pace.write_bytes_per_s, 'B/s')}",
    )
    yield "latency of a read", _latency(pace.read_latency)
    yield "latency of a write", _latency(pace.write_latency)
    yield "late", _latency(pace.late)
    for name, joules in run.energy_by_operation_j.items():
        yield f"energy of a step, {name}", quantity(joules, "J")


def _scaled(run: Served) -> str:
    return "" if run.scale == 1 else f", {digits(run.scale)} bytes for each"


def _latency(latency: Latency | None) -> str:
    if latency is None:
        return ""
    parts = (latency.p50_s, latency.p99_s, latency.max_s)
    return "{} median, {} 99th percentile, {} most".format(*map(_signed, parts))


def _signed(seconds: float) -> str:
    return f"-{format_seconds(-seconds)}" if seconds < 0 else format_seconds(seconds)
