"""What slices cost: the formulas by hand, and what no cutting can change."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.operators import Tensor, one_operator
from tests.support.thoroughness import examples, rest_slow
from tests.support.traces import TINY, tiny_trace

from tmtrain.lowering import Slices, lower
from tmtrain.lowering.cost import operator_bytes, operator_loads, slice_work
from tmtrain.lowering.energy import (
    COMPONENTS,
    compute_energy,
    compute_energy_j,
    power_w,
    standing_power,
    transfer_energy,
)
from tmtrain.machine import Machine, list_machines, load_machine, matrix_seconds, sram_bytes
from tmtrain.trace import Trace

PLENTY = 1 << 40


def machine() -> Machine:
    return load_machine("v4-slc")


def product(m: int, n: int, k: int, *, batch: int = 1, itemsize: int = 2) -> Trace:
    if batch == 1:
        tensors = [Tensor(shape=(m, k)), Tensor(shape=(k, n)), Tensor(shape=(m, n), result=True)]
        return one_operator("mm", tensors, mnk=(m, n, k), itemsize=itemsize)
    shapes = [(batch, m, k), (batch, k, n), (batch, m, n)]
    tensors = [Tensor(shape=shape, result=i == 2) for i, shape in enumerate(shapes)]
    return one_operator("bmm", tensors, mnk=(m, n, k), batch=batch, itemsize=itemsize)


def whole(trace: Trace, machine_: Machine | None = None) -> Slices:
    """The one slice of an operator with memory to spare."""
    slices = lower(trace, machine=machine_ or machine(), fast_bytes=PLENTY).slices
    assert len(slices) == 1
    return slices


def fast_seconds(size: float) -> float:
    fast = machine().fast
    return fast.latency_s + size / (fast.bandwidth_bytes_per_s * fast.efficiency)


@pytest.mark.parametrize(("itemsize", "passes"), [(2, 1.0), (4, machine().compute.fp32_passes)])
def test_a_product_takes_the_systolic_time(itemsize: int, passes: float) -> None:
    slices = whole(product(4096, 4096, 4096, itemsize=itemsize))
    shape = {"batch": 1, "m": 4096, "n": 4096, "k": 4096, "passes": passes}
    assert slices.duration_s[0] == pytest.approx(float(matrix_seconds(compute=machine().compute, **shape)))
    assert slices.matrix_flops[0] == 2 * 4096**3
    assert slices.fast_bytes[0] == 3 * 4096**2 * itemsize
    assert slices.sram_bytes[0] == pytest.approx(float(sram_bytes(compute=machine().compute, **shape)))
    assert slices.vector_ops[0] == 0


@pytest.mark.parametrize("share", [1.0, 0.1])
def test_small_sram_makes_operands_cross_again(share: float) -> None:
    """By hand: 256 KiB hold two tiles of 128 x 128 of each matrix, 2 x (32 + 32 + 64) KiB, and no larger tiles.

    With the sums in place, activations and weights cross twice, once per strip of the other: 5 matrices instead of 3.
    """
    trace = product(256, 256, 256)
    small = replace(machine(), compute=replace(machine().compute, sram_bytes=256 * 2**10))
    matrix = 256 * 256 * 2
    assert whole(trace, small).fast_bytes[0] == pytest.approx(5 * matrix)
    cut = lower(trace, machine=small, fast_bytes=1 << 20, slice_share=share).slices
    assert (len(cut) > 1) == (share < 1)
    assert cut.fast_bytes.sum() == pytest.approx(5 * matrix)


@pytest.mark.parametrize("name", rest_slow(TINY, quick=2))
def test_a_large_sram_changes_nothing(name: str) -> None:
    trace = tiny_trace(name)
    assert (operator_loads(trace, machine=machine()).fast_bytes == operator_bytes(trace)).all()


def test_fused_attention_reads_keys_again_and_a_product_of_its_shape_does_not() -> None:
    """2048 x 128 in SRAM of 1 MiB: see `fused_attention_crossings`; queries and result cross once.

    Streams take 2 x 2 x 2 x 128 x 128 B = 128 KiB; a query takes 128 x 6 + 4 x 128 B = 1280 B, twice: 896 KiB hold 358 of
    them, 256 in whole tiles of 128. That is 8 tiles: (1 + 8) / 2 = 4.5 times the bytes.
    """
    small = replace(machine(), compute=replace(machine().compute, sram_bytes=2**20))
    shape = (1, 1, 2048, 128)
    tensors = [*(Tensor(shape=shape) for _ in range(3)), Tensor(shape=shape, result=True)]
    trace = one_operator("_scaled_dot_product_flash_attention", tensors, mnk=(2048, 2048, 128), itemsize=2)
    assert whole(trace, small).fast_bytes[0] == pytest.approx(4.5 * 4 * 2048 * 128 * 2)


def test_a_thin_product_takes_the_time_of_its_bytes() -> None:
    slices = whole(product(1, 4096, 4096))
    assert slices.duration_s[0] == pytest.approx(fast_seconds(2 * (4096 + 4096**2 + 4096)))


def test_a_pointwise_operator_takes_the_time_of_its_bytes_or_of_its_elements() -> None:
    tensors = [Tensor(shape=(1024, 1024)), Tensor(shape=(1024,)), Tensor(shape=(1024, 1024), result=True)]
    trace = one_operator("add", tensors, pointwise=True)
    elements = 2 * 1024**2 + 1024
    slices = whole(trace)
    assert slices.vector_ops[0] == elements
    assert slices.fast_bytes[0] == 4 * elements
    assert slices.duration_s[0] == pytest.approx(fast_seconds(4 * elements))
    slow = replace(machine(), compute=replace(machine().compute, vector_ops_per_s=1e9))
    assert whole(trace, slow).duration_s[0] == pytest.approx(elements / 1e9)


def test_an_update_in_place_crosses_fast_memory_twice_and_a_broadcast_once() -> None:
    tensors = [Tensor(shape=(512,), in_place=True), Tensor(shape=(512,), stride=(0,))]
    trace = one_operator("add_", tensors, pointwise=True)
    assert operator_bytes(trace).tolist() == [4 * (512 + 512 + 1)]


@examples(40)
@given(
    m=st.sampled_from([64, 100, 256, 1000]),
    n=st.sampled_from([64, 256]),
    k=st.sampled_from([64, 256, 1000]),
    batch=st.sampled_from([1, 8]),
    share=st.sampled_from([1.0, 0.5, 0.1, 0.02]),
)
def test_cutting_never_makes_a_product_cheaper(m: int, n: int, k: int, batch: int, share: float) -> None:
    """Its slices do the same FLOPs and bytes, and together take at least the time of the whole and of the roofline."""
    trace = product(m, n, k, batch=batch)
    timeline = lower(trace, machine=machine(), fast_bytes=1 << 23, slice_share=share)
    one, compute = whole(trace), machine().compute
    cut = timeline.slices
    assert cut.matrix_flops.sum() == pytest.approx(one.matrix_flops[0])
    assert cut.fast_bytes.sum() == pytest.approx(one.fast_bytes[0])
    assert cut.duration_s.sum() >= one.duration_s[0] * (1 - 1e-9)
    peak = 2 * compute.num_arrays * compute.array_rows * compute.array_columns * compute.clock_hz
    assert cut.duration_s.sum() >= 2 * batch * m * n * k / peak * (1 - 1e-9)


@pytest.mark.parametrize("cut", ["batch", "m", "n", "k"])
def test_a_slice_of_a_product_takes_the_time_of_its_own_shape(cut: str) -> None:
    """An uneven half counts as the larger one, 4097 of 8193 rows."""
    size = {"batch": 3, "m": 8193, "n": 8193, "k": 8193}
    trace = product(size["m"], size["n"], size["k"], batch=size["batch"])
    dims = np.array([[0.5 if name == cut else 1.0 for name in size]])
    work = slice_work(operator_loads(trace, machine=machine()), machine(), share=np.array([0.5]), dims=dims)
    half = size | {cut: -(-size[cut] // 2)}
    less = size | {cut: size[cut] // 2}
    seconds = float(matrix_seconds(compute=machine().compute, **half))
    assert seconds > float(matrix_seconds(compute=machine().compute, **less))
    assert work.duration_s[0] == pytest.approx(seconds, rel=1e-12)
    assert work.matrix_flops[0] == trace.operators.flops[0] / 2


@cache
def slices_of(name: str) -> Slices:
    trace = tiny_trace(name)
    return lower(trace, machine=machine(), fast_bytes=int(0.4 * trace.footprint_bytes)).slices


@pytest.mark.parametrize("name", TINY)
def test_no_slice_beats_the_roofline(name: str) -> None:
    slices, compute = slices_of(name), machine().compute
    peak = 2 * compute.num_arrays * compute.array_rows * compute.array_columns * compute.clock_hz
    rate = machine().fast.bandwidth_bytes_per_s * machine().fast.efficiency
    assert (slices.duration_s >= slices.matrix_flops / peak * (1 - 1e-9)).all()
    assert (slices.duration_s >= slices.vector_ops / compute.vector_ops_per_s * (1 - 1e-9)).all()
    assert (slices.duration_s >= slices.fast_bytes / rate * (1 - 1e-9)).all()
    assert (slices.duration_s > 0).any()


@examples(60)
@given(
    small=st.tuples(*[st.integers(1, 600)] * 3),
    more=st.tuples(*[st.integers(0, 600)] * 3),
    batch=st.integers(2, 9),
)
def test_a_larger_product_never_costs_less(
    small: tuple[int, int, int], more: tuple[int, int, int], batch: int
) -> None:
    large = tuple(a + b for a, b in zip(small, more, strict=True))
    little, much = whole(product(*small)), whole(product(*large))
    several = whole(product(*large, batch=batch))
    for column in ("duration_s", "matrix_flops", "fast_bytes", "sram_bytes"):
        assert getattr(little, column)[0] <= getattr(much, column)[0] <= getattr(several, column)[0]


@pytest.mark.parametrize("name", list_machines())
def test_energies_add_up(name: str) -> None:
    some = load_machine(name)
    slices = slices_of("gpt2-tiny")
    parts = compute_energy(slices, machine=some) | transfer_energy(some, bytes_in=3e9, bytes_out=5e9)
    parts |= standing_power(some, fast_bytes=1 << 30)
    assert set(parts) == set(COMPONENTS)
    moving = 3e9 * some.read_j_per_byte + 5e9 * some.write_j_per_byte
    total = compute_energy_j(slices, machine=some) + power_w(some, fast_bytes=1 << 30) + moving
    assert sum(parts.values()) == pytest.approx(total)


def test_a_machine_without_flash_has_none_idling() -> None:
    assert "flash idle" not in standing_power(machine(), fast_bytes=1, has_flash=False)


def test_the_flops_of_slices_are_spread_by_bytes_over_the_tensors_of_a_foreach_operator() -> None:
    tensors = [
        Tensor(shape=(3 * 1024,), position=0, item=0, in_place=True),
        Tensor(shape=(1024,), position=0, item=1, in_place=True),
    ]
    trace = one_operator("_foreach_mul_", tensors)
    slices = lower(trace, machine=machine(), fast_bytes=PLENTY).slices
    np.testing.assert_allclose(slices.vector_ops, [2 * 3 * 1024, 2 * 1024])
