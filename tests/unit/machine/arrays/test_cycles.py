"""Matrix products on systolic arrays: equal to SCALE-Sim where it speaks, never faster than the peak."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tmtrain.errors import InputError
from tmtrain.machine import (
    Compute,
    Dataflow,
    WeightLoad,
    load_machine,
    matrix_cycles,
    matrix_seconds,
    sram_bytes,
)
from tmtrain.machine.arrays import Products

# SCALE-Sim 3.0.0 (PyPI), one GEMM per run, dataflow ws, bandwidth mode CALC, our own runs. Columns: M, N, K,
# array rows, array columns, "Total Cycles" (the index of the last cycle), SRAM reads of ifmap and filter,
# SRAM writes of ofmap.
SCALE_SIM = [
    (16, 16, 16, 16, 16, 61, 256, 256, 256),
    (128, 128, 128, 32, 32, 3551, 65536, 16384, 65536),
    (33, 31, 65, 16, 16, 789, 4290, 2015, 5115),
    (129, 129, 129, 128, 128, 2043, 33282, 16641, 33282),
    (61, 97, 113, 32, 32, 2479, 27572, 10961, 23668),
    (48, 80, 2, 16, 16, 469, 480, 160, 3840),
    (256, 128, 1, 32, 32, 1399, 1024, 128, 32768),
    (1, 1, 512, 128, 128, 1531, 512, 512, 4),
    (777, 20, 48, 16, 16, 4937, 74592, 960, 46620),
    (24, 40, 1500, 128, 128, 4871, 36000, 60000, 11520),
    (1, 768, 256, 128, 128, 4595, 1536, 196608, 1536),
    (8, 250, 256, 32, 32, 6527, 16384, 64000, 16000),
]


def make_arrays(
    *, num: int, rows: int, columns: int, weight_load: WeightLoad, dataflow: Dataflow = "weight"
) -> Compute:
    base = load_machine("v4-slc").compute
    return replace(
        base,
        num_arrays=num,
        array_rows=rows,
        array_columns=columns,
        weight_load=weight_load,
        dataflow=dataflow,
    )


SIZES = st.integers(1, 600)
ARRAYS = st.builds(
    make_arrays,
    num=st.integers(1, 9),
    rows=st.integers(1, 64),
    columns=st.integers(1, 64),
    weight_load=st.sampled_from(["serial", "pipelined"]),
    dataflow=st.sampled_from(["weight", "input", "output"]),
)


def cycles(compute: Compute, *, batch: int = 1, m: int, n: int, k: int) -> float:
    return float(matrix_cycles(compute=compute, batch=batch, m=m, n=n, k=k))


@pytest.mark.parametrize("row", SCALE_SIM)
def test_serial_on_one_array_is_scale_sim(row: tuple[int, ...]) -> None:
    m, n, k, rows, columns, last_cycle, *_ = row
    arrays = make_arrays(num=1, rows=rows, columns=columns, weight_load="serial")
    assert cycles(arrays, m=m, n=n, k=k) == last_cycle + 1


@pytest.mark.parametrize("row", SCALE_SIM)
def test_sram_traffic_is_scale_sims(row: tuple[int, ...]) -> None:
    m, n, k, rows, columns, _, ifmap, weights, ofmap = row
    arrays = make_arrays(num=1, rows=rows, columns=columns, weight_load="serial")
    assert float(sram_bytes(compute=arrays, batch=1, m=m, n=n, k=k)) == 2 * ifmap + 2 * weights + 4 * ofmap


@given(arrays=ARRAYS, batch=st.integers(1, 20), m=SIZES, n=SIZES, k=SIZES)
def test_never_faster_than_the_peak(arrays: Compute, batch: int, m: int, n: int, k: int) -> None:
    peak_flop_per_cycle = 2 * arrays.num_arrays * arrays.array_rows * arrays.array_columns
    assert cycles(arrays, batch=batch, m=m, n=n, k=k) >= 2 * batch * m * n * k / peak_flop_per_cycle


@given(arrays=ARRAYS, batch=st.integers(1, 20), m=SIZES, n=SIZES, k=SIZES, more=st.integers(0, 50))
def test_a_larger_product_is_never_faster(
    arrays: Compute, batch: int, m: int, n: int, k: int, more: int
) -> None:
    here = cycles(arrays, batch=batch, m=m, n=n, k=k)
    assert here <= cycles(arrays, batch=batch + more, m=m, n=n, k=k)
    assert here <= cycles(arrays, batch=batch, m=m + more, n=n, k=k)
    assert here <= cycles(arrays, batch=batch, m=m, n=n + more, k=k)
    assert here <= cycles(arrays, batch=batch, m=m, n=n, k=k + more)


@given(arrays=ARRAYS, batch=st.integers(1, 20), m=SIZES, n=SIZES, k=SIZES)
def test_pipelining_and_more_arrays_never_hurt(arrays: Compute, batch: int, m: int, n: int, k: int) -> None:
    shape = {"batch": batch, "m": m, "n": n, "k": k}
    pipelined = cycles(replace(arrays, weight_load="pipelined"), **shape)
    assert pipelined <= cycles(replace(arrays, weight_load="serial"), **shape)
    assert cycles(arrays, **shape) <= cycles(replace(arrays, num_arrays=1), **shape)


@given(arrays=ARRAYS, batch=st.integers(1, 20), m=SIZES, n=SIZES, k=SIZES)
def test_the_best_split_of_the_rows_counts(arrays: Compute, batch: int, m: int, n: int, k: int) -> None:
    rows, columns, num = arrays.array_rows, arrays.array_columns, arrays.num_arrays
    arrays = replace(arrays, dataflow="weight")
    tiles = batch * -(-k // rows) * -(-n // columns)
    by_hand = []
    for parts in range(1, num + 1):
        waves, part = -(-tiles * parts // num), -(-m // parts)
        if arrays.weight_load == "serial":
            by_hand.append(waves * (2 * rows + columns + part - 2))
        else:
            by_hand.append(waves * max(part, rows) + rows + columns - 1)
    assert cycles(arrays, batch=batch, m=m, n=n, k=k) == min(by_hand)


def test_one_tile_is_split_over_idle_arrays() -> None:
    arrays = make_arrays(num=8, rows=128, columns=128, weight_load="pipelined")
    assert cycles(arrays, m=8192, n=128, k=128) == 8192 / 8 + 128 + 128 - 1


def test_a_large_product_comes_close_to_the_peak() -> None:
    compute = load_machine("v4-slc").compute
    seconds = float(matrix_seconds(compute=compute, batch=1, m=8192, n=8192, k=8192))
    assert 2 * 8192**3 / seconds == pytest.approx(275.25e12, rel=1e-3)


def test_shapes_broadcast_and_fp32_takes_its_passes() -> None:
    compute = load_machine("v4-slc").compute
    m = np.array([[1], [512]])
    passes = np.array([1.0, compute.fp32_passes, 1.0])
    both = matrix_cycles(compute=compute, batch=4, m=m, n=np.array([64, 64, 4096]), k=256, passes=passes)
    assert both.shape == (2, 3)
    assert both[:, 1] == pytest.approx(6 * both[:, 0])
    streamed = sram_bytes(compute=compute, batch=4, m=m, n=np.array([64, 64, 4096]), k=256, passes=passes)
    assert streamed[:, 1] == pytest.approx(6 * streamed[:, 0])


@pytest.mark.parametrize("empty", ["batch", "m", "n", "k"])
@pytest.mark.parametrize("weight_load", ["serial", "pipelined"])
def test_an_empty_product_takes_nothing(empty: str, weight_load: WeightLoad) -> None:
    compute = make_arrays(num=3, rows=8, columns=8, weight_load=weight_load)
    shape = {"batch": 2, "m": 5, "n": 6, "k": 7, empty: 0}
    assert float(matrix_cycles(compute=compute, **shape)) == 0
    assert float(sram_bytes(compute=compute, **shape)) == 0


@given(arrays=ARRAYS, batch=st.integers(1, 20), m=SIZES, n=SIZES, k=SIZES)
def test_input_stationary_is_weight_stationary_of_the_transposed_product(
    arrays: Compute, batch: int, m: int, n: int, k: int
) -> None:
    by_input, by_weight = replace(arrays, dataflow="input"), replace(arrays, dataflow="weight")
    assert cycles(by_input, batch=batch, m=m, n=n, k=k) == cycles(by_weight, batch=batch, m=n, n=m, k=k)


@pytest.mark.parametrize(("weight_load", "expected"), [("serial", 2 * 708), ("pipelined", 2 * 678 + 30)])
def test_output_tiles_are_dealt_over_arrays_and_their_stream_is_not_cut(
    weight_load: WeightLoad, expected: int
) -> None:
    """5 x 3 tiles of 16 x 16 on 8 arrays: two in the busiest one; one tile stays on one array."""
    arrays = make_arrays(num=8, rows=16, columns=16, weight_load=weight_load, dataflow="output")
    assert cycles(arrays, m=80, n=48, k=678) == expected
    assert cycles(arrays, m=16, n=16, k=678) == cycles(replace(arrays, num_arrays=1), m=16, n=16, k=678)


@pytest.mark.parametrize("size", [-1, 2.5, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["batch", "m", "n", "k"])
def test_sizes_that_make_no_sense_are_refused(name: str, size: float) -> None:
    shape = {"batch": 1, "m": 2, "n": 3, "k": 4, name: np.array([1.0, size])}
    with pytest.raises(InputError, match=f"{name} of a matrix product is .*whole numbers of at least 0"):
        matrix_cycles(compute=load_machine("v4-slc").compute, **shape)


def test_the_gradients_of_a_product_cost_two_products() -> None:
    forward = Products.of(batch=3, m=[5, 6], n=7, k=11)
    assert forward.backward.flops.tolist() == [*forward.flops, *forward.flops]
    both = Products.joined([forward, forward.backward])
    assert [size.shape for size in both.sizes.values()] == [(6,)] * 4
