"""The tensor-level simulator of the G10 artifact: FlashNeuron, G10GDSSSD and G10GDSFULL.

One iteration from an empty start, in real-valued milliseconds; whole tensors move through four serial channels.
"""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from g10_rules.hints import EVICT_CPU, TO_GPU, Hints, operands_of
from g10_rules.tensor_memory import TensorMemory
from tmtrain.errors import PolicyError
from tmtrain.importing import G10Workload

SSD_BYTES_PER_MS = 3.2 * 2**30 / 1e3
HOST_BYTES_PER_MS = (15.754 - 3.2) * 2**30 / 1e3
GDS_MEMORY_TIMES = 4
"""The GDS policies enforce no capacity: they run in so many times the GPU's memory."""


@dataclass(slots=True)
class _Channel:
    """One direction of one link."""

    bytes_per_ms: float
    is_out: bool
    queue: deque[int] = field(default_factory=deque[int])
    head_ends_ms: float = 0.0
    moved_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRun:
    """What the tensor-level simulator reports."""

    total_cycles: float
    moved_bytes: tuple[int, int, int, int]
    """SSD to GPU, GPU to SSD, host to GPU, GPU to host."""


def run_tensors(workload: G10Workload, hints: Hints, *, is_flashneuron: bool) -> TensorRun:
    """Run one iteration of `workload` under the plan in `hints`.

    Raises:
        PolicyError: a tensor waits for room that nothing will free.
    """
    run = _TensorLevel(workload, hints, is_flashneuron=is_flashneuron)
    for kernel in range(len(workload.kernels)):
        run.run_kernel(kernel)
    ssd_in, ssd_out, host_in, host_out = (channel.moved_bytes for channel in run.channels)
    clock_per_ms = workload.machine.gpu.clock_hz / 1e3
    return TensorRun(total_cycles=run.now_ms * clock_per_ms, moved_bytes=(ssd_in, ssd_out, host_in, host_out))


class _TensorLevel:
    """The tensor-level simulator in one run; the steps of a kernel are numbered as in the README."""

    def __init__(self, workload: G10Workload, hints: Hints, *, is_flashneuron: bool) -> None:
        tensors, kernels, machine = workload.tensors, workload.kernels, workload.machine
        self.now_ms = 0.0
        self.channels = (
            _Channel(SSD_BYTES_PER_MS, is_out=False),
            _Channel(SSD_BYTES_PER_MS, is_out=True),
            _Channel(HOST_BYTES_PER_MS, is_out=False),
            _Channel(HOST_BYTES_PER_MS, is_out=True),
        )
        self._ssd_in, self._ssd_out, self._host_in, self._host_out = self.channels
        self._hints, self._is_flashneuron = hints, is_flashneuron
        self._bytes: list[int] = tensors.bytes.tolist()
        self._pages: list[int] = (tensors.bytes // machine.page_bytes).tolist()
        self._is_weight: list[bool] = tensors.is_weight.tolist()
        self._exec_ms: list[float] = (kernels.exec_cycles / (machine.gpu.clock_hz / 1e3)).tolist()
        self._loss = kernels.phase.index("loss")
        self._planned = {
            int(tensor) for tensor, action in zip(hints.tensor, hints.action, strict=True) if action != TO_GPU
        }
        self._to_host: set[int] = set()
        """Tensors whose last eviction went to the host."""
        self._waiting: deque[int] = deque()
        """Planned reads that have no room yet."""
        # Dead after their first use: the artifact takes them for never read, and FlashNeuron keeps one range for all.
        brief = set(np.flatnonzero(tensors.death_kernel == tensors.first_kernel + 1).tolist())
        self._operands = [self._touched(workload, kernel, brief) for kernel in range(len(kernels))]
        self._dying: list[list[int]] = [[] for _ in range(len(kernels) + 1)]
        for tensor, death in enumerate(tensors.death_kernel.tolist()):
            if death >= 0 and not (is_flashneuron and tensor in brief):
                self._dying[death].append(tensor)
        self._born: set[int] = set()
        self._working_set = max(
            sum(
                self._pages[tensor] for tensor in operands_of(workload, kernel) if not self._is_weight[tensor]
            )
            for kernel in range(len(kernels))
        )
        self._memory = self._filled_memory(machine.gpu.memory_bytes // machine.page_bytes, brief)

    def _touched(self, workload: G10Workload, kernel: int, brief: set[int]) -> list[int]:
        """What step 2 looks at, in the artifact's order."""
        touched = list(reversed(operands_of(workload, kernel)))
        if not self._is_flashneuron:
            return touched
        return [tensor for tensor in touched if not self._is_weight[tensor] and tensor not in brief]

    def _filled_memory(self, pages: int, brief: set[int]) -> TensorMemory:
        memory = TensorMemory(pages if self._is_flashneuron else pages * GDS_MEMORY_TIMES)
        resident = [tensor for tensor, is_weight in enumerate(self._is_weight) if is_weight]
        if self._is_flashneuron:
            resident += sorted(brief, key=lambda tensor: self._pages[tensor])[-1:]
        for tensor in resident:
            memory.take(tensor, self._pages[tensor], right=False)
        return memory

    def run_kernel(self, kernel: int) -> None:
        """Do the five steps of a kernel."""
        for row in range(int(self._hints.ptr[kernel]), int(self._hints.ptr[kernel + 1])):
            self._give_hint(int(self._hints.tensor[row]), int(self._hints.action[row]))
        if self._is_flashneuron and kernel >= self._loss:
            while self._ssd_out.queue:
                self._serve_next()
        for tensor in self._operands[kernel]:
            self._make_resident(tensor)
        self._serve_until(self.now_ms + self._exec_ms[kernel])
        for tensor in self._dying[kernel + 1]:
            if tensor in self._memory:
                self._memory.give(tensor)
        if self._is_flashneuron and kernel >= self._loss:
            self._read_ahead(kernel)

    def _give_hint(self, tensor: int, action: int) -> None:
        if action != TO_GPU:
            self._to_host -= {tensor}
            self._to_host |= {tensor} if action == EVICT_CPU else set()
            self._enqueue(self._host_out if action == EVICT_CPU else self._ssd_out, tensor)
        elif not (self._is_weight[tensor] and tensor in self._memory):
            self._waiting.append(tensor)
            self._retry()

    def _retry(self) -> None:
        """Give room to the first planned read that waits for some."""
        if not self._waiting or self._memory.largest_hole() < self._pages[self._waiting[0]]:
            return
        tensor = self._waiting.popleft()
        self._memory.take(tensor, self._pages[tensor], right=True)
        self._enqueue(self._host_in if tensor in self._to_host else self._ssd_in, tensor)

    def _make_resident(self, tensor: int) -> None:
        if tensor not in self._memory:
            is_planned = tensor in self._planned
            while not self._memory.take(tensor, self._pages[tensor], right=is_planned):
                self._wait_for(tensor)
            if is_planned and tensor in self._born and not self._is_weight[tensor]:
                self._enqueue(self._ssd_in, tensor)
        while tensor in self._ssd_in.queue or tensor in self._host_in.queue:
            self._serve_next()
        self._born.add(tensor)

    def _wait_for(self, tensor: int) -> None:
        """Let a move end that may free a hole for `tensor`."""
        if not any(channel.queue for channel in self.channels):
            raise PolicyError(
                f"deadlock: tensor {tensor} of {self._pages[tensor]} pages waits for a hole in GPU memory, whose largest "
                f"one has {self._memory.largest_hole()}, and nothing is being moved out that could free one"
            )
        self._serve_next()

    def _read_ahead(self, kernel: int) -> None:
        """Step 5: bring back what the next kernels need while there is room beside the largest working set."""
        rest = self._memory.largest_hole() - self._working_set
        for later in range(kernel + 1, len(self._operands)):
            for tensor in self._operands[later]:
                if tensor not in self._planned or tensor in self._memory:
                    continue
                if rest <= self._pages[tensor]:
                    return
                self._memory.take(tensor, self._pages[tensor], right=True)
                self._enqueue(self._ssd_in, tensor)
                rest -= self._pages[tensor]

    def _enqueue(self, channel: _Channel, tensor: int) -> None:
        channel.queue.append(tensor)
        if len(channel.queue) == 1:
            self._start(channel)

    def _start(self, channel: _Channel) -> None:
        channel.head_ends_ms = self.now_ms + self._bytes[channel.queue[0]] / channel.bytes_per_ms

    def _serve_until(self, end_ms: float) -> None:
        while any(channel.queue and channel.head_ends_ms <= end_ms for channel in self.channels):
            self._serve_next()
        self.now_ms = end_ms

    def _serve_next(self) -> None:
        """Let the next move of any channel end."""
        channel = min((c for c in self.channels if c.queue), key=lambda c: c.head_ends_ms)
        self.now_ms = max(self.now_ms, channel.head_ends_ms)
        tensor = channel.queue.popleft()
        channel.moved_bytes += self._bytes[tensor]
        if channel.is_out and tensor in self._memory:
            self._memory.give(tensor)
        if channel.queue:
            self._start(channel)
        self._retry()
