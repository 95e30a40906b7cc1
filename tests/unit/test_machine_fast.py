"""Fast memory: what small transfers reach, and what is left where only some of its stacks are bought."""

import pytest

from tmtrain.errors import InputError
from tmtrain.machine import load_machine, with_constant, with_whole_stacks

GIB = 2**30
FOUR = with_constant(load_machine("v4-slc"), path="fast.stacks", value=4)


@pytest.mark.parametrize(("transfer_bytes", "share"), [(1e6, 0.60), (1e7, 0.75), (1e8, 0.90)])
def test_the_latency_is_a_curve_of_efficiency_by_size(transfer_bytes: float, share: float) -> None:
    """Calculon's table for this GPU (a100_80g.json), which was not fitted: the latency alone comes within 0.1."""
    fast = load_machine("a100-tlc5").fast
    seconds = fast.latency_s + transfer_bytes / (fast.bandwidth_bytes_per_s * fast.efficiency)
    assert transfer_bytes / seconds / fast.bandwidth_bytes_per_s == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize(
    ("gib", "stacks", "gb_per_s"), [(0.1, 1, 300), (8, 1, 300), (8.1, 2, 600), (24.5, 4, 1200), (64, 4, 1200)]
)
def test_bandwidth_and_standby_go_with_whole_stacks(gib: float, stacks: int, gb_per_s: float) -> None:
    fast_bytes = round(gib * GIB)
    fast = with_whole_stacks(FOUR, fast_bytes=fast_bytes).fast
    assert (fast.stacks, fast.capacity_bytes) == (stacks, stacks * 8 * GIB)
    assert fast.bandwidth_bytes_per_s == pytest.approx(gb_per_s * 1e9)
    standby_w = fast.background_w_per_byte * fast_bytes
    assert standby_w == pytest.approx(0.2e-9 * max(stacks * 8, gib) * GIB, rel=1e-6)


def test_no_fast_memory_is_no_stack() -> None:
    with pytest.raises(InputError, match="fast memory of 0 B is no stack of v4-slc"):
        with_whole_stacks(FOUR, fast_bytes=0)


def test_a_machine_of_one_stack_and_one_used_whole_keep_their_bandwidth() -> None:
    one = load_machine("v4-slc")
    assert with_whole_stacks(one, fast_bytes=GIB).fast.bandwidth_bytes_per_s == one.fast.bandwidth_bytes_per_s
    assert with_whole_stacks(FOUR, fast_bytes=32 * GIB) == FOUR
