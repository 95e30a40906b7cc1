"""How fast drives are together, as the mover uses them: the same files, blocks and threads."""

import mmap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tmtrain.machine import Machine
from tmtrain.planning.placing.prediction import channel_seconds
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES
from tmtrain.runtime.tier.mover import NUM_THREADS, Direction, Job, Moved, Mover
from tmtrain.runtime.tier.stripes import open_flash

PROBE_BLOCKS = 64
"""Of each direction and drive: enough to fill a small cache of it, and soon over even on a slow one."""
LEAST_AT_FULL_LOAD = 16 * BLOCK_BYTES
"""Passed while every thread was busy, before anything is said of the drive's rate."""
_FIRST = BLOCK_BYTES // 2
"""Flash address of the first block: as in a run, blocks lie across the edges of stripes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriveRates:
    """Sustained bytes per second."""

    read_bytes_per_s: float
    """When nothing is written."""
    write_bytes_per_s: float
    """When nothing is read."""
    shared_bytes_per_s: float
    """Both together."""


def measure_drive(folders: Sequence[Path], *, blocks: int = PROBE_BLOCKS) -> DriveRates:
    """Write, read, and do both at once, so many blocks of 1 MiB each on the drive of each folder; nothing is left there.

    Raises:
        InputError: a folder cannot serve as flash.
        FlashError: a drive fails.
    """
    blocks *= len(folders)
    flash = open_flash(folders, size_bytes=_FIRST + 2 * blocks * BLOCK_BYTES)
    mover = Mover(flash, num_threads=NUM_THREADS * len(folders))
    memory = mmap.mmap(-1, 2 * blocks * BLOCK_BYTES)
    # The pages are there before the clock runs: to have them for the first time takes longer than to read into them.
    memory[:: mmap.PAGESIZE] = bytes(len(memory) // mmap.PAGESIZE)
    view = memoryview(memory)
    try:
        first, second = range(blocks), range(blocks, 2 * blocks)
        write = _rate(mover, view, [("out", first)])
        read = _rate(mover, view, [("in", first)])
        shared = _rate(mover, view, [("out", second), ("in", first)])
    finally:
        mover.close()
        flash.close()
    # Noise may put the rate of both outside of what a machine file allows.
    shared = min(max(shared, read, write), read + write)
    return DriveRates(read_bytes_per_s=read, write_bytes_per_s=write, shared_bytes_per_s=shared)


def slowness(moved: Moved, *, since: Moved, machine: Machine) -> float | None:
    """Return how many times as long as `machine` says the drive took at full load; None if that was too rare to tell."""
    bytes_in = moved.full_bytes_in - since.full_bytes_in
    bytes_out = moved.full_bytes_out - since.full_bytes_out
    if bytes_in + bytes_out < LEAST_AT_FULL_LOAD:
        return None
    expected_s = channel_seconds(machine, bytes_in=int(bytes_in), bytes_out=int(bytes_out))
    return (moved.full_s - since.full_s) / expected_s


def _rate(mover: Mover, memory: memoryview, work: Sequence[tuple[Direction, range]]) -> float:
    """Return the bytes per second of these blocks, directions in turns."""
    jobs = [
        Job(
            direction=direction,
            block=memory[n * BLOCK_BYTES : (n + 1) * BLOCK_BYTES],
            offset=_FIRST + n * BLOCK_BYTES,
            deadline=n,
            done=lambda _: None,
        )
        for direction, numbers in work
        for n in numbers
    ]
    half = len(jobs) // len(work)
    began = time.perf_counter()
    for turn in range(half):
        for lane in range(len(work)):
            mover.submit(jobs[lane * half + turn])
            mover.hurry(jobs[lane * half + turn], deadline=turn)  # in turns, not reads first
    for job in jobs:
        job.wait()
    return len(jobs) * BLOCK_BYTES / (time.perf_counter() - began)
