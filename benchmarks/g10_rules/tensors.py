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
    """Of all moves that were queued: the artifact counts those too that the step ends before."""


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
        link, drive = machine.links.gpu_pcie_bytes_per_s / 1e9, machine.links.ssd_bytes_per_s / 1e9
        ssd_rate, host_rate = (rate * 2**30 / 1e3 for rate in (drive, link - drive))
        self.channels = (
            _Channel(ssd_rate, is_out=False),
            _Channel(ssd_rate, is_out=True),
            _Channel(host_rate, is_out=False),
            _Channel(host_rate, is_out=True),
        )
        self._ssd_in, self._ssd_out, self._host_in, self._host_out = self.channels
        self._hints, self._is_flashneuron = hints, is_flashneuron
        self._bytes: list[int] = tensors.bytes.tolist()
        self._pages: list[int] = (tensors.bytes // machine.page_bytes).tolist()
        self._is_weight: list[bool] = tensors.is_weight.tolist()
        self._exec_ms: list[float] = (kernels.exec_cycles / machine.gpu.clock_hz * 1e3).tolist()
        self._loss = kernels.phase.index("loss")
        self._planned = {
            int(tensor) for tensor, action in zip(hints.tensor, hints.action, strict=True) if action != TO_GPU
        }
        self._to_host: set[int] = set()
        """Tensors that were queued for the host, until a planned read from there ends."""
        self._waiting: deque[int] = deque()
        """Planned reads that have no room yet."""
        # FlashNeuron keeps one range for all of them, the others free each after every use.
        unread = set(range(len(tensors))) - {tensor for inputs in kernels.inputs for tensor in inputs}
        unread -= set(np.flatnonzero(tensors.is_weight).tolist())
        self._operands = [self._touched(workload, kernel, unread) for kernel in range(len(kernels))]
        self._dying: list[list[int]] = [
            [tensor for tensor in touched if tensor in unread or tensors.death_kernel[tensor] == kernel + 1]
            for kernel, touched in enumerate(self._operands)
        ]
        self._born: set[int] = set()
        self._working_set = max(
            sum(
                self._pages[tensor] for tensor in operands_of(workload, kernel) if not self._is_weight[tensor]
            )
            for kernel in range(len(kernels))
        )
        self._memory = self._filled_memory(machine.gpu.memory_bytes // machine.page_bytes, unread)

    def _touched(self, workload: G10Workload, kernel: int, unread: set[int]) -> list[int]:
        """What step 2 looks at, in the artifact's order."""
        touched = list(reversed(operands_of(workload, kernel)))
        if not self._is_flashneuron:
            return touched
        return [tensor for tensor in touched if not self._is_weight[tensor] and tensor not in unread]

    def _filled_memory(self, pages: int, unread: set[int]) -> TensorMemory:
        memory = TensorMemory(pages if self._is_flashneuron else pages * GDS_MEMORY_TIMES)
        resident = [tensor for tensor, is_weight in enumerate(self._is_weight) if is_weight]
        if self._is_flashneuron:
            resident += sorted(unread, key=lambda tensor: self._pages[tensor])[-1:]
        for tensor in resident:
            memory.take(
                tensor, self._pages[tensor], right=not self._is_flashneuron and tensor in self._planned
            )
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
        for tensor in self._dying[kernel]:
            if tensor in self._memory:
                self._memory.give(tensor)
        if self._is_flashneuron and kernel >= self._loss:
            self._read_ahead(kernel)

    def _give_hint(self, tensor: int, action: int) -> None:
        if action != TO_GPU:
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
        if tensor in self._waiting:
            while tensor in self._waiting:
                self._serve_for(tensor)
            self._born.add(tensor)
            return  # The artifact starts the kernel while the tensor is on its way.
        if tensor not in self._memory:
            is_planned = tensor in self._planned
            while not self._memory.take(tensor, self._pages[tensor], right=is_planned):
                self._serve_for(tensor)
            if is_planned and tensor in self._born and not self._is_weight[tensor]:
                self._enqueue(self._ssd_in, tensor)
        while tensor in self._ssd_in.queue or tensor in self._host_in.queue:
            self._serve_next()
        self._born.add(tensor)

    def _serve_for(self, tensor: int) -> None:
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
        channel.moved_bytes += self._bytes[tensor]
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
        if channel is self._host_in:
            self._to_host.discard(tensor)
        if channel is self._host_out:
            self._to_host.add(tensor)
        if channel.is_out and tensor in self._memory:
            self._memory.give(tensor)
        if channel.queue:
            self._start(channel)
        self._retry()
