"""The fast mode: bandwidth, latency, write amplification and lifetime of a device in closed form.

What is left out: how the pages of one request wait for each other, a host link with few requests inside, and collection
beside reads. How far each form is from the event-driven mode is measured in ``benchmarks/flash_accuracy.md``.

Legend: c(n) command time for n planes, X page transfer, D dies per channel, P planes per die, C channels.
"""

import math
from dataclasses import dataclass

from tmtrain.simulation.flash.device import Commands, FlashDevice
from tmtrain.units import YEAR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Of a device with enough requests inside to keep every die busy."""

    read_bytes_per_s: float
    """Large, sequential, what was written in the same order: all planes of a die together."""
    write_bytes_per_s: float
    """Large, sequential, onto free blocks."""
    random_reads_per_s: float
    """Of single pages, from one plane at a time."""
    overwrites_per_s: float
    """Of single pages, uniformly over all that the host sees, in the long run."""
    write_amplification: float
    """Of such overwrites; appending and the grouped layout have 1."""
    read_latency_s: float
    """Of one page with nothing else inside."""


def estimate_flash(device: FlashDevice) -> Estimate:
    """Estimate a device without running it."""
    g, t, c = device.geometry, device.timing, device.timing.commands
    X, C, D, P = g.page_bytes / t.channel_bytes_per_s, g.channels, g.dies_per_channel, g.planes_per_die
    all_planes, one_plane = (_commands(c, planes) for planes in (P, 1))
    per_link = _link_bytes_per_s(device) / g.page_bytes
    amplification = 1.0 if device.translation.layout == "grouped" else _greedy_amplification(device)
    sequential_reads = C * D * P / _round_s(all_planes.read_s, t.read_s, D, P * X)
    random_reads = C * D / _round_s(one_plane.read_s, t.read_s, D, X)
    program_in = all_planes.program_s + P * X
    sequential_writes = C * P / max(program_in, (program_in + t.program_s) / D)
    return Estimate(
        read_bytes_per_s=min(sequential_reads, per_link) * g.page_bytes,
        write_bytes_per_s=min(sequential_writes, per_link) * g.page_bytes,
        random_reads_per_s=min(random_reads, per_link),
        overwrites_per_s=min(C / _overwrite_s(device, amplification, one_plane, X), per_link),
        write_amplification=amplification,
        read_latency_s=one_plane.read_s + t.read_s + X + 1 / per_link,
    )


def _commands(commands: Commands, planes: int) -> Commands:
    """Return c(n), with the further planes in the first."""
    return Commands(
        read_s=commands.read_s + (planes - 1) * commands.read_further_s,
        program_s=commands.program_s + (planes - 1) * commands.program_further_s,
        erase_s=commands.erase_s + (planes - 1) * commands.erase_further_s,
    )


def _link_bytes_per_s(device: FlashDevice) -> float:
    return (
        device.link.bytes_per_s
        * device.geometry.page_bytes
        / device.link.wire_bytes(device.geometry.page_bytes)
    )


def _round_s(command_s: float, array_s: float, dies: int, transfer_s: float) -> float:
    """Return the seconds in which each die of a saturated channel reads once.

    Pages that were read go before new commands, so the dies work in lock-step: commands, arrays, transfers.
    """
    return max(command_s + array_s, dies * command_s) + dies * transfer_s


def _overwrite_s(device: FlashDevice, amplification: float, c: Commands, X: float) -> float:
    """Return the seconds of a channel for an overwrite: the busier of its dies and itself, copies and erases included."""
    t, g = device.timing, device.geometry
    copies = amplification - 1
    on_channel = amplification * (c.program_s + X) + copies * (c.read_s + X)
    erases = amplification / g.pages_per_block * (t.erase_s + c.erase_s)
    on_die = on_channel + amplification * t.program_s + copies * t.read_s + erases
    return max(on_channel, on_die / g.dies_per_channel)


def _greedy_amplification(device: FlashDevice) -> float:
    """Return the write amplification of uniform overwrites with greedy collection.

    A victim keeps a share p of its pages, so each page freed costs 1 / (1 - p) programs. If the victim is always the
    oldest block (greedy does little better), shares decay exponentially from 1 to p, and their mean over all blocks is
    u = (p - 1) / ln p; free blocks do not count. As in Desnoyers, "Analytic modeling of SSD write performance", SYSTOR
    2012.
    """
    g, layer = device.geometry, device.translation
    blocks = g.blocks_per_plane - layer.collect_below_blocks - layer.table_blocks
    u = device.host_pages / (g.planes * blocks * g.pages_per_block)
    if u >= 1:
        return math.inf
    low, high = 0.0, 1.0
    while low < (p := (low + high) / 2) < high:
        low, high = (p, high) if (p - 1) / math.log(p) < u else (low, p)
    return 1 / (1 - low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifetime:
    """How long a device lasts under a load that repeats."""

    bytes_written: float
    """By the host."""
    steps: float
    years: float


def flash_lifetime(
    device: FlashDevice, *, step_bytes: float, step_s: float, write_amplification: float = 1.0
) -> Lifetime:
    """Return how long a device lasts when each step writes so much; wear is spread over all blocks, spare ones included.

    >>> from tmtrain.simulation.flash.example import example_device
    >>> flash_lifetime(example_device(), step_bytes=2**20, step_s=1.0).steps
    4000.0
    """
    total = device.geometry.capacity_bytes * device.endurance.cycles * device.endurance.retention_factor
    written = total / write_amplification
    steps = written / step_bytes if step_bytes else math.inf
    return Lifetime(bytes_written=written, steps=steps, years=steps * step_s / YEAR_S)
