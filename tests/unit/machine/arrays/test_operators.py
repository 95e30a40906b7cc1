"""Convolutions and attention as matrix products: multiplied out on integers, and refused where they make no sense."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.thoroughness import examples

from tmtrain.errors import InputError
from tmtrain.machine import load_machine, matrix_cycles
from tmtrain.machine.arrays import Attention, Convolution, Products, Window, dram_elements, sram_bytes

windows = st.builds(
    Window,
    size=st.integers(6, 9),
    kernel=st.integers(1, 3),
    stride=st.integers(1, 4),
    before=st.integers(0, 2),
    after=st.integers(0, 2),
    dilation=st.integers(1, 2),
)
groups = st.sampled_from([1, 2, 6])
convolutions = st.builds(
    Convolution,
    images=st.integers(1, 2),
    channels=st.just(6),
    filters=st.just(12),
    height=windows,
    width=windows,
    groups=groups,
)


def seen_by(window: Window) -> list[list[int]]:
    """Inputs under each position of the kernel, padding included, by walking along the axis."""
    positions, start = [], -window.before
    while start + (window.kernel - 1) * window.dilation < window.size + window.after:
        positions.append([start + tap * window.dilation for tap in range(window.kernel)])
        start += window.stride
    return positions


@examples(80)
@given(convolution=convolutions)
def test_a_convolution_is_its_products(convolution: Convolution) -> None:
    rows, columns = seen_by(convolution.height), seen_by(convolution.width)
    taps = convolution.height.kernel * convolution.width.kernel
    results = convolution.images * len(rows) * len(columns) * convolution.filters
    operations = 2 * results * taps * convolution.channels // convolution.groups
    im2col, direct = convolution.products(), convolution.products(lowering="direct")
    assert float(im2col.flops) == float(direct.flops) == operations
    assert int(im2col.batch * im2col.m * im2col.n) == results
    assert int(direct.batch) == convolution.groups * taps

    seen = {
        (y, x)
        for ys, xs in product(rows, columns)
        for y, x in product(ys, xs)
        if 0 <= y < convolution.height.size and 0 <= x < convolution.width.size
    }
    assert convolution.input_elements == convolution.images * convolution.channels * len(seen)


def test_resnets_first_layer() -> None:
    stem = Window(size=224, kernel=7, stride=2, before=3, after=3)
    first = Convolution(images=1, channels=3, filters=64, height=stem, width=stem)
    assert float(first.products().flops) == 2 * 112 * 112 * 64 * 147
    assert first.input_elements == 3 * 224 * 224


def test_a_depthwise_convolution_wastes_the_arrays() -> None:
    """One column of an array works for each channel: 49 tiles of 9 x 1 where the dense one has 5 x 1."""
    compute = load_machine("v4-slc").compute
    axis = Window(size=56, kernel=3, before=1, after=1)
    shape: dict[str, Any] = {"images": 8, "channels": 64, "filters": 64, "height": axis, "width": axis}
    dense, depthwise = Convolution(**shape), Convolution(**shape, groups=64)
    cycles = [float(matrix_cycles(compute=compute, **work.products().sizes)) for work in (dense, depthwise)]
    assert float(depthwise.products().flops) * 64 == float(dense.products().flops)
    assert cycles[1] > 10 * cycles[0]


def test_few_channels_make_the_direct_form_slow() -> None:
    compute = load_machine("v4-slc").compute
    axis = Window(size=224, kernel=7, stride=2, before=3, after=3)
    first = Convolution(images=8, channels=3, filters=64, height=axis, width=axis)
    im2col, direct = (
        float(matrix_cycles(compute=compute, **first.products(lowering=form).sizes))
        for form in ("im2col", "direct")
    )
    assert direct == pytest.approx(im2col * 49 / 2, rel=0.01)


@pytest.mark.parametrize("key_heads", [None, 12, 4, 1])
def test_attention_is_scores_and_sums(key_heads: int | None) -> None:
    attention = Attention(sequences=3, heads=12, key_heads=key_heads, queries=100, keys=120, head_size=64)
    products = attention.products()
    assert products.flops.tolist() == [2 * 3 * 12 * 100 * 120 * 64] * 2
    assert products.batch == 3 * (key_heads or 12)
    gradients = products.backward
    assert gradients.flops.sum() == 2 * products.flops.sum()


def test_shared_keys_make_better_use_of_the_arrays() -> None:
    compute = load_machine("v4-slc").compute
    shape: dict[str, Any] = {"sequences": 1, "heads": 32, "queries": 64, "keys": 2048, "head_size": 128}
    alone, shared = (
        float(matrix_cycles(compute=compute, **Attention(**shape, key_heads=heads).products().sizes).sum())
        for heads in (32, 4)
    )
    assert shared < alone


def test_dram_counts_distinct_elements_where_they_are_given() -> None:
    compute = load_machine("v4-slc").compute
    products = Products.of(batch=1, m=9, n=5, k=300)
    assert int(dram_elements(products, compute=compute).activation_reads) == 2700
    assert int(dram_elements(products, compute=compute, activations=100).activation_reads) == 100
    assert int(dram_elements(products, compute=compute).result_writes) == 9 * 5 * 3


def test_the_bytes_of_sram_are_two_per_operand_and_four_per_sum() -> None:
    compute = load_machine("v4-slc").compute
    moved = sram_bytes(compute=compute, batch=2, m=10, n=200, k=300)
    assert float(moved) == 2 * (2 * (10 * 300 * 2 + 300 * 200) + 4 * 10 * 200 * 3)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kernel": 0}, "kernel of a convolution is 0: give at least 1"),
        ({"stride": 0}, "stride of a convolution is 0"),
        ({"after": -1}, "padding of a convolution is 0, -1: give 0 or more"),
        ({"kernel": 12}, r"spans 12 does not fit into 8 inputs with 0 \+ 0 of padding"),
        ({"kernel": 5, "dilation": 2}, "spans 9 does not fit into 8"),
    ],
)
def test_a_window_that_fits_nowhere_is_refused(change: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Window(**({"size": 8, "kernel": 3} | change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": 0}, "images of a convolution is 0: give at least 1"),
        ({"groups": 4}, "4 groups do not divide 6 channels and 8 filters"),
        ({"groups": 3}, "3 groups do not divide 6 channels and 8 filters"),
    ],
)
def test_groups_must_divide(change: dict[str, int], said: str) -> None:
    axis = Window(size=8, kernel=3)
    with pytest.raises(InputError, match=said):
        Convolution(**({"images": 1, "channels": 6, "filters": 8, "height": axis, "width": axis} | change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"heads": 0}, "heads of an attention is 0: give at least 1"),
        ({"key_heads": 5}, "5 heads of keys for 12 heads of queries: give a divisor"),
        ({"key_heads": 0}, "0 heads of keys for 12 heads of queries"),
    ],
)
def test_heads_must_divide(change: dict[str, int], said: str) -> None:
    sizes = {"sequences": 1, "heads": 12, "queries": 8, "keys": 8, "head_size": 4}
    with pytest.raises(InputError, match=said):
        Attention(**(sizes | change))
