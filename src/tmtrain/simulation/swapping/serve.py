"""`serve_steps`: many steps' traffic to flash, event by event on the device of a machine -> Served."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.machine import Machine
from tmtrain.simulation.flash import (
    FlashDevice,
    FlashOutcome,
    FlashResult,
    Latency,
    Layout,
    RequestKind,
    simulate_flash,
)
from tmtrain.simulation.flash.result import latency_of
from tmtrain.simulation.swapping.device import flash_device, join, joinable
from tmtrain.simulation.swapping.groups import LASTING, death_groups
from tmtrain.simulation.swapping.served import Served, ServedPace, Wear
from tmtrain.simulation.swapping.swaps import Swaps
from tmtrain.simulation.swapping.workload import AT_START, Workload, make_workload
from tmtrain.units import YEAR_S

QUEUE_DEPTH = 128
"""Requests inside the device at once: enough for every plane of `v4-slc` to have work."""
MOST_GROUPS = 8
"""Death groups, where the spare area allows so many."""
_MOST_PAGES = 32_000_000
"""Of a run, so that it takes about 20 seconds."""


def serve_steps(
    swaps: Swaps,
    *,
    machine: Machine,
    layout: Layout = "grouped",
    steps: int = 10,
    fill: float | None = None,
    joined_pages: int | None = None,
    device: FlashDevice | None = None,
) -> Served:
    """Run the traffic of many steps on the flash device of a machine.

    What the real device cannot be held for is scaled: pages are joined (Note [Joined pages] in
    `tmtrain.simulation.swapping.device`), and with `fill` the step stands for a larger or smaller one whose data fill that
    share of what the host sees: bytes and seconds are multiplied alike, so that rates, order, and all ratios stay.

    Known limitations: the device's delays do not reach back into the step; a write is done when it is programmed, no
    buffer hides that; nothing else is on the device.

    Args:
        swaps: One steady step (`swaps_of`).
        machine: Whose flash.
        layout: Page-mapped log with greedy collection, or static by death group.
        steps: How many.
        fill: Share of the host's space that the step's data shall take; as they are if None.
        joined_pages: Pages that are simulated as one; by default as few as make a run of about 20 seconds.
        device: Instead of the machine's own, with the layout in it.

    Raises:
        InputError: the machine does not say what its flash consists of, nothing goes to flash, the data do not fit.
    """
    _check(swaps, steps=steps, fill=fill)
    whole = flash_device(machine, layout=layout) if device is None else device
    if joined_pages is None:
        joined_pages = _joined_pages(whole, swaps, steps=steps, scale=_scale(whole, swaps, fill))
    small = join(whole, pages=joined_pages)
    scale = _scale(small, swaps, fill)
    groups = _groups(swaps, small, layout=whole.translation.layout, scale=scale)
    workload = make_workload(swaps, small, steps=steps, groups=groups, scale=scale)
    run = _ServedRun(
        swaps=swaps,
        whole=whole,
        joined_pages=joined_pages,
        device=small,
        scale=scale,
        groups=groups,
        workload=workload,
        result=simulate_flash(small, workload.requests, queue_depth=QUEUE_DEPTH),
        steps=steps,
    )
    return _served(run, machine=machine.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ServedRun:
    """Many steps on the device that was simulated."""

    swaps: Swaps
    whole: FlashDevice
    joined_pages: int
    device: FlashDevice
    """`whole`, with so many pages in one."""
    scale: float
    groups: NDArray[np.int32]
    workload: Workload
    result: FlashResult
    steps: int

    @property
    def is_completed(self) -> NDArray[np.bool_]:
        """Of each request."""
        return ~np.isnan(self.result.completed_s)

    @property
    def steps_done(self) -> int:
        """Steps of which every request was completed; none where what they begin with could not be written."""
        missing = self.workload.step[~self.is_completed]
        return max(int(missing.min()), 0) if len(missing) else self.steps


def _served(run: _ServedRun, *, machine: str) -> Served:
    swaps = run.swaps
    return Served(
        machine=machine,
        layout=run.whole.translation.layout,
        outcome=_outcome(run.result),
        message=_message(run),
        steps=run.steps,
        steps_done=run.steps_done,
        groups=len(np.unique(run.groups)),
        scale=run.scale,
        page_bytes=run.device.geometry.page_bytes,
        joined_pages=run.joined_pages,
        fill=swaps.space_bytes * run.scale / run.whole.host_bytes,
        space_bytes=swaps.space_bytes,
        peak_bytes=swaps.peak_bytes,
        step_read_bytes=swaps.read_bytes,
        step_write_bytes=swaps.write_bytes,
        wear=_wear(run),
        pace=_pace(run),
        energy_by_operation_j=_step_energy(run),
    )


def _check(swaps: Swaps, *, steps: int, fill: float | None) -> None:
    if steps < 1:
        raise InputError(f"steps is {steps}: must be at least 1")
    if not len(swaps):
        raise InputError("nothing goes to flash in this step: give it less fast memory")
    if fill is not None and not 0 < fill <= 1:
        raise InputError(f"fill is {fill:g}: must be above 0 and at most 1, a share of what the host sees")


def _scale(device: FlashDevice, swaps: Swaps, fill: float | None) -> float:
    return 1.0 if fill is None else fill * device.host_bytes / swaps.space_bytes


def _joined_pages(device: FlashDevice, swaps: Swaps, *, steps: int, scale: float) -> int:
    """Return as few as the time allows."""
    pages = steps * scale * (swaps.read_bytes + swaps.write_bytes) / device.geometry.page_bytes
    choices = joinable(device)
    return next((joined for joined in choices if pages / joined <= _MOST_PAGES), choices[-1])


def _groups(swaps: Swaps, device: FlashDevice, *, layout: Layout, scale: float) -> NDArray[np.int32]:
    if layout == "log":
        return np.full(len(swaps.copies), LASTING, np.int32)
    geometry = device.geometry
    stripe_bytes = geometry.planes * geometry.block_bytes
    spare_blocks = int(geometry.blocks_per_plane - swaps.space_bytes * scale / stripe_bytes)
    # Each group may hold a block of every plane that is partly dead, and wait for as much to die.
    affordable = (spare_blocks - device.translation.collect_below_blocks) // 2
    most = max(1, min(MOST_GROUPS, affordable))
    return death_groups(swaps.copies, most=most, least_bytes=stripe_bytes / scale)


def _outcome(result: FlashResult) -> str:
    return result.outcome.name.lower().replace("_", " ")


def _message(run: _ServedRun) -> str:
    if run.result.outcome is FlashOutcome.DONE:
        return f"{run.steps} steps done"
    return f"{_outcome(run.result)} after {run.steps_done} steps: {run.result.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Half:
    """The second half of the steps, as far as it was completed."""

    written_pages: int
    copied_pages: int
    erased_blocks: int
    steps: float


def _second_half(run: _ServedRun) -> _Half:
    """Return what the second half of the steps did: in the first one the device still fills up."""
    requests, step, half = run.workload.requests, run.workload.step, run.steps // 2
    done = run.is_completed
    first, then = done & (step < half), done & (step >= half)
    writes = then & (requests.kind == RequestKind.WRITE)

    def gained(column: NDArray[np.int64]) -> int:
        """The counters run on, so the second half has what they gained in it."""
        return int(column[done].max(initial=0)) - int(column[first].max(initial=0)) if then.any() else 0

    return _Half(
        written_pages=int(requests.size_bytes[writes].sum()) // run.device.geometry.page_bytes,
        copied_pages=gained(run.result.copies_by_then),
        erased_blocks=gained(run.result.erases_by_then),
        steps=run.steps - half,
    )


def _wear(run: _ServedRun) -> Wear:
    device, result, half = run.device, run.result, _second_half(run)
    programmed = half.written_pages + half.copied_pages
    blocks = len(result.erase_counts)
    # While free blocks last, fewer are erased than written; later as many as are written have to be.
    erases_per_step = max(half.erased_blocks, programmed / device.geometry.pages_per_block) / half.steps
    cycles = erases_per_step / blocks
    life = device.endurance.erases / cycles if cycles else float("inf")
    return Wear(
        write_amplification=programmed / half.written_pages if half.written_pages else 1.0,
        whole_write_amplification=result.write_amplification,
        erases=result.operations.erases,
        least_erases=int(result.erase_counts.min()),
        most_erases=int(result.erase_counts.max()),
        mean_erases=float(result.erase_counts.mean()),
        cycles_per_step=cycles,
        life_steps=life,
        life_years=life * run.workload.period_s / YEAR_S,
    )


def _pace(run: _ServedRun) -> ServedPace:
    workload, result = run.workload, run.result
    kind, of_steps = workload.requests.kind, (workload.step > AT_START) & run.is_completed
    device_s = float((result.completed_s[of_steps].max(initial=workload.start_s)) - workload.start_s)
    taken = {way: of_steps & (kind == way) for way in (RequestKind.READ, RequestKind.WRITE)}
    rates = {
        way: float(workload.requests.size_bytes[rows].sum()) / device_s if device_s else 0.0
        for way, rows in taken.items()
    }
    latency = result.completed_s - workload.requests.arrival_s
    return ServedPace(
        read_bytes_per_s=rates[RequestKind.READ],
        write_bytes_per_s=rates[RequestKind.WRITE],
        read_latency=_latency(latency[taken[RequestKind.READ]]),
        write_latency=_latency(latency[taken[RequestKind.WRITE]]),
        late=_latency((result.completed_s - workload.promised_s)[of_steps & ~np.isnan(workload.promised_s)]),
        device_s=device_s,
        asked_s=run.steps * workload.period_s,
    )


def _step_energy(run: _ServedRun) -> dict[str, float]:
    """Return the joules of a step: of the run, less what is written at the start, and idle power while steps run."""
    energies, workload = run.device.energies, run.workload
    at_start = workload.step == AT_START
    pages = int(workload.requests.size_bytes[at_start].sum()) / run.device.geometry.page_bytes
    joules = run.result.energy_by_operation_j | {"idle": energies.idle_w * _pace(run).device_s}
    joules["program"] -= energies.program_page_j * pages
    return {name: max(0.0, value) / run.steps for name, value in joules.items()}


def _latency(seconds: NDArray[np.float64]) -> Latency | None:
    return latency_of(seconds) if len(seconds) else None
