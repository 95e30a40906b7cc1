"""Fast memory: how long it takes for what an operator moves, and what of it is there where it is bought by the stack."""

from dataclasses import replace
from math import log

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.machine.machine import FastTier, Machine


def fast_seconds(fast: FastTier, moved_bytes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the seconds of moving so many bytes by one operator; none for no bytes.

    Without ``loss_per_decade`` latency + bytes / (bandwidth x efficiency), which is a curve of efficiency by size already.
    With it, the curve is a straight line over the logarithm of the size, as measured tables show it. It replaces that sum,
    so that the same effect does not count twice::

        efficiency - loss_per_decade x log10(full / bytes)        below `full` bytes
        at least the latency

    The efficiency ends at loss_per_decade / ln 10: below, fewer bytes would take longer than more.

    >>> from tmtrain.machine import load_machine
    >>> float(fast_seconds(load_machine("a100-tlc5").fast, np.array(1e9)) * 2.039e12 / 1e9) > 1 / 0.87
    True
    """
    if fast.loss_per_decade == 0:
        seconds = fast.latency_s + moved_bytes / (fast.bandwidth_bytes_per_s * fast.efficiency)
        return np.where(moved_bytes > 0, seconds, 0.0)
    decades = np.log10(np.maximum(fast.full_bytes / np.maximum(moved_bytes, 1.0), 1.0))
    least = fast.loss_per_decade / log(10)
    reached = np.maximum(fast.efficiency - fast.loss_per_decade * decades, least)
    seconds = np.maximum(moved_bytes / (fast.bandwidth_bytes_per_s * reached), fast.latency_s)
    return np.where(moved_bytes > 0, seconds, 0.0)


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
    return replace(machine, fast=_in_stacks(machine.fast, fast_bytes))


def _in_stacks(fast: FastTier, fast_bytes: int) -> FastTier:
    stacks = min(-(-fast_bytes * fast.stacks // fast.capacity_bytes), fast.stacks)
    installed_bytes = stacks * fast.capacity_bytes / fast.stacks
    # All of an installed stack is refreshed, used or not, but energy is counted per byte of the run.
    standby_w = fast.background_w_per_byte * max(installed_bytes, fast_bytes)
    return replace(
        fast,
        stacks=stacks,
        capacity_bytes=round(installed_bytes),
        bandwidth_bytes_per_s=fast.bandwidth_bytes_per_s * stacks / fast.stacks,
        background_w_per_byte=standby_w / fast_bytes,
    )
