"""Machines for tests: `tmtrain.testing.toy_machine`, and random ones."""

import numpy as np

from tmtrain.machine import Machine
from tmtrain.testing import toy_machine

__all__ = ["narrow_machine", "toy_machine"]


def narrow_machine(seed: int) -> Machine:
    """Build a random machine for steps of `tests.support.instances`: one channel or another may be the bottleneck."""
    rng = np.random.default_rng(seed)
    read, write = rng.uniform(1, 20, 2)
    return toy_machine(
        read_bytes_per_s=read,
        write_bytes_per_s=write,
        shared_bytes_per_s=rng.uniform(max(read, write), read + write),
        read_j_per_byte=rng.uniform(0.1, 2),
        write_j_per_byte=rng.uniform(0.1, 8),
        static_power_w=rng.uniform(0, 50),
        page_bytes=8,
    )
