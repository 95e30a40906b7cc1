"""The closed forms of the flash device beside its event-driven mode.

Both know the same device. They differ by what the closed forms leave out (`tmtrain.simulation.flash.closed_forms`). The
form for random overwrites is good to a factor of 1.5 only. The more requests are inside, the fewer dies are idle and the
more pages meet in commands of several planes, and it knows neither.
"""

from collections.abc import Iterator

import numpy as np

from tmtrain.simulation.flash import (
    Endurance,
    FlashDevice,
    FlashResult,
    Geometry,
    HostLink,
    RequestKind,
    Requests,
    Timing,
    Translation,
    estimate_flash,
    make_requests,
    simulate_flash,
)
from tmtrain.validation.comparison import Comparison
from tmtrain.validation.mqsim import mqsim_device

_TOLERANCE, _OVERWRITE_TOLERANCE = 0.1, 0.5
_REQUESTS_PER_DIE = 8
"""Inside at once. Of many more, single pages would meet in commands of several planes, which the forms leave out."""


def compare() -> list[Comparison]:
    """Compare three devices: two as in MQSim, and the flash of the preset ``v4-slc``, fewer blocks on a plane."""
    devices = (mqsim_device("A8"), mqsim_device("A2"), _slc_tier())
    return [row for device in devices for row in _compare(device)]


def _compare(device: FlashDevice) -> Iterator[Comparison]:
    estimate, size = estimate_flash(device), device.geometry.page_bytes
    half = device.host_bytes // 2
    large = np.arange(0, half - 64 * size, 64 * size)
    small = np.random.default_rng(0).integers(0, half // size, 50_000) * size
    read, write = RequestKind.READ, RequestKind.WRITE
    one = simulate_flash(device, make_requests(read, small[:1], size_bytes=size), filled_bytes=half)
    reads = _run(device, make_requests(read, large, size_bytes=64 * size), filled_bytes=half)
    writes = _run(device, make_requests(write, large, size_bytes=64 * size))
    random = _run(device, make_requests(read, small, size_bytes=size), filled_bytes=half)
    rows = (
        ("latency of a read, us", estimate.read_latency_s * 1e6, one.latency(read).mean_s * 1e6),
        ("sequential reads, GB/s", estimate.read_bytes_per_s / 1e9, reads.bandwidth_bytes_per_s(read) / 1e9),
        (
            "sequential writes, GB/s",
            estimate.write_bytes_per_s / 1e9,
            writes.bandwidth_bytes_per_s(write) / 1e9,
        ),
        ("random reads, 1000/s", estimate.random_reads_per_s / 1e3, len(small) / random.makespan_s() / 1e3),
        *_overwrites(device),
    )
    for quantity, model, reference in rows:
        yield Comparison(
            case=device.name,
            quantity=quantity,
            model=model,
            reference=reference,
            tolerance=_OVERWRITE_TOLERANCE if quantity.startswith("random overwrites") else _TOLERANCE,
            source="event-driven mode",
        )


def _overwrites(device: FlashDevice) -> Iterator[tuple[str, float, float]]:
    """Overwrite uniformly what the host sees, four times; the last time is measured. Devices with few pages only."""
    pages, size = device.host_pages, device.geometry.page_bytes
    if pages > 250_000:
        return
    estimate = estimate_flash(device)
    first = np.random.default_rng(0).integers(0, pages, 4 * pages) * size
    result = _run(device, make_requests(RequestKind.WRITE, first, size_bytes=size), filled_bytes=pages * size)
    copied = int(result.copies_by_then.max() - result.copies_by_then[3 * pages])
    seconds = result.completed_s.max() - result.completed_s[3 * pages]
    yield "write amplification", estimate.write_amplification, 1 + copied / pages
    yield "random overwrites, 1000/s", estimate.overwrites_per_s / 1e3, pages / seconds / 1e3


def _run(device: FlashDevice, requests: Requests, *, filled_bytes: int = 0) -> FlashResult:
    return simulate_flash(
        device, requests, queue_depth=_REQUESTS_PER_DIE * device.geometry.dies, filled_bytes=filled_bytes
    )


def _slc_tier() -> FlashDevice:
    """Return 16 channels of 2.4 GT/s with 8 XL-FLASH dies of 16 planes each: its organisation in ``v4-slc``."""
    page, blocks, pages_per_block = 4096, 16, 64
    return FlashDevice(
        name="v4-slc, 16 blocks a plane",
        geometry=Geometry(
            channels=16,
            dies_per_channel=8,
            planes_per_die=16,
            blocks_per_plane=blocks,
            block_bytes=pages_per_block * page,
            page_bytes=page,
            capacity_bytes=16 * 8 * 16 * blocks * pages_per_block * page,
        ),
        timing=Timing(read_s=4e-6, program_s=75e-6, erase_s=3e-3, channel_bytes_per_s=2.4e9),
        link=HostLink(bytes_per_s=64e9),
        endurance=Endurance(cycles=100_000),
        translation=Translation(over_provisioning=0.25),
    )
