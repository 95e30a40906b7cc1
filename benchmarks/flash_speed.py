"""How fast the flash device is simulated: page operations per second on one core, compilation aside.

Usage: python benchmarks/flash_speed.py > benchmarks/flash_speed.md
"""

import time

import numpy as np

from tmtrain.simulation.flash import RequestKind, Requests, make_requests, simulate_flash
from tmtrain.validation.mqsim import mqsim_device
from tmtrain.validation.mqsim_traces import make_trace

PAGE = 2**14
REPEATS = 3
"""Of which the fastest counts."""


def main() -> None:
    """Print a table: one row per load."""
    print(
        "Page operations per second on one core: reads and programs, of the host and of collection. The best of 3 runs.\n"
    )
    print("| load | device | page operations | seconds | millions per second |")
    print("|---|---|---|---|---|")
    n = 500_000
    large = np.arange(0, n * PAGE, 64 * PAGE)
    small = np.random.default_rng(0).integers(0, n, n) * PAGE
    swap = make_trace("6a_swap_serial").requests()
    overwrites = make_trace("4q_overwrite_16K_op28_qd256").requests()
    _measure("writes of 1 MiB", "A8", make_requests(RequestKind.WRITE, large, size_bytes=64 * PAGE))
    _measure("reads of 1 MiB", "A8", make_requests(RequestKind.READ, large, size_bytes=64 * PAGE), filled=n)
    _measure("tensors swapped out and in, 1 MiB requests", "A2", swap)
    _measure(
        "random reads of 16 KiB", "A8", make_requests(RequestKind.READ, small, size_bytes=PAGE), filled=n
    )
    _measure("random overwrites of 16 KiB, collected", "A2", overwrites, queue_depth=256)


def _measure(load: str, name: str, requests: Requests, *, filled: int = 0, queue_depth: int = 32) -> None:
    device = mqsim_device(name)
    best = float("inf")
    for _ in range(REPEATS + 1):  # the first compiles
        begin = time.perf_counter()
        result = simulate_flash(device, requests, queue_depth=queue_depth, filled_bytes=filled * PAGE)
        best = min(best, time.perf_counter() - begin)
    o = result.operations  # pyright: ignore[reportPossiblyUnboundVariable]
    pages = o.host_reads + o.host_programs + o.copy_reads + o.copy_programs
    print(f"| {load} | {name} | {pages} | {best:.3f} | {pages / best / 1e6:.2f} |", flush=True)


if __name__ == "__main__":
    main()
