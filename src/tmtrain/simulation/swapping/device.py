"""Machine -> FlashDevice, and a device of fewer, larger pages that behaves alike.

Note [Joined pages]
    A page of 4 KiB is too fine for a device of terabytes and hours of its time. But what a step moves spreads evenly over
    channels and planes, so several of them do the same at the same time: `join` makes one of them that carries as many
    times more. Where that is not enough, pages that follow one another in a block become one that takes as many times
    longer. Dies, blocks, the share of spare area and all rates stay, and so do utilisation and blocks per death group.
    Channels are joined first, as consecutive pages go to different ones.

    What is lost: parts of joined pages (what a step moves is rounded to whole ones, so that the sum stays), and some
    latency where pages that follow one another are joined. Wear agrees to about one per cent
    (``benchmarks/flash_plans.md``).

    Time is another: page by page, planes fill unevenly. As a command takes only pages at equal offsets, fewer planes work
    at once. Where all planes of a die are joined they always work together: that is a translation layer of superpages, as
    append-only layers for tensors are, and it is what the rates of the machine files take for granted.
"""

from dataclasses import replace

from tmtrain.errors import InputError
from tmtrain.machine import FlashParts, Machine
from tmtrain.simulation.flash import (
    Commands,
    Endurance,
    Energies,
    FlashDevice,
    Geometry,
    HostLink,
    Layout,
    Timing,
    Translation,
)


def flash_device(machine: Machine, *, layout: Layout = "log") -> FlashDevice:
    """Return the flash of a machine, with the translation layer that is asked for.

    The log keeps two blocks of every plane back for what it copies, the grouped layout none: it copies nothing. Energies
    are those of ``[slow]`` per byte, times the size of a page or block.

    Raises:
        InputError: the machine's file does not say what its flash consists of.

    >>> from tmtrain.machine import load_machine
    >>> device = flash_device(load_machine("v4-slc"))
    >>> device.geometry.planes, device.channels_bytes_per_s / 1e9
    (2048, 38.4)
    """
    parts = machine.device
    if parts is None:
        raise InputError(
            f"machine {machine.name} does not say what its flash consists of: write a section [slow.device] "
            "(docs/machine-format.md), or take v4-slc or znvme-g10"
        )
    translation = Translation(layout=layout, over_provisioning=parts.over_provisioning)
    if layout == "grouped":
        translation = replace(translation, reserve_blocks=0, collect_below_blocks=2)
    return FlashDevice(
        name=machine.name,
        geometry=_geometry(parts),
        timing=Timing(
            read_s=parts.array_read_s,
            program_s=parts.array_program_s,
            erase_s=parts.array_erase_s,
            channel_bytes_per_s=parts.channel_bandwidth_bytes_per_s,
        ),
        link=HostLink(bytes_per_s=machine.link.bandwidth_bytes_per_s),
        endurance=Endurance(
            cycles=machine.slow.endurance_cycles, retention_factor=machine.slow.retention_factor
        ),
        translation=translation,
        energies=_energies(machine, parts),
    )


def join(device: FlashDevice, *, pages: int) -> FlashDevice:
    """Return a device of which every page stands for so many of `device`: Note [Joined pages].

    Raises:
        InputError: so many do not make whole channels, planes of a die, and pages of a block.

    >>> from tmtrain.simulation.flash.example import example_device
    >>> joined = join(example_device(), pages=4)
    >>> joined.geometry.channels, joined.geometry.planes_per_die, joined.geometry.page_bytes, joined.host_pages
    (1, 1, 16384, 192)
    """
    if pages not in joinable(device):
        raise InputError(
            f"{pages} pages of {device.name} cannot be joined: take one of {', '.join(map(str, joinable(device)))}"
        )
    channels = min(pages, device.geometry.channels)
    planes = min(pages // channels, device.geometry.planes_per_die)
    rows = pages // (channels * planes)
    energies = device.energies
    return replace(
        device,
        geometry=_joined_geometry(device.geometry, channels=channels, planes=planes, pages=pages),
        timing=_joined_timing(device.timing, channels=channels, planes=planes, rows=rows),
        energies=replace(
            energies,
            read_page_j=energies.read_page_j * pages,
            program_page_j=energies.program_page_j * pages,
            erase_block_j=energies.erase_block_j * channels * planes,
        ),
    )


def joinable(device: FlashDevice) -> list[int]:
    """Return how many pages can be joined, ascending."""
    g = device.geometry
    channels = [n for n in range(1, g.channels + 1) if g.channels % n == 0]
    planes = [g.channels * n for n in range(2, g.planes_per_die + 1) if g.planes_per_die % n == 0]
    most = g.channels * g.planes_per_die
    return (
        channels + planes + [most * n for n in range(2, g.pages_per_block + 1) if g.pages_per_block % n == 0]
    )


def _joined_geometry(g: Geometry, *, channels: int, planes: int, pages: int) -> Geometry:
    return replace(
        g,
        channels=g.channels // channels,
        planes_per_die=g.planes_per_die // planes,
        block_bytes=g.block_bytes * channels * planes,
        page_bytes=g.page_bytes * pages,
    )


def _joined_timing(t: Timing, *, channels: int, planes: int, rows: int) -> Timing:
    """Channels and planes work at the same time; rows of a block, `rows` in one, take their time one after the other."""
    return replace(
        t,
        read_s=t.read_s * rows,
        program_s=t.program_s * rows,
        channel_bytes_per_s=t.channel_bytes_per_s * channels,
        commands=_joined_commands(t.commands, planes=planes, rows=rows),
    )


def _joined_commands(c: Commands, *, planes: int, rows: int) -> Commands:
    return Commands(
        read_s=(c.read_s + (planes - 1) * c.read_further_s) * rows,
        read_further_s=planes * c.read_further_s * rows,
        program_s=(c.program_s + (planes - 1) * c.program_further_s) * rows,
        program_further_s=planes * c.program_further_s * rows,
        erase_s=c.erase_s + (planes - 1) * c.erase_further_s,
        erase_further_s=planes * c.erase_further_s,
    )


def _geometry(parts: FlashParts) -> Geometry:
    return Geometry(
        channels=parts.channels,
        dies_per_channel=parts.dies_per_channel,
        planes_per_die=parts.planes_per_die,
        blocks_per_plane=parts.blocks_per_plane,
        block_bytes=parts.block_bytes,
        page_bytes=parts.page_bytes,
        capacity_bytes=parts.raw_bytes,
    )


def _energies(machine: Machine, parts: FlashParts) -> Energies:
    slow = machine.slow
    return Energies(
        read_page_j=slow.read_energy_j_per_byte * parts.page_bytes,
        program_page_j=slow.program_energy_j_per_byte * parts.page_bytes,
        erase_block_j=slow.erase_energy_j_per_byte * parts.block_bytes,
        idle_w=slow.idle_power_w,
    )
