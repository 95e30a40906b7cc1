"""The request traces that MQSim ran, generated from fixed seeds: columns of a few integers.

Each trace first fills its data; later phases begin when the device has come to rest. All requests of a phase arrive at
once (but for one open-loop case), so the queue depth alone decides how many are inside.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tmtrain.simulation.flash import RequestKind, Requests

_KIB, _MIB = 2**10, 2**20
_SECTOR = 512
_START_NS = 1000
_READ, _WRITE = int(RequestKind.READ), int(RequestKind.WRITE)
_Row = tuple[int, int, int, int]  # arrival in ns, first byte, bytes, kind


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTrace:
    """Requests in whole nanoseconds."""

    arrival_ns: NDArray[np.int64]
    first_byte: NDArray[np.int64]
    size_bytes: NDArray[np.int64]
    kind: NDArray[np.int8]

    def requests(self) -> Requests:
        """Return them for `simulate_flash`."""
        return Requests(
            arrival_s=self.arrival_ns / 1e9,
            kind=self.kind,
            first_byte=self.first_byte,
            size_bytes=self.size_bytes,
            group=np.zeros(len(self.kind), np.int32),
        )

    def text(self) -> str:
        """Return them as MQSim reads them."""
        columns = (
            self.arrival_ns,
            self.first_byte // _SECTOR,
            self.size_bytes // _SECTOR,
            self.kind == _READ,
        )
        rows = zip(*(column.astype(np.int64).tolist() for column in columns), strict=True)
        return "".join(f"{at} 0 {first} {sectors} {is_read}\n" for at, first, sectors, is_read in rows)


def make_trace(case: str) -> RequestTrace:
    """Generate the trace of a case in `CASES`."""
    table = np.array(list(CASES[case]()), np.int64)
    return RequestTrace(
        arrival_ns=table[:, 0],
        first_byte=table[:, 1],
        size_bytes=table[:, 2],
        kind=table[:, 3].astype(np.int8),
    )


def _sequential(at_ns: int, first: int, size: int, request: int, kind: int) -> Iterator[_Row]:
    return ((at_ns, byte, request, kind) for byte in range(first, first + size, request))


def _fill(size: int, request: int = _MIB) -> Iterator[_Row]:
    return _sequential(_START_NS, 0, size, request, _WRITE)


def _random_reads(*, seed: int, reads: int, request: int = 16 * _KIB, gap_ns: int = 0) -> Iterator[_Row]:
    """Fill 2 GiB, then read at random; with a gap the reads arrive one by one, exponentially."""
    size, at_ns = 2048 * _MIB, 4_000_000_000
    yield from _fill(size)
    source = random.Random(seed)
    for _ in range(reads):
        yield at_ns, source.randrange(size // request) * request, request, _READ
        if gap_ns:
            at_ns += max(1, int(source.expovariate(1.0) * gap_ns))


def _overwrites() -> Iterator[_Row]:
    """Fill all that the host sees of 4 GiB, then overwrite it uniformly."""
    size, request = 2949 * _MIB, 16 * _KIB
    yield from _fill(size)
    source = random.Random(41)
    for _ in range(300_000):
        yield 20_000_000_000, source.randrange(size // request) * request, request, _WRITE


def _mixed() -> Iterator[_Row]:
    """Read 1 GiB in order while the next one is written in order, shuffled 70 to 30."""
    size, request = 1024 * _MIB, 128 * _KIB
    yield from _fill(size)
    source = random.Random(51)
    reads = writes = 0
    for _ in range(20_000):
        if source.random() < 0.7:
            yield 4_000_000_000, reads, request, _READ
            reads = (reads + request) % size
        else:
            yield 4_000_000_000, size + writes, request, _WRITE
            writes = (writes + request) % size


_TENSORS = (64, 128, 32, 256, 16, 96, 48, 192, 64, 320, 24, 160, 80, 256, 40, 112, 64, 200, 128, 120)  # MiB


def _swap(
    *,
    seed: int,
    tensors: tuple[int, ...],
    rounds: int,
    round_ns: int,
    at_once: int,
    share: float | None = None,
) -> Iterator[_Row]:
    """Write tensors in random order, several at once, and read them back in reverse order, round after round.

    With a share, each round after the first takes each tensor with this probability.
    """
    source = random.Random(seed)
    sizes = [mib * _MIB for mib in tensors]
    firsts = [sum(sizes[:i]) for i in range(len(sizes))]
    for k in range(rounds):
        at_ns = _START_NS + k * round_ns
        taken = [i for i in range(len(sizes)) if k == 0 or share is None or source.random() < share]
        order = list(taken)
        source.shuffle(order)
        for i, byte in _interleave(order, sizes, at_once, source):
            yield at_ns, firsts[i] + byte, _MIB, _WRITE
        for i in reversed(taken):
            yield from _sequential(at_ns + round_ns // 2, firsts[i], sizes[i], _MIB, _READ)


def _interleave(
    order: list[int], sizes: list[int], at_once: int, source: random.Random
) -> Iterator[tuple[int, int]]:
    """Yield tensor and offset of each MiB: always of a random one among those begun."""
    begun: list[int] = []
    offsets: dict[int, int] = {}
    while order or begun:
        while order and len(begun) < at_once:
            begun.append(order.pop(0))
            offsets[begun[-1]] = 0
        i = begun[source.randrange(len(begun))]
        yield i, offsets[i]
        offsets[i] += _MIB
        if offsets[i] >= sizes[i]:
            begun.remove(i)


_SWAP = partial(_swap, tensors=_TENSORS, rounds=5, round_ns=24_000_000_000)

CASES: dict[str, Callable[[], Iterator[_Row]]] = {
    "1a_seqwrite_1M_qd32": lambda: _fill(4096 * _MIB),
    "1b_seqwrite_128K_qd32": lambda: _fill(1024 * _MIB, 128 * _KIB),
    "1c_seqwrite_1M_qd1": lambda: _fill(256 * _MIB),
    "3a_randread_16K_qd1": lambda: _random_reads(seed=31, reads=4000),
    "3b_randread_16K_qd32": lambda: _random_reads(seed=32, reads=60_000),
    "3c_randread_16K_qd256": lambda: _random_reads(seed=33, reads=60_000),
    "3d_randread_16K_open": lambda: _random_reads(seed=34, reads=50_000, gap_ns=8000),
    "3e_randread_4K_qd64": lambda: _random_reads(seed=35, reads=60_000, request=4 * _KIB),
    "5_mixed_70r_128K_qd32": _mixed,
    "4_overwrite_16K_op28": _overwrites,
    "4q_overwrite_16K_op28_qd256": _overwrites,
    "4s_overwrite_16K_op28_thr10": _overwrites,
    "6a_swap_serial": lambda: _SWAP(seed=61, at_once=1),
    "6b_swap_interleaved4": lambda: _SWAP(seed=62, at_once=4),
    "6c_swap_partial": lambda: _swap(
        seed=63,
        tensors=(*_TENSORS, 100, 60, 140, 90),
        rounds=10,
        round_ns=40_000_000_000,
        at_once=4,
        share=0.5,
    ),
}
"""Case: its requests."""
