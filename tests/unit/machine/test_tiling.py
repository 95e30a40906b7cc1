"""Tilings: the best of all by brute force on small products, near the known bounds on large ones."""

from dataclasses import replace
from itertools import permutations, product
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.thoroughness import examples

from tmtrain.errors import InputError
from tmtrain.machine import load_machine, matrix_cycles
from tmtrain.machine.tiling import (
    Scratchpad,
    Tiling,
    best_tiling,
    compulsory_bytes,
    fused_attention_crossings,
)

MATRICES = {"activations": "mk", "weights": "kn", "results": "mn"}


def walked_bytes(sizes: dict[str, int], tile: dict[str, int], order: tuple[str, ...], pad: Scratchpad) -> int:
    """Walk through the loop nest with room for one tile of each matrix, and count what comes and goes."""
    total, held, unfinished = 0, {}, set[tuple[int, ...]]()
    k_steps = -(-sizes["k"] // tile["k"])
    done: dict[tuple[int, ...], int] = {}

    def elements(loops: str, index: tuple[int, ...]) -> int:
        sides = [
            min(tile[loop], sizes[loop] - at * tile[loop]) for loop, at in zip(loops, index, strict=True)
        ]
        return sides[0] * sides[1]

    def leave(index: tuple[int, ...]) -> int:
        finished = done[index] == k_steps
        unfinished.discard(index) if finished else unfinished.add(index)
        return elements("mn", index) * (pad.operand_bytes if finished else pad.sum_bytes)

    for step in product(*(range(-(-sizes[loop] // tile[loop])) for loop in order)):
        at = dict(zip(order, step, strict=True))
        for name, loops in MATRICES.items():
            index = tuple(at[loop] for loop in loops)
            if held.get(name) == index:
                continue
            if name == "results":
                total += leave(held[name]) if name in held else 0
                total += pad.sum_bytes * elements(loops, index) if index in unfinished else 0
            else:
                total += pad.operand_bytes * elements(loops, index)
            held[name] = index
        done[held["results"]] = done.get(held["results"], 0) + 1
    return total + leave(held["results"])


def taken_bytes(sizes: dict[str, int], tile: dict[str, int], pad: Scratchpad) -> int:
    total = 0
    for name, loops in MATRICES.items():
        number = [-(-sizes[loop] // tile[loop]) for loop in loops]
        copies = min(pad.buffers, number[0] * number[1])
        each = pad.sum_bytes if name == "results" else pad.operand_bytes
        total += copies * each * tile[loops[0]] * tile[loops[1]]
    return total


SIDE = st.integers(1, 6)


@examples(60)
@given(m=SIDE, n=SIDE, k=SIDE, capacity=st.integers(12, 200), buffers=st.sampled_from([1, 2]))
def test_no_tile_sizes_and_no_order_of_loops_move_less(
    m: int, n: int, k: int, capacity: int, buffers: int
) -> None:
    pad, sizes = Scratchpad(capacity_bytes=capacity, buffers=buffers), {"m": m, "n": n, "k": k}
    tiles = [
        dict(zip("mnk", tile, strict=True)) for tile in product(*(range(1, size + 1) for size in (m, n, k)))
    ]
    fitting = [tile for tile in tiles if taken_bytes(sizes, tile, pad) <= capacity]
    if not fitting:
        with pytest.raises(InputError, match=f"there are {capacity} B: give the machine more SRAM"):
            best_tiling(scratchpad=pad, batch=1, **sizes)
        return
    least = min(walked_bytes(sizes, tile, order, pad) for tile in fitting for order in permutations("mnk"))
    best = best_tiling(scratchpad=pad, batch=1, **sizes)
    assert best.total_bytes == least
    tile = {"m": best.m, "n": best.n, "k": best.k}
    assert best.used_bytes == taken_bytes(sizes, tile, pad) <= capacity
    outer = [loop for loop in "mnk" if loop != best.innermost]
    assert walked_bytes(sizes, tile, (*outer, best.innermost), pad) == best.total_bytes


@examples(60)
@given(
    m=st.integers(1, 900),
    n=st.integers(1, 900),
    k=st.integers(1, 900),
    capacity=st.sampled_from([300, 5000, 10**5]),
    batch=st.integers(1, 5),
)
def test_never_below_the_known_bounds(m: int, n: int, k: int, capacity: int, batch: int) -> None:
    """Smith, Lowery, Langou, van de Geijn (2019): a product moves at least 2MNK/sqrt(S) - 2S elements, for S in SRAM."""
    pad = Scratchpad(capacity_bytes=capacity, buffers=1, operand_bytes=1, sum_bytes=1)
    best = best_tiling(scratchpad=pad, batch=batch, m=m, n=n, k=k)
    assert best.total_bytes >= compulsory_bytes(batch=batch, m=m, n=n, k=k, operand_bytes=1)
    assert best.total_bytes >= batch * (2 * m * n * k / sqrt(capacity) - 2 * capacity)
    assert best.total_bytes == batch * best_tiling(scratchpad=pad, batch=1, m=m, n=n, k=k).total_bytes


@pytest.mark.parametrize("capacity", [1024, 65536])
def test_a_large_product_comes_close_to_the_bound(capacity: int) -> None:
    """To the bound and the results, each of which has to be written: 10 %."""
    size = 2048
    pad = Scratchpad(capacity_bytes=capacity, buffers=1, operand_bytes=1, sum_bytes=1)
    moved = best_tiling(scratchpad=pad, batch=1, m=size, n=size, k=size).total_bytes
    assert moved <= 1.1 * (2 * size**3 / sqrt(capacity) + size**2)


def test_what_fits_moves_once() -> None:
    pad = Scratchpad.of(load_machine("v4-slc").compute)
    best = best_tiling(scratchpad=pad, batch=7, m=1000, n=3000, k=1500)
    assert best.total_bytes == compulsory_bytes(batch=7, m=1000, n=3000, k=1500)
    assert (best.m, best.n, best.k) == (1000, 3000, 1500)


def test_one_matrix_that_fits_is_enough() -> None:
    """The weights stay, activations and results stream by: everything once, whatever the number of rows."""
    pad = Scratchpad.of(load_machine("v4-slc").compute)
    best = best_tiling(scratchpad=pad, batch=1, m=10**6, n=1024, k=1024)
    assert best.total_bytes == compulsory_bytes(batch=1, m=10**6, n=1024, k=1024)


@given(less=st.integers(2**20, 2**27), more=st.integers(1, 2**27))
@examples(20)
def test_more_sram_never_moves_more(less: int, more: int) -> None:
    pad = Scratchpad.of(load_machine("v4-slc").compute)
    moved = [
        best_tiling(scratchpad=replace(pad, capacity_bytes=size), batch=1, m=9000, n=6000, k=7000).total_bytes
        for size in (less, less + more)
    ]
    assert moved[0] >= moved[1]


def test_double_buffering_costs_at_most_the_root_of_two() -> None:
    pad = replace(Scratchpad.of(load_machine("v4-slc").compute), granule=(64, 64, 64))
    shape = {"batch": 1, "m": 30000, "n": 30000, "k": 30000}
    once, twice = (
        best_tiling(scratchpad=replace(pad, buffers=buffers), **shape).total_bytes for buffers in (1, 2)
    )
    assert once < twice < 1.5 * once


def test_tiles_are_whole_multiples_of_the_arrays_and_take_no_further_cycles() -> None:
    compute = replace(load_machine("v4-slc").compute, num_arrays=1)
    best = best_tiling(scratchpad=Scratchpad.of(compute), batch=1, m=40960, n=12288, k=12288)
    assert best.n % compute.array_columns == best.k % compute.array_rows == best.m % compute.array_rows == 0
    tiles = cycles_in_tiles(best, m=40960, n=12288, k=12288)
    whole = float(matrix_cycles(compute=compute, batch=1, m=40960, n=12288, k=12288))
    assert tiles == pytest.approx(whole, rel=1e-3)


def cycles_in_tiles(best: Tiling, *, m: int, n: int, k: int) -> float:
    compute = replace(load_machine("v4-slc").compute, num_arrays=1)
    sides = [
        [min(tile, size - start) for start in range(0, size, tile)]
        for size, tile in ((m, best.m), (n, best.n), (k, best.k))
    ]
    return sum(float(matrix_cycles(compute=compute, batch=1, m=a, n=b, k=c)) for a, b, c in product(*sides))


@pytest.mark.parametrize("name", ["batch", "m", "n", "k"])
def test_an_empty_product_is_refused(name: str) -> None:
    shape = {"batch": 1, "m": 2, "n": 3, "k": 4, name: 0}
    with pytest.raises(InputError, match=f"{name} of a product to be tiled is 0: give at least 1"):
        best_tiling(scratchpad=Scratchpad(capacity_bytes=1000), **shape)


@pytest.mark.parametrize(("capacity", "crossings"), [(320, 1), (256, 1), (255, 4), (192, 4)])
def test_keys_and_values_cross_once_per_tile_of_queries(capacity: int, crossings: int) -> None:
    """By hand, 8 queries and keys of 4 numbers, tiles of 2.

    Keys and values stream in 2 x 2 tiles of 2 x 4 x 2 B: 64 B. A query takes 4 x 2 B, its sums 4 x 4 B, its scores 2 x 4 B.
    Keys and values as a whole are 2 x 8 x 4 x 2 = 128 B, beside two tiles of queries, 2 x 2 x 32 B: 256 B. Below that, two
    tiles of queries have (255 - 64) / 2 B, 2 queries of 32 B each: 4 tiles in all.
    """
    pad = Scratchpad(capacity_bytes=capacity, granule=(2, 2, 2))
    assert fused_attention_crossings(scratchpad=pad, queries=8, keys=8, head_size=4) == crossings


def test_attention_that_has_no_room_says_so() -> None:
    pad = Scratchpad(capacity_bytes=191, granule=(2, 2, 2))
    with pytest.raises(InputError, match="heads of 4 take 192 B of SRAM, there are 191 B"):
        fused_attention_crossings(scratchpad=pad, queries=8, keys=8, head_size=4)
