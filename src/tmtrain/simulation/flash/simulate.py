"""Device x requests -> FlashResult: every page operation of every die, event by event."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.simulation.flash.device import FlashDevice
from tmtrain.simulation.flash.loop import run
from tmtrain.simulation.flash.requests import Requests
from tmtrain.simulation.flash.result import FlashOutcome, FlashResult, Operations, Waiting
from tmtrain.simulation.flash.state import (
    COPY_READ,
    COPY_WRITE,
    HOST_READ,
    HOST_WRITE,
    PS,
    FlashState,
    new_state,
)


def simulate_flash(
    device: FlashDevice, requests: Requests, *, queue_depth: int = 32, filled_bytes: int = 0
) -> FlashResult:
    """Run requests on a device and measure it; the same input gives the same result, bit by bit.

    Args:
        device: What runs them.
        requests: In order of arrival.
        queue_depth: Most requests inside the device at once.
        filled_bytes: So much, from byte 0, has been written in order before time begins (in death group 0).

    Returns:
        What happened. A device that is too small or worn out ends the run: `FlashResult.outcome`, `FlashResult.message`.

    Raises:
        InputError: a write is not of whole pages, more is filled than the device has, the queue depth is less than one.
    """
    filled_pages = -(-filled_bytes // device.geometry.page_bytes)
    if not 0 <= filled_pages <= device.host_pages:
        raise InputError(f"filled_bytes is {filled_bytes}, but {device.name} has {device.host_bytes} bytes")
    if queue_depth < 1:
        raise InputError(f"queue_depth is {queue_depth}: must be at least 1")
    requests.check_pages(device.geometry.page_bytes)
    state = new_state(device, requests, queue_depth=queue_depth)
    run(state, filled_pages)
    return _result(device, requests, state)


def _result(device: FlashDevice, requests: Requests, s: FlashState) -> FlashResult:
    count = s.count[0]
    operations = Operations(
        host_reads=int(count.host_reads),
        host_programs=int(count.host_programs),
        copy_reads=int(count.copy_reads),
        copy_programs=int(count.copy_programs),
        erases=int(count.erases),
        lock_hits=int(count.lock_hits),
        read_commands=tuple(s.commands[0, 1:].tolist()),
        program_commands=tuple(s.commands[1, 1:].tolist()),
        erase_commands=tuple(s.commands[2, 1:].tolist()),
    )
    wait_s, end_s = s.wait_ps / PS, float(count.clock) / PS
    return FlashResult(
        outcome=FlashOutcome(int(count.outcome)),
        message=_message(device, s),
        requests=requests,
        admitted_s=_seconds(s.requests.admitted),
        completed_s=_seconds(s.requests.done),
        origin=s.requests.origin,
        copies_by_then=s.requests.copies_by_then,
        erases_by_then=s.requests.erases_by_then,
        operations=operations,
        waiting=Waiting(
            read_for_die_s=float(wait_s[0, HOST_READ] + wait_s[0, COPY_READ]),
            program_for_die_s=float(wait_s[0, HOST_WRITE] + wait_s[0, COPY_WRITE]),
            read_for_channel_s=float(wait_s[1].sum()),
        ),
        channel_busy_s=s.channels.busy_ps.copy() / PS,
        die_busy_s=s.dies.busy_ps / PS,
        erase_counts=s.blocks.erases,
        end_s=end_s,
        energy_by_operation_j=_energy(device, operations, end_s),
    )


def _seconds(ps: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(ps < 0, np.nan, ps / PS)


def _energy(device: FlashDevice, operations: Operations, end_s: float) -> dict[str, float]:
    energies = device.energies
    return {
        "read": energies.read_page_j * (operations.host_reads + operations.copy_reads),
        "program": energies.program_page_j * (operations.host_programs + operations.copy_programs),
        "erase": energies.erase_block_j * operations.erases,
        "idle": energies.idle_w * end_s,
    }


def _message(device: FlashDevice, s: FlashState) -> str:
    count, requests = s.count[0], s.requests
    outcome, culprit = FlashOutcome(int(count.outcome)), int(count.culprit)
    done, n = int((requests.done >= 0).sum()), len(requests.done)
    if outcome is FlashOutcome.DONE:
        return f"all {n} requests done"
    after = f"{done} of {n} requests were done"
    if outcome is FlashOutcome.BEYOND_CAPACITY:
        end = requests[culprit].first_byte + requests[culprit].num_bytes
        return f"beyond capacity: request {culprit} ends at byte {end}, {device.name} has {device.host_bytes}; {after}"
    if outcome is FlashOutcome.NEVER_WRITTEN:
        begin = requests[culprit].first_byte
        return f"never written: request {culprit} reads from byte {begin}, in part unwritten; {after}"
    if outcome is FlashOutcome.WORN_OUT:
        written = int(count.host_programs) * device.geometry.page_bytes
        return (
            f"worn out after {int(count.erases)} erases and {written} bytes written by the host: block {culprit} has been "
            f"erased {int(s.blocks.erases[culprit])} times, and survives {device.endurance.erases}; {after}"
        )
    return f"full: writes wait for a free block, and no block can be freed without one; {after}"
