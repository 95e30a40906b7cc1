"""The link to flash: a read lane and a write lane that share a channel, served by deadline in chunks.

Each lane carries one chunk at a time. Alone, a lane runs at its own rate; together they share the channel: the lane with
what is due earlier goes first, what it cannot use goes to the other; where both are due at once each gets half.
A chunk that starts on an idle lane waits for the latency first; page faults wait for the fault handler, chunk by chunk.
Reads start only when fast memory has room for the chunk, beyond what the slice at hand claims if they are due later.
"""

import heapq
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import TypeAlias

from tmtrain.machine import Machine
from tmtrain.simulation.memory import Memory

_NEVER = float("inf")
_NO_BYTES = 16
"""When fewer bytes of a chunk are left, they are the rounding of the clock; of tiny pages at most `_NO_SHARE`."""
_NO_SHARE = 2**-8

_Waiting: TypeAlias = tuple[int, int, int, int, int, bool]
"""Deadline slice, number, extent, pages, version of the content, is a fault: in order of service.

A plain tuple, as one is compared, split or replaced for every chunk."""


@dataclass(slots=True)
class TrafficLog:
    """Columns of `tmtrain.simulation.Traffic`, while they grow."""

    start_s: list[float] = field(default_factory=list)
    end_s: list[float] = field(default_factory=list)
    is_write: list[bool] = field(default_factory=list)
    pages: list[int] = field(default_factory=list)
    extent: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Meter:
    """Bytes and seconds of the flow since the start, by which lanes flowed; latencies are not counted."""

    read_bytes: float = 0.0
    """While only the read lane flowed."""
    read_s: float = 0.0
    write_bytes: float = 0.0
    """While only the write lane flowed."""
    write_s: float = 0.0
    both_bytes: float = 0.0
    both_s: float = 0.0


@dataclass(slots=True)
class _Lane:
    """One direction: what waits, and the chunk under way."""

    is_write: bool
    rate: float
    latency_s: float
    no_bytes: float
    """Fewer are nothing."""
    queue: list[_Waiting] = field(default_factory=list)
    """A heap."""
    extent: int = -1
    pages: int = 0
    """Of the chunk under way; 0 when idle."""
    version: int = 0
    deadline: int = 0
    """Of the chunk under way."""
    left_bytes: float = 0.0
    started_s: float = 0.0
    ready_s: float = 0.0
    """When the chunk's bytes begin to flow."""
    idle: bool = True
    """Nothing was under way just before: the next chunk pays the latency."""

    def begin(self, chunk: int, *, now_s: float, delay_s: float, page_bytes: int) -> None:
        """Take `chunk` pages off what is most urgent and put them under way."""
        deadline, number, extent, pages, version, is_fault = self.queue[0]
        assert self.pages == 0 < chunk <= pages, "one chunk at a time, and no more of it than waits"
        if chunk == pages:
            heapq.heappop(self.queue)
        else:
            heapq.heapreplace(self.queue, (deadline, number, extent, pages - chunk, version, is_fault))
        self.extent, self.pages, self.version, self.deadline = extent, chunk, version, deadline
        self.left_bytes = float(chunk * page_bytes)
        self.started_s = now_s
        self.ready_s = now_s + delay_s
        self.idle = False

    def next_event(self, now_s: float, rate: float) -> float:
        """Return when the chunk under way, if any, begins to flow, or, at this rate, is through."""
        if not self.pages:
            return _NEVER
        if self.ready_s > now_s:
            return self.ready_s
        return now_s + self.left_bytes / rate if rate else _NEVER

    def is_through(self, now_s: float) -> bool:
        """Whether what is left of the chunk under way is nothing, but for the rounding of the clock."""
        return self.left_bytes < self.no_bytes or now_s + self.left_bytes / self.rate <= now_s


class LinkQueues:
    """Both lanes and the clock."""

    def __init__(
        self, machine: Machine, *, memory: Memory, page_bytes: int, chunk_pages: int, faults: bool
    ) -> None:
        self.now_s = 0.0
        self.log = TrafficLog()
        self.meter = Meter()
        self._memory = memory
        self._page_bytes = page_bytes
        self._chunk_pages = chunk_pages
        self._shared = machine.shared_bytes_per_s
        self._fault = machine.paging if faults else None
        no_bytes = min(_NO_BYTES, page_bytes * _NO_SHARE)
        self._reads = _Lane(False, machine.read_bytes_per_s, machine.slow.read_latency_s, no_bytes)
        self._writes = _Lane(True, machine.write_bytes_per_s, machine.slow.write_latency_s, no_bytes)
        self._number = 0
        self._turn = 0
        self._claimed = 0
        """Pages that reads due after slice `_turn` leave alone."""

    def adopt(self, machine: Machine) -> None:
        """From now on flow with the rates and latencies of `machine`."""
        self._shared = machine.shared_bytes_per_s
        self._reads.rate, self._reads.latency_s = machine.read_bytes_per_s, machine.slow.read_latency_s
        self._writes.rate, self._writes.latency_s = machine.write_bytes_per_s, machine.slow.write_latency_s

    def fetch(self, extent: int, pages: int, *, deadline: int, foreseen: bool = False) -> None:
        """Queue pages of `extent` to come in before slice `deadline` (counted over all steps); `foreseen` is no fault."""
        self._memory.expect(extent, pages)
        self._push(self._reads, extent, pages, deadline, is_fault=self._fault is not None and not foreseen)

    def give_way(self, turn: int, *, claimed: int) -> None:
        """Slice `turn` is next: reads due later leave it `claimed` pages of room, those due before it were in vain."""
        self._turn, self._claimed = turn, claimed
        queue = self._reads.queue
        while queue and queue[0][0] < turn:
            _, _, extent, pages, _, _ = heapq.heappop(queue)
            self._memory.expect(extent, -pages)

    def write(self, extent: int, pages: int, *, deadline: int) -> None:
        """Queue the next unwritten pages of `extent` for flash."""
        if pages > 0:
            self._push(self._writes, extent, pages, deadline)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass."""
        until = self.now_s + seconds
        while self._pass(until):
            pass

    def step(self) -> bool:
        """Let time pass until the next chunk completes or begins to flow; False if nothing is under way."""
        return self._pass(_NEVER)

    @property
    def arriving_pages(self) -> int:
        """Pages of the chunk that comes in."""
        return self._reads.pages

    @property
    def flown_bytes(self) -> tuple[int, int]:
        """Of the chunks under way: bytes that have come in, and that have gone out."""
        page = self._page_bytes
        came, gone = (
            round(lane.pages * page - lane.left_bytes) if lane.pages else 0
            for lane in (self._reads, self._writes)
        )
        return came, gone

    def state(self, now: int) -> Hashable:
        """Return what is under way and queued, by slices from `now` on, but for the rounding of the clock."""
        return tuple(self._lane_state(lane, now) for lane in (self._reads, self._writes))

    def _lane_state(self, lane: _Lane, now: int) -> Hashable:
        chunk = lane.pages and (lane.extent, lane.pages, lane.deadline - now, round(lane.left_bytes))
        delay_s = round(max(0.0, lane.ready_s - self.now_s), 12)
        return lane.idle, chunk, delay_s, self._waiting(lane, now)

    def _waiting(self, lane: _Lane, now: int) -> Hashable:
        version = self._memory.version
        return tuple(
            (deadline - now, extent, pages, is_fault)
            for deadline, _, extent, pages, written, is_fault in sorted(lane.queue)
            if not lane.is_write or written == version[extent]
        )

    def _push(self, lane: _Lane, extent: int, pages: int, deadline: int, *, is_fault: bool = False) -> None:
        self._number += 1
        version = self._memory.version[extent]
        heapq.heappush(lane.queue, (deadline, self._number, extent, pages, version, is_fault))

    def _pass(self, until: float) -> bool:
        """Start what can start; let time pass to when a chunk next completes or begins to flow, False if not by `until`.

        What is due just at `until` is completed, whichever way the clock was rounded. All traffic comes by here, chunk by
        chunk.
        """
        reads, writes, now_s = self._reads, self._writes, self.now_s
        for lane in (reads, writes):
            if not lane.pages:
                if lane.queue:
                    self._start(lane)
                else:
                    lane.idle = True
        # A chunk that still waits for its latency carries nothing.
        reading = reads.pages > 0 and reads.ready_s <= now_s
        writing = writes.pages > 0 and writes.ready_s <= now_s
        if reading and writing:
            read_rate, write_rate = self._shared_rates()
        else:
            read_rate = min(reads.rate, self._shared) if reading else 0.0
            write_rate = min(writes.rate, self._shared) if writing else 0.0
        event = min(reads.next_event(now_s, read_rate), writes.next_event(now_s, write_rate))
        is_last = event > until
        if is_last:
            event = until
        elif event == _NEVER:
            return False
        self._flow(event, read_rate, write_rate)
        for lane in (reads, writes):
            if lane.pages and lane.ready_s <= event:
                self._complete(lane)
        return not is_last

    def _shared_rates(self) -> tuple[float, float]:
        """Return what reads and writes carry where both do."""
        reads, writes, shared = self._reads, self._writes, self._shared
        reads_by, writes_by = self._reads_due(), writes.deadline
        # Who is due first takes all it can; half each where both are due, but for what the writes cannot use.
        if writes_by < reads_by:
            rate = min(writes.rate, shared)
            return min(reads.rate, shared - rate), rate
        even = max(shared - writes.rate, shared / 2) if reads_by == writes_by else shared
        rate = min(reads.rate, even)
        return rate, min(writes.rate, shared - rate)

    def _flow(self, until: float, read_rate: float, write_rate: float) -> None:
        passed, meter = until - self.now_s, self.meter
        self.now_s = until
        read_bytes, write_bytes = read_rate * passed, write_rate * passed
        if read_bytes:
            self._reads.left_bytes -= read_bytes
        if write_bytes:
            self._writes.left_bytes -= write_bytes
        if read_bytes and write_bytes:
            meter.both_bytes += read_bytes + write_bytes
            meter.both_s += passed
        elif read_bytes:
            meter.read_bytes += read_bytes
            meter.read_s += passed
        elif write_bytes:
            meter.write_bytes += write_bytes
            meter.write_s += passed

    def _start(self, lane: _Lane) -> None:
        """Put the most urgent chunk on a lane that carries none, if it may start."""
        while lane.is_write and lane.queue:
            _, _, extent, _, version, _ = lane.queue[0]
            if version == self._memory.version[extent]:
                break
            heapq.heappop(lane.queue)  # its content has died or changed meanwhile
        if not (lane.queue and self._has_room(lane)):
            lane.idle = True
            return
        _, _, _, pages, _, is_fault = lane.queue[0]
        chunk = min(pages, self._chunk_pages)
        if not lane.is_write:
            self._memory.reserve(chunk)
        delay_s = self._delay_s(lane, chunk, is_fault=is_fault)
        lane.begin(chunk, now_s=self.now_s, delay_s=delay_s, page_bytes=self._page_bytes)

    def _has_room(self, lane: _Lane) -> bool:
        """Whether fast memory has room for the most urgent chunk that waits."""
        if lane.is_write:
            return True
        deadline, _, _, pages, _, _ = lane.queue[0]
        claimed = self._claimed if deadline > self._turn else 0
        return min(pages, self._chunk_pages) <= self._memory.free - claimed

    def _reads_due(self) -> int:
        """Earliest deadline of what the read lane carries or could carry next.

        A prefetch that is due late must not hold up a read that is urgent. One that has no room yet waits for writes, not
        for the lane; and writes free room whichever of them goes, so their lane is as urgent as the chunk that it carries.
        """
        lane = self._reads
        if lane.queue and self._has_room(lane):
            return min(lane.deadline, lane.queue[0][0])
        return lane.deadline

    def _delay_s(self, lane: _Lane, pages: int, *, is_fault: bool) -> float:
        delay = lane.latency_s if lane.idle else 0.0
        if self._fault is not None and is_fault:
            delay += -(-pages // self._fault.fault_batch_pages) * self._fault.fault_latency_s
        return delay

    def _complete(self, lane: _Lane) -> None:
        """Finish the chunk under way if its last byte has flowed."""
        if lane.is_through(self.now_s):
            pages, lane.pages = lane.pages, 0
            self._record(lane, pages)
            if lane.is_write:
                self._memory.written(lane.extent, pages, lane.version)
            else:
                self._memory.arrived(lane.extent, pages)

    def _record(self, lane: _Lane, pages: int) -> None:
        log = self.log
        log.start_s.append(lane.started_s)
        log.end_s.append(self.now_s)
        log.is_write.append(lane.is_write)
        log.pages.append(pages)
        log.extent.append(lane.extent)
