"""All that changes in the page-level simulator, as arrays that the compiled loop writes in place; the rules' numbers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from g10_rules.hints import Hints, operands_of
from tmtrain.importing import G10Machine, G10Workload

# Where a page is, and its queues; a page is in one queue at most.
NONE, SSD, HOST, GPU = range(4)
FAULT_SSD, FAULT_HOST, FAULT_ALLOC, FETCH_SSD, FETCH_HOST, PREALLOC, EVICT_SSD, EVICT_HOST = range(8)
QUEUES = 8
# The artifact's settings: pages that cross in a tick each way, and what giving room to a byte takes.
_TICK_PAGES, _ALLOC_US_PER_BYTE = 50, 8.14e-7
# Scalars in `State.count`.
(
    KERNEL,
    GPU_PAGES,
    HOST_PAGES,
    AWAITED,
    POINTER,
    FIRST,
    LAST,
    IN,
    IN_SSD,
    OUT,
    OUT_SSD,
    ALLOC,
    GPU_ROOM,
    HOST_ROOM,
    IS_DEEPUM,
    SSD_IN,
    SSD_OUT,
    HOST_IN,
    HOST_OUT,
    TICK_CYCLES,
    MOST_MOVES,
    MOST_SSD,
    MOST_ALLOC,
) = range(23)
COUNTS = 23
# Rates in `State.rate`: cycles in a second; bytes in a millisecond.
CLOCK, LINK, DRIVE = range(3)


class State(NamedTuple):
    """Pages, tensors, kernels, hints, queues."""

    place: NDArray[np.int8]
    busy: NDArray[np.bool_]
    """Is in a queue."""
    awaited: NDArray[np.bool_]
    """A waiting kernel needs it (the set W)."""
    queued_next: NDArray[np.int32]
    before: NDArray[np.int32]
    """In the list L of GPU pages by arrival; -1 at its ends."""
    after: NDArray[np.int32]
    tensor: NDArray[np.int16]
    """Of each page."""
    first_page: NDArray[np.int64]
    """Of each tensor."""
    end_page: NDArray[np.int64]
    birth: NDArray[np.int64]
    death: NDArray[np.int64]
    is_current: NDArray[np.bool_]
    """Belongs to the current kernel."""
    is_near: NDArray[np.bool_]
    """Belongs to one of the kernels that DeepUM protects."""
    operand_ptr: NDArray[np.int64]
    operand: NDArray[np.int64]
    inputs: NDArray[np.int64]
    """How many operands of each kernel are inputs; they come first."""
    exec_cycles: NDArray[np.int64]
    inputpf_cycles: NDArray[np.int64]
    pf_cycles: NDArray[np.int64]
    hint_ptr: NDArray[np.int64]
    hint_tensor: NDArray[np.int64]
    hint_action: NDArray[np.int64]
    head: NDArray[np.int64]
    """First page of each queue, -1 if it is empty."""
    tail: NDArray[np.int64]
    count: NDArray[np.int64]
    rate: NDArray[np.float64]


def new_state(workload: G10Workload, hints: Hints, *, is_deepum: bool, all_resident: bool) -> State:
    """Return the state at the start: weights on the SSD and all else nowhere, or (ideal) everything in the GPU."""
    tensors, kernels, machine = workload.tensors, workload.kernels, workload.machine
    pages = tensors.bytes // machine.page_bytes
    total = int((tensors.start_page + pages).max())
    owner = _owners(tensors.start_page, pages, total=total)
    operands = [operands_of(workload, kernel) for kernel in range(len(kernels))]
    count = np.zeros(COUNTS, np.int64)
    count[[KERNEL, POINTER, FIRST, LAST]] = -1
    count[GPU_ROOM] = machine.gpu.memory_bytes // machine.page_bytes
    count[HOST_ROOM] = machine.host.memory_bytes // machine.page_bytes
    count[IS_DEEPUM] = is_deepum
    _limit_ticks(count, machine)
    home = np.where(tensors.is_weight, SSD, NONE).astype(np.int8)[owner]
    return State(
        place=np.full(total, GPU, np.int8) if all_resident else home,
        busy=np.zeros(total, np.bool_),
        awaited=np.zeros(total, np.bool_),
        queued_next=np.zeros(total, np.int32),
        before=np.zeros(total, np.int32),
        after=np.zeros(total, np.int32),
        tensor=owner,
        first_page=tensors.start_page,
        end_page=tensors.start_page + pages,
        birth=np.where(tensors.is_weight, 0, tensors.first_kernel).astype(np.int64),
        death=np.where(tensors.is_weight, len(kernels), tensors.death_kernel).astype(np.int64),
        is_current=np.zeros(len(tensors), np.bool_),
        is_near=np.zeros(len(tensors), np.bool_),
        operand_ptr=np.cumsum([0, *map(len, operands)]),
        operand=np.concatenate([np.array(row, np.int64) for row in operands]),
        inputs=np.array([len(row) for row in kernels.inputs], np.int64),
        exec_cycles=kernels.exec_cycles,
        inputpf_cycles=kernels.inputpf_cycles,
        pf_cycles=kernels.pf_cycles,
        hint_ptr=hints.ptr,
        hint_tensor=hints.tensor,
        hint_action=hints.action,
        head=np.full(QUEUES, -1, np.int64),
        tail=np.full(QUEUES, -1, np.int64),
        count=count,
        rate=_rates(machine),
    )


def _limit_ticks(count: NDArray[np.int64], machine: G10Machine) -> None:
    """Set what a tick takes and moves, with fractions cut off as the artifact does: of the pages, so many of the SSD."""
    clock, page = machine.gpu.clock_hz, machine.page_bytes
    link, drive = machine.links.gpu_pcie_bytes_per_s / 1e9, machine.links.ssd_bytes_per_s / 1e9
    count[TICK_CYCLES] = int(_TICK_PAGES * page / (link * 1e9 / clock))
    count[MOST_MOVES] = _TICK_PAGES
    count[MOST_SSD] = int(_TICK_PAGES / link * drive)
    count[MOST_ALLOC] = count[TICK_CYCLES] // round(_ALLOC_US_PER_BYTE * page / 1e6 * clock)


def _rates(machine: G10Machine) -> NDArray[np.float64]:
    clock = float(machine.gpu.clock_hz)
    links = (machine.links.gpu_pcie_bytes_per_s, machine.links.ssd_bytes_per_s)
    # By way of bytes in a cycle, as the artifact has it: the last digit hangs on it.
    return np.array([clock, *(rate / clock * clock / 1000 for rate in links)])


def _owners(first: NDArray[np.int64], pages: NDArray[np.int64], *, total: int) -> NDArray[np.int16]:
    """Return the tensor of each page."""
    owner = np.zeros(total, np.int16)
    for number, (start, length) in enumerate(zip(first.tolist(), pages.tolist(), strict=True)):
        owner[start : start + length] = number
    return owner
