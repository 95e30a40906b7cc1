"""Whether the numbers of a machine, each fine by itself, go together."""

from tmtrain.errors import MachineError
from tmtrain.machine.machine import Machine, SlowTier

_ROUNDING = 1e-9  # relative: 34.6 + 34.6 is not exactly 69.2


def check_machine(machine: Machine, *, file: str) -> None:
    """Check that the numbers of `machine` do not contradict each other.

    Raises:
        MachineError: they do; the message starts with `file` and names the keys.
    """
    if not machine.prices:
        raise MachineError(f'{file}: prices is missing: give one date at least, such as [prices."2025Q3"]')
    _check_shared(machine.slow, file=file)
    for tier, capacity in (("fast", machine.fast.capacity_bytes), ("slow", machine.slow.capacity_bytes)):
        if capacity < machine.slow.page_bytes:
            raise MachineError(
                f"{file}: {tier}.capacity is {capacity} B, less than one page (slow.page is "
                f"{machine.slow.page_bytes} B): correct one of the two"
            )


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
