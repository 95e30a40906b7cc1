"""Served: how a flash device did with the steps that it was asked for."""

from dataclasses import dataclass

from tmtrain.simulation.flash import Latency, Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Wear:
    """Of the blocks."""

    write_amplification: float
    """Pages programmed for each page written, in the second half of the steps; 1 where nothing is written."""
    whole_write_amplification: float
    """Of the whole run."""
    erases: int
    least_erases: int
    """Of a block."""
    most_erases: int
    mean_erases: float
    cycles_per_step: float
    """Erases of an average block per step, in the second half of the steps. While free blocks last, fewer are erased than
    written: then as many as the written ones will need."""
    life_steps: float
    """Until the average block has had its cycles; infinite where nothing is written. The spread says how level wear is."""
    life_years: float
    """Of uninterrupted training."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedPace:
    """Of the requests of the steps. Rates count bytes over all steps' time; latencies are from arrival to completion."""

    read_bytes_per_s: float
    write_bytes_per_s: float
    read_latency: Latency | None
    """None: there are none."""
    write_latency: Latency | None
    late: Latency | None
    """Later (or, negative, earlier) than at the rates of the machine file."""
    device_s: float
    """Of the steps, until the device rests."""
    asked_s: float
    """That the steps take at the rates of the machine file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """Many steps on one device with one layout."""

    machine: str
    layout: Layout
    outcome: str
    """"done", "worn out", "full", ..."""
    message: str
    steps: int
    """Asked for."""
    steps_done: int
    """Of which every request was completed."""
    groups: int
    """Death groups; 1 in the log."""
    scale: float
    """Bytes, and seconds, that one stands for."""
    page_bytes: int
    """Of a simulated page."""
    joined_pages: int
    """Pages of the device in it."""
    fill: float
    """Share of what the host sees that the step's data take up."""
    space_bytes: int
    peak_bytes: int
    """Of use at once."""
    step_read_bytes: int
    step_write_bytes: int
    wear: Wear
    pace: ServedPace
    energy_by_operation_j: dict[str, float]
    """Per step."""

    @property
    def spread(self) -> int:
        """Erases of the most worn block less those of the least worn one."""
        return self.wear.most_erases - self.wear.least_erases
