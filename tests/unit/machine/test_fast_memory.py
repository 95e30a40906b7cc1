"""Fast memory: what small transfers reach, and what is left where only some of its stacks are bought."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmtrain.errors import InputError
from tmtrain.machine import fast_seconds, load_machine, with_constant, with_whole_stacks

GIB = 2**30
FOUR = with_constant(load_machine("v4-slc"), path="fast.stacks", value=4)


@pytest.mark.parametrize(("transfer_bytes", "share"), [(1e6, 0.60), (1e7, 0.75), (1e8, 0.90)])
def test_the_latency_is_a_curve_of_efficiency_by_size(transfer_bytes: float, share: float) -> None:
    """Calculon's table for this GPU (a100_80g.json), which was not fitted: the latency alone comes within 0.1."""
    fast = load_machine("a100-tlc5").fast
    seconds = float(fast_seconds(fast, np.array(transfer_bytes)))
    assert seconds == pytest.approx(405e-9 + transfer_bytes / (2.039e12 * 0.87))
    assert transfer_bytes / seconds / fast.bandwidth_bytes_per_s == pytest.approx(share, abs=0.1)


@pytest.mark.parametrize(("transfer_bytes", "share"), [(1e6, 0.60), (1e7, 0.75), (1e8, 0.90), (1e9, 0.90)])
def test_a_loss_per_decade_is_that_table(transfer_bytes: float, share: float) -> None:
    """0.90 at 100 MB, less 0.15 per factor of ten: the three measured points to the digit, no latency on top."""
    fast = replace(load_machine("a100-tlc5").fast, efficiency=0.90, loss_per_decade=0.15)
    seconds = float(fast_seconds(fast, np.array(transfer_bytes)))
    assert transfer_bytes / seconds / fast.bandwidth_bytes_per_s == pytest.approx(share)


def test_nothing_beats_the_latency() -> None:
    fast = replace(load_machine("a100-tlc5").fast, loss_per_decade=0.15)
    assert float(fast_seconds(fast, np.array(1e5))) == fast.latency_s


@given(size=st.floats(0, 1e12), more=st.floats(0, 1e12), loss=st.sampled_from([0.0, 0.01, 0.15, 0.9]))
def test_more_bytes_never_take_less_time(size: float, more: float, loss: float) -> None:
    fast = replace(load_machine("a100-tlc5").fast, loss_per_decade=loss)
    little, much = fast_seconds(fast, np.array([size, size + more]))
    assert little <= much * (1 + 1e-12)
    assert (little == 0) == (size == 0)
    assert little == 0 or little >= fast.latency_s
    assert little >= size / (fast.bandwidth_bytes_per_s * fast.efficiency) * (1 - 1e-12)


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
