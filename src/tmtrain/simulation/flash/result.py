"""What a flash device did with its requests."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tmtrain.simulation.flash.requests import RequestKind, Requests


class FlashOutcome(IntEnum):
    """How a run ended."""

    DONE = 0
    BEYOND_CAPACITY = 1
    """A request reaches beyond what the host sees."""
    NEVER_WRITTEN = 2
    """A request reads what nobody wrote."""
    WORN_OUT = 3
    """A block would have to be erased once more than it survives."""
    FULL = 4
    """Writes wait for blocks, and none can be freed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds from arrival to completion; the percentiles are by nearest rank."""

    mean_s: float
    p50_s: float
    p99_s: float
    max_s: float
    min_s: float


def latency_of(seconds: NDArray[np.float64]) -> Latency:
    """Return the distribution of so many seconds, one at least."""
    ordered = np.sort(seconds)
    return Latency(
        mean_s=float(ordered.mean()),
        p50_s=float(ordered[-(-len(ordered) * 50 // 100) - 1]),
        p99_s=float(ordered[-(-len(ordered) * 99 // 100) - 1]),
        max_s=float(ordered[-1]),
        min_s=float(ordered[0]),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operations:
    """Pages, blocks and commands, of the whole run."""

    host_reads: int
    host_programs: int
    copy_reads: int
    """By collection, as the next."""
    copy_programs: int
    erases: int
    lock_hits: int
    """Pages of requests that had to wait for a copy of theirs."""
    read_commands: tuple[int, ...]
    """By number of planes: the first is for one plane."""
    program_commands: tuple[int, ...]
    erase_commands: tuple[int, ...]

    @property
    def write_amplification(self) -> float:
        """Pages programmed for each page that the host wrote; 1 where it wrote none."""
        return (self.host_programs + self.copy_programs) / self.host_programs if self.host_programs else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Seconds, sums over page operations: what they waited for."""

    read_for_die_s: float
    """Until the read command goes out: for the die, the channel, and operations that go first."""
    program_for_die_s: float
    read_for_channel_s: float
    """Between the page register and the channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlashResult:
    """One run of requests on a device."""

    outcome: FlashOutcome
    message: str
    """The outcome in words, with numbers."""
    requests: Requests
    admitted_s: NDArray[np.float64]
    """When the device took each request in; nan: never."""
    completed_s: NDArray[np.float64]
    """When the host knew that it was done; nan: never."""
    origin: NDArray[np.int32]
    """Of each read: the request that wrote its first page; -1: there from the beginning, or no read."""
    copies_by_then: NDArray[np.int64]
    """Copies programmed by the completion of each request."""
    erases_by_then: NDArray[np.int64]
    """Blocks erased by the completion of each request."""
    operations: Operations
    waiting: Waiting
    channel_busy_s: NDArray[np.float64]
    die_busy_s: NDArray[np.float64]
    erase_counts: NDArray[np.int32]
    """Per block."""
    end_s: float
    """When the device, collection included, came to rest."""
    energy_by_operation_j: dict[str, float]

    @property
    def write_amplification(self) -> float:
        """Pages programmed for each page that the host wrote."""
        return self.operations.write_amplification

    def latency(self, kind: RequestKind, rows: slice = slice(None)) -> Latency:
        """Return the distribution of the latencies of all completed requests of a kind, among some rows.

        Raises:
            ValueError: there are none.
        """
        taken = (self.completed_s - self.requests.arrival_s)[rows][self.requests.kind[rows] == kind]
        taken = taken[~np.isnan(taken)]
        if not len(taken):
            raise ValueError(f"no {kind.name.lower()} was completed")
        return latency_of(taken)

    def bandwidth_bytes_per_s(self, kind: RequestKind, rows: slice = slice(None)) -> float:
        """Return the bytes of all completed requests of a kind, among some rows, over these rows' makespan."""
        of_kind = (self.requests.kind[rows] == kind) & ~np.isnan(self.completed_s[rows])
        size = int(self.requests.size_bytes[rows][of_kind].sum())
        return size / self.makespan_s(rows) if size else 0.0

    def makespan_s(self, rows: slice = slice(None)) -> float:
        """Return the seconds from the first arrival to the last completion among some rows; nan: none completed."""
        completed = self.completed_s[rows]
        completed = completed[~np.isnan(completed)]
        return float(completed.max() - self.requests.arrival_s[rows][0]) if len(completed) else float("nan")

    @property
    def queueing_s(self) -> NDArray[np.float64]:
        """Seconds that each request waited until the device took it in."""
        return self.admitted_s - self.requests.arrival_s

    @property
    def erase_spread(self) -> int:
        """Erases of the most worn block less those of the least worn one."""
        return int(self.erase_counts.max() - self.erase_counts.min())
