"""The page-level simulator of the G10 artifact: ideal, lru, deepUM and prefetch_lru (which is G10)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from g10_rules.hints import EVICT_CPU, EVICT_SSD, FREE, PREFETCH_DEGREE, TO_GPU, Hints
from g10_rules.page_moves import (
    move_pages,
    push,
    push_fault,
    set_pointer,
    unlink,
    wait_for,
)
from g10_rules.page_state import (
    AWAITED,
    CLOCK,
    DRIVE,
    EVICT_HOST,
    FAULT_ALLOC,
    FAULT_HOST,
    FAULT_SSD,
    FETCH_HOST,
    FETCH_SSD,
    GPU,
    HOST,
    HOST_IN,
    HOST_OUT,
    HOST_PAGES,
    KERNEL,
    LINK,
    NONE,
    PREALLOC,
    SSD,
    SSD_IN,
    SSD_OUT,
    TICK_CYCLES,
    State,
    new_state,
)
from g10_rules.page_state import EVICT_SSD as EVICT_SSD_QUEUE
from tmtrain.importing import G10Workload
from tmtrain.simulation.flash.compiled import compiled, entry

ITERATIONS = 2
"""Back to back; the second is reported."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRun:
    """What the page-level simulator reports."""

    kernel_ends: NDArray[np.int64]
    """Cycle at which each kernel ends, shape (iterations, kernels)."""
    moved_pages: NDArray[np.int64]
    """Per iteration: SSD to GPU, GPU to SSD, host to GPU, GPU to host."""

    @property
    def total_cycles(self) -> int:
        """Of the second iteration."""
        return int(self.kernel_ends[1, -1] - self.kernel_ends[0, -1])


def run_pages(
    workload: G10Workload, hints: Hints, *, is_deepum: bool = False, all_resident: bool = False
) -> PageRun:
    """Run two iterations of `workload`.

    Args:
        workload: As imported.
        hints: What the policy wants done at which kernel.
        is_deepum: Victims as DeepUM chooses them, instead of by arrival.
        all_resident: Everything is in the GPU from the start ("ideal").
    """
    state = new_state(workload, hints, is_deepum=is_deepum, all_resident=all_resident)
    ends = np.zeros((ITERATIONS, len(workload.kernels)), np.int64)
    moved = np.zeros((ITERATIONS, 4), np.int64)
    _run(state, ends, moved)
    return PageRun(kernel_ends=ends, moved_pages=moved)


@compiled
def _become_current(s: State, kernel: int) -> None:
    s.count[KERNEL] = kernel
    s.is_current[:] = False
    s.is_near[:] = False
    kernels = len(s.exec_cycles)
    for row in range(s.operand_ptr[kernel], s.operand_ptr[kernel + 1]):
        s.is_current[s.operand[row]] = True
    for ahead in range(PREFETCH_DEGREE):
        near = (kernel + ahead) % kernels
        for row in range(s.operand_ptr[near], s.operand_ptr[near + 1]):
            s.is_near[s.operand[row]] = True


@compiled
def _give_hints(s: State, kernel: int) -> None:
    for row in range(s.hint_ptr[kernel], s.hint_ptr[kernel + 1]):
        tensor, action = s.hint_tensor[row], s.hint_action[row]
        for page in range(s.first_page[tensor], s.end_page[tensor]):
            if not s.busy[page]:
                _give_hint(s, page, action)


@compiled
def _give_hint(s: State, page: int, action: int) -> None:
    place = s.place[page]
    if action == TO_GPU:
        if place == NONE:
            push(s, PREALLOC, page)
        elif place == SSD:
            push(s, FETCH_SSD, page)
        elif place == HOST:
            push(s, FETCH_HOST, page)
    elif action == FREE:
        if place == GPU:
            unlink(s, page)
        elif place == HOST:
            s.count[HOST_PAGES] -= 1
        s.place[page] = NONE
    elif place == GPU and action == EVICT_SSD:
        push(s, EVICT_SSD_QUEUE, page)
    elif place == GPU and action == EVICT_CPU:
        push(s, EVICT_HOST, page)


@compiled
def _has_faults(s: State) -> bool:
    return s.head[FAULT_SSD] >= 0 or s.head[FAULT_HOST] >= 0 or s.head[FAULT_ALLOC] >= 0


@compiled
def _is_ready(s: State, kernel: int) -> bool:
    if _has_faults(s):
        return False
    for row in range(s.operand_ptr[kernel], s.operand_ptr[kernel + 1]):
        tensor = s.operand[row]
        for page in range(s.first_page[tensor], s.end_page[tensor]):
            if s.place[page] != GPU or s.busy[page]:
                return False
    return True


@compiled
def _fault(s: State, kernel: int) -> int:
    """Queue what the kernel misses; return the cycles that the fault model charges for it."""
    begin, end = s.operand_ptr[kernel], s.operand_ptr[kernel + 1]
    size_in, size_out, faulted_in, faulted_out, ssd_in, ssd_out = 0, 0, 0, 0, 0, 0
    for row in range(begin, end):
        tensor = s.operand[row]
        faulted, ssd = 0, 0
        for page in range(s.first_page[tensor], s.end_page[tensor]):
            if not s.busy[page] and s.place[page] != GPU:
                faulted += 1
                ssd += s.place[page] == SSD
                push_fault(s, page)
            if s.busy[page]:
                wait_for(s, page)
        if row < begin + s.inputs[kernel]:
            size_in += s.end_page[tensor] - s.first_page[tensor]
            faulted_in, ssd_in = faulted_in + faulted, ssd_in + ssd
        else:
            size_out += s.end_page[tensor] - s.first_page[tensor]
            faulted_out, ssd_out = faulted_out + faulted, ssd_out + ssd
    return _fault_cycles(s, kernel, size_in, size_out, faulted_in, faulted_out, ssd_in, ssd_out)


@compiled
def _fault_cycles(
    s: State,
    kernel: int,
    size_in: int,
    size_out: int,
    faulted_in: int,
    faulted_out: int,
    ssd_in: int,
    ssd_out: int,
) -> int:
    # The artifact divides whole numbers here: milliseconds are lost below one second (quirk 1).
    page, second, clock = 4096.0, 1000.0, int(s.rate[CLOCK])
    t00 = second * (s.pf_cycles[kernel] // clock)
    t10 = second * (s.inputpf_cycles[kernel] // clock)
    t11 = second * (s.exec_cycles[kernel] // clock)
    bytes_in, bytes_out = page * size_in, page * size_out
    host_in = bytes_in / (t00 - t10) if t00 != t10 else 1.0630044e9
    host_out = bytes_out / (t10 - t11) if t10 != t11 else 1.0630044e9
    from_ssd_in = min(host_in * 45 / 65, s.rate[DRIVE]) if ssd_in else 0.0
    from_ssd_out = min(host_out * 45 / 65, s.rate[DRIVE]) if ssd_out else 0.0
    rest = s.rate[LINK] - max(from_ssd_in, from_ssd_out)
    host_in, host_out = min(host_in, rest), min(host_out, rest)
    # By way of shares, as the artifact has it: the bytes themselves come out a cycle beside it now and then.
    share_in, share_out = _share(faulted_in, size_in), _share(faulted_out, size_out)
    share_ssd_in, share_ssd_out = _share(ssd_in, faulted_in), _share(ssd_out, faulted_out)
    ssd_ms = share_in * share_ssd_in * bytes_in / from_ssd_in if ssd_in else 0.0
    ssd_ms += share_out * share_ssd_out * bytes_out / from_ssd_out if ssd_out else 0.0
    host_ms = share_in * (1 - share_ssd_in) * bytes_in / host_in
    host_ms += share_out * (1 - share_ssd_out) * bytes_out / host_out
    # Without inputs and above a second both rates are 0, and the quotient is no number: the artifact goes by the SSD then.
    return int((host_ms if ssd_ms < host_ms else ssd_ms) / 1e3 * s.rate[CLOCK])


@compiled
def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


@entry
def _run(s: State, ends: NDArray[np.int64], moved: NDArray[np.int64]) -> None:
    """Work off kernel events and ticks in order of time; on equal times what was created first goes first."""
    iterations, kernels = ends.shape
    iteration, kernel, is_pending, is_new, is_waiting = 0, 0, True, True, False
    kernel_time, kernel_order, tick_time, tick_order, created = 0, 0, 0, 1, 2
    wait_since, fault_cycles = 0, 0
    while True:
        if not is_pending or (tick_time, tick_order) < (kernel_time, kernel_order):
            now = tick_time
            move_pages(s, is_waiting)
            if is_waiting and not is_pending and not _has_faults(s) and s.count[AWAITED] == 0:
                is_pending, kernel_time, kernel_order, created = True, now, created, created + 1
            tick_time, tick_order, created = now + s.count[TICK_CYCLES], created, created + 1
            continue
        now, is_pending = kernel_time, False
        is_first = is_new and kernel == 0 and iteration > 0
        if is_first:
            _book(s, moved, iteration - 1)
            if iteration == iterations:
                return
        _prepare(s, kernel, is_first, is_new)
        is_new = False
        if not _is_ready(s, kernel):
            cycles = _fault(s, kernel)
            if not is_waiting:
                is_waiting, wait_since, fault_cycles = True, now, cycles
            continue
        run_until = now + s.exec_cycles[kernel]
        if is_waiting:
            run_until = max(wait_since + s.exec_cycles[kernel] + fault_cycles, now)
        is_waiting = False
        ends[iteration, kernel] = run_until
        is_new, is_pending, kernel_time, kernel_order, created = True, True, run_until, created, created + 1
        kernel += 1
        if kernel == kernels:
            kernel, iteration = 0, iteration + 1


@compiled
def _prepare(s: State, kernel: int, is_first: bool, is_new: bool) -> None:
    """Do what the artifact does at the beginning of a kernel, before it knows whether it can run."""
    if is_new:
        _become_current(s, kernel)
    set_pointer(s)
    if is_first:
        _give_hints(s, len(s.exec_cycles))
    if is_new:
        _give_hints(s, kernel)


@compiled
def _book(s: State, moved: NDArray[np.int64], iteration: int) -> None:
    counters = (SSD_IN, SSD_OUT, HOST_IN, HOST_OUT)
    for column in range(4):
        moved[iteration, column] = s.count[counters[column]]
        s.count[counters[column]] = 0
