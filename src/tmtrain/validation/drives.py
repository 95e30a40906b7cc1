"""Drives, modelled from their dies and their link, beside what their makers promise.

Makers publish the cell, the capacity and the link. Channels and their rate are assumed (said beside each), and nothing is
fitted. All PCIe links carry 128 bytes a packet, with 28 more. Blocks are fewer than in the drives, which no bandwidth here
depends on. A die whose planes read independently of each other is modelled as one die per plane.

One promise does not follow from the die count and is shown, not claimed: the TLC drive (9550) sustains less than its dies
could program at one shot of three pages in 0.94 ms. Random writes are not compared, since they depend on the spare area,
the size of blocks and the firmware, of which nothing is published.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from tmtrain.simulation.flash import (
    Endurance,
    FlashDevice,
    Geometry,
    HostLink,
    RequestKind,
    Timing,
    Translation,
    make_requests,
    simulate_flash,
)
from tmtrain.validation.comparison import Comparison

_KIB = 2**10
_PCIE_LANE_BYTES_PER_S = {3: 0.9846e9, 4: 1.969e9, 5: 3.938e9}
_TOLERANCE = 0.15
_PAGES_PER_BLOCK, _BLOCKS_PER_PLANE = 64, 16
_LARGE_PAGES = 32
"""Pages of a large request."""

# Reads and programs: Z-NAND ISSCC 2018, XL-FLASH ISSCC 2020, TLC ISSCC 2024 (3 pages at one shot of 0.94 ms).
# Erases: 2 to 5 ms.
_ZNAND = Timing(read_s=3e-6, program_s=100e-6, erase_s=3e-3, channel_bytes_per_s=0.8e9)
_XL_FLASH = Timing(read_s=4e-6, program_s=75e-6, erase_s=3e-3, channel_bytes_per_s=0.8e9)
_TLC = Timing(read_s=50e-6, program_s=0.94e-3 / 3, erase_s=3.5e-3, channel_bytes_per_s=2.4e9)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drive:
    device: FlashDevice
    source: str
    """Of the promises."""
    read_bytes_per_s: float
    write_bytes_per_s: float | None = None
    claims_writes: bool = True
    """Whether its writes are taken to follow from its dies."""
    random_reads_per_s: float | None = None
    """Of 4 KiB."""


def compare() -> list[Comparison]:
    """Measure the modelled drives with large sequential and small random requests."""
    return [row for drive in _drives() for row in _compare(drive)]


def _compare(drive: _Drive) -> Iterator[Comparison]:
    device, random = drive.device, drive.random_reads_per_s
    yield _row(
        drive,
        "sequential reads, GB/s",
        _sequential(device, RequestKind.READ) / 1e9,
        drive.read_bytes_per_s / 1e9,
    )
    if drive.write_bytes_per_s is not None:
        write = _sequential(device, RequestKind.WRITE)
        row = _row(drive, "sequential writes, GB/s", write / 1e9, drive.write_bytes_per_s / 1e9)
        yield replace(row, is_claimed=drive.claims_writes)
    if random is not None:
        yield _row(drive, "random 4 KiB reads, 1000/s", _random_reads(device) / 1e3, random / 1e3)


def _row(drive: _Drive, quantity: str, model: float, reference: float) -> Comparison:
    return Comparison(
        case=drive.device.name,
        quantity=quantity,
        model=model,
        reference=reference,
        tolerance=_TOLERANCE,
        source=drive.source,
    )


def _sequential(device: FlashDevice, kind: RequestKind) -> float:
    """Return the bytes per second of large requests in order, over half of the device."""
    size = _LARGE_PAGES * device.geometry.page_bytes
    first = np.arange(0, device.host_bytes // 2, size)
    filled = int(first[-1]) + size if kind is RequestKind.READ else 0
    requests = make_requests(kind, first, size_bytes=size)
    result = simulate_flash(device, requests, queue_depth=1024, filled_bytes=filled)
    return result.bandwidth_bytes_per_s(kind)


def _random_reads(device: FlashDevice) -> float:
    """Return the random reads of 4 KiB per second."""
    filled, n = device.host_bytes // 2, 100_000
    first = np.random.default_rng(0).integers(0, filled // (4 * _KIB), n) * 4 * _KIB
    requests = make_requests(RequestKind.READ, first, size_bytes=4 * _KIB)
    return n / simulate_flash(device, requests, queue_depth=1024, filled_bytes=filled).makespan_s()


def _drives() -> tuple[_Drive, ...]:
    return (
        _Drive(
            # Assumed: 8 channels of 800 MT/s, 128 dies of 64 Gbit with 2 planes of 4 KiB.
            device=_device("SZ985", _geometry(8, 16, 2, 4 * _KIB), _ZNAND, _pcie(3)),
            source="Samsung, Tom's Hardware 2018",
            read_bytes_per_s=3.2e9,
            write_bytes_per_s=3.2e9,
            random_reads_per_s=750e3,
        ),
        _Drive(
            # Assumed: 16 channels of 800 MT/s, 256 dies of 128 Gbit.
            device=_device("FL6 3.2 TB", _geometry(16, 16, 16, 4 * _KIB), _XL_FLASH, _pcie(4)),
            source="Kioxia, ComputerBase 2021-09",
            read_bytes_per_s=6.2e9,
            write_bytes_per_s=5.8e9,
            random_reads_per_s=1500e3,
        ),
        _Drive(
            # Assumed: 16 channels of 2.4 GT/s, 64 dies of 1 Tbit with 4 independent planes, tR 50 us (32 to 106).
            device=_device("9550 7.68 TB", _geometry(16, 16, 1, 16 * _KIB), _TLC, _pcie(5)),
            source="Micron, 2025-07",
            read_bytes_per_s=14e9,
            write_bytes_per_s=10e9,
            claims_writes=False,
            random_reads_per_s=3300e3,
        ),
        # Assumed: 16 dies (Z-NAND with 4 planes of 4 KiB), a channel each that does not bind.
        _stack("Z-NAND stack", _ZNAND, planes=4, read_bytes_per_s=87.4e9),
        _stack("XL-FLASH stack", _XL_FLASH, planes=16, read_bytes_per_s=262e9),
    )


def _geometry(channels: int, dies: int, planes: int, page_bytes: int) -> Geometry:
    block = _PAGES_PER_BLOCK * page_bytes
    return Geometry(
        channels=channels,
        dies_per_channel=dies,
        planes_per_die=planes,
        blocks_per_plane=_BLOCKS_PER_PLANE,
        block_bytes=block,
        page_bytes=page_bytes,
        capacity_bytes=channels * dies * planes * _BLOCKS_PER_PLANE * block,
    )


def _pcie(generation: int) -> HostLink:
    """Return four lanes of NVMe."""
    return HostLink(
        bytes_per_s=4 * _PCIE_LANE_BYTES_PER_S[generation],
        packet_bytes=128,
        packet_overhead_bytes=28,
        fetch_bytes=4,
        command_bytes=72,
        completion_bytes=16,
    )


def _device(name: str, geometry: Geometry, timing: Timing, link: HostLink) -> FlashDevice:
    return FlashDevice(
        name=name,
        geometry=geometry,
        timing=timing,
        link=link,
        endurance=Endurance(cycles=100_000),
        translation=Translation(over_provisioning=0.25),
    )


def _stack(name: str, timing: Timing, *, planes: int, read_bytes_per_s: float) -> _Drive:
    """Return 16 dies over through-silicon vias: a page takes a few nanoseconds."""
    wide = replace(timing, channel_bytes_per_s=1e12)
    return _Drive(
        device=_device(name, _geometry(16, 1, planes, 4 * _KIB), wide, HostLink(bytes_per_s=16e12)),
        source="Son and Kyung, CAL 2026",
        read_bytes_per_s=read_bytes_per_s,
    )
