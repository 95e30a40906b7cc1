"""Whether the numbers of a machine, each fine by itself, go together."""

from tmtrain.errors import MachineError
from tmtrain.machine.arrays.traffic import OPERAND_BYTES
from tmtrain.machine.machine import Compute, FastTier, FlashParts, Machine, SlowTier

_ROUNDING = 1e-9  # relative: 34.6 + 34.6 is not exactly 69.2


def check_machine(machine: Machine, *, file: str) -> None:
    """Check that the numbers of `machine` do not contradict each other.

    Raises:
        MachineError: they do; the message starts with `file`, names the keys and both values.
    """
    if not machine.prices:
        raise MachineError(f'{file}: prices is missing: give one date at least, such as [prices."2025Q3"]')
    _check_shared(machine.slow, file=file)
    _check_pages(machine, file=file)
    _check_rates(machine, file=file)
    _check_sram(machine.compute, fast=machine.fast, file=file)
    if machine.device is not None:
        _check_parts(machine.device, slow=machine.slow, file=file)
        _check_part_rates(machine.device, slow=machine.slow, file=file)


def _check_shared(slow: SlowTier, *, file: str) -> None:
    """Check the ceiling of both directions: either one reaches its rate alone, both no more than the sum."""
    read, write = slow.read_bandwidth_bytes_per_s, slow.write_bandwidth_bytes_per_s
    shared = slow.shared_bandwidth_bytes_per_s
    if not max(read, write) * (1 - _ROUNDING) <= shared <= (read + write) * (1 + _ROUNDING):
        raise MachineError(
            f"{file}: slow.shared_bandwidth is {shared / 1e9:g} GB/s, but reads alone reach {read / 1e9:g} "
            f"and writes alone {write / 1e9:g} GB/s: it must lie between the larger and the sum of both, "
            "change it along with them"
        )


def _check_pages(machine: Machine, *, file: str) -> None:
    """Check that either tier holds a page, that flash consists of pages, and that a fault's pages have room."""
    page, slow_bytes = machine.slow.page_bytes, machine.slow.capacity_bytes
    for tier, capacity in (("fast", machine.fast.capacity_bytes), ("slow", slow_bytes)):
        if capacity < page:
            raise MachineError(
                f"{file}: {tier}.capacity is {capacity} B, less than one page (slow.page is "
                f"{page} B): correct one of the two"
            )
    if slow_bytes % page:
        raise MachineError(
            f"{file}: slow.capacity is {slow_bytes} B, not a whole number of pages (slow.page is {page} B): "
            f"the nearest below is {slow_bytes // page * page} B"
        )
    batch = machine.paging.fault_batch_pages
    if batch * page > machine.fast.capacity_bytes:
        raise MachineError(
            f"{file}: paging.fault_batch is {batch} pages of {page} B, more than fast.capacity, which is "
            f"{machine.fast.capacity_bytes} B: correct one of the two"
        )


def _check_rates(machine: Machine, *, file: str) -> None:
    """Check that what passes from one tier to the other does not outrun the fast one."""
    fast = machine.fast.bandwidth_bytes_per_s
    for way, rate in (("read", machine.read_bytes_per_s), ("write", machine.write_bytes_per_s)):
        if rate > fast * (1 + _ROUNDING):
            raise MachineError(
                f"{file}: slow.{way}_bandwidth and link.bandwidth let {rate / 1e9:g} GB/s pass, more than "
                f"fast.bandwidth, which is {fast / 1e9:g} GB/s: the slow tier is not the slower one"
            )


def _check_sram(compute: Compute, *, fast: FastTier, file: str) -> None:
    """Check that SRAM feeds the arrays, and is not larger than the memory behind it."""
    arrays = f"{compute.num_arrays} arrays of {compute.array_rows} x {compute.array_columns}"
    least = compute.num_arrays * compute.array_rows * compute.array_columns * OPERAND_BYTES
    if compute.sram_bytes < least:
        raise MachineError(
            f"{file}: compute.sram is {compute.sram_bytes} B, but one tile of weights for {arrays} (num_arrays, "
            f"array_rows, array_columns) takes {least} B: correct one of them"
        )
    if compute.sram_bytes > fast.capacity_bytes:
        raise MachineError(
            f"{file}: compute.sram is {compute.sram_bytes} B, more than fast.capacity, which is "
            f"{fast.capacity_bytes} B: correct one of the two"
        )


def _check_parts(device: FlashParts, *, slow: SlowTier, file: str) -> None:
    """Check that blocks are whole pages, and that all parts are the capacity, raw or as the host sees it.

    To within one block of every plane: a capacity in powers of ten is rarely a whole number of blocks.
    """
    if device.block_bytes % device.page_bytes:
        raise MachineError(
            f"{file}: slow.device.block is {device.block_bytes} B, not a multiple of slow.device.page, which is "
            f"{device.page_bytes} B: a block is a whole number of pages"
        )
    capacity, slack = slow.capacity_bytes, device.planes * device.block_bytes
    if min(abs(device.raw_bytes - capacity), abs(device.exported_bytes - capacity)) >= slack:
        raise MachineError(
            f"{file}: slow.capacity is {capacity} B, but slow.device has {device.channels} channels x "
            f"{device.dies_per_channel} dies x {device.planes_per_die} planes x {device.blocks_per_plane} blocks x "
            f"{device.block_bytes} B = {device.raw_bytes} B, {device.exported_bytes:.0f} B of them for the host: "
            'correct one of them, or write device = "unknown" under [slow]'
        )


def _check_part_rates(device: FlashParts, *, slow: SlowTier, file: str) -> None:
    """Check that the tier promises no more than its channels carry and its dies read and program."""
    channels = device.channels * device.channel_bandwidth_bytes_per_s
    ways = (
        ("read", slow.read_bandwidth_bytes_per_s, device.array_read_s),
        ("write", slow.write_bandwidth_bytes_per_s, device.array_program_s),
        ("shared", slow.shared_bandwidth_bytes_per_s, 0.0),
    )
    for way, rate, array_s in ways:
        dies = device.planes * device.page_bytes / array_s if array_s else channels
        for part, most in (("channels carry", channels), (f"dies {way}", dies)):
            if rate > most * (1 + _ROUNDING):
                raise MachineError(
                    f"{file}: slow.{way}_bandwidth is {rate / 1e9:g} GB/s, but the {part} at most {most / 1e9:g} GB/s "
                    f'(slow.device): correct one of the two, or write device = "unknown" under [slow]'
                )
