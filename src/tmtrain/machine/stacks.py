"""Fast memory bought by the stack: less of it is also slower."""

from dataclasses import replace

from tmtrain.errors import InputError
from tmtrain.machine.machine import Machine


def with_whole_stacks(machine: Machine, *, fast_bytes: int) -> Machine:
    """Return `machine` with only the stacks of fast memory that `fast_bytes` need, at most those it has.

    Bandwidth goes with the stacks, and background power is that of whole stacks. Without this, a run on less fast memory
    keeps the bandwidth of the real chip: as many stacks, of fewer dies.

    Args:
        machine: ``fast.stacks`` of which make up its capacity and bandwidth.
        fast_bytes: Capacity of the run.

    Raises:
        InputError: no fast memory at all.

    >>> from tmtrain.machine import load_machine, with_constant
    >>> four = with_constant(load_machine("v4-slc"), path="fast.stacks", value=4)
    >>> less = with_whole_stacks(four, fast_bytes=9 * 2**30)
    >>> less.fast.stacks, less.fast.capacity_bytes / 2**30, less.fast.bandwidth_bytes_per_s / 1e9
    (2, 16.0, 600.0)
    """
    if fast_bytes < 1:
        raise InputError(
            f"fast memory of {fast_bytes} B is no stack of {machine.name}: give at least one byte"
        )
    fast = machine.fast
    stacks = min(-(-fast_bytes * fast.stacks // fast.capacity_bytes), fast.stacks)
    installed_bytes = stacks * fast.capacity_bytes / fast.stacks
    standby_w = fast.background_w_per_byte * max(installed_bytes, fast_bytes)
    return replace(
        machine,
        fast=replace(
            fast,
            stacks=stacks,
            capacity_bytes=round(installed_bytes),
            bandwidth_bytes_per_s=fast.bandwidth_bytes_per_s * stacks / fast.stacks,
            background_w_per_byte=standby_w / fast_bytes,
        ),
    )
