"""Time and SRAM traffic of matrix products on weight-stationary systolic arrays: closed forms over columns.

A product of an M x K by a K x N matrix is cut into *weight tiles* of R x C (the rows of an array hold K, its
columns N); a tile stays in an array while the M rows of activations stream through it.

Legend: B products of M x N x K each; A arrays of R rows and C columns; s parts into which M is split.

Note [Several arrays]: the tiles are dealt over the arrays, so ceil(tiles / A) of them follow one another in
the busiest one. Where that leaves arrays idle, M is split into s parts, each a tile pass of its own with the
same weights; of s = 1 ... A the fastest counts (s = A is a perfectly even deal already; trying them all is
why a machine has 4096 arrays at most). Adding up the partial sums of tiles that lie along K happens in the
accumulators and takes no time of its own.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tmtrain.machine.machine import Compute

OPERAND_BYTES = 2
"""Bytes of one matrix operand in one pass: bf16."""
PARTIAL_SUM_BYTES = 4
"""Bytes of one partial sum: fp32."""


def matrix_cycles(
    *, compute: Compute, batch: ArrayLike, m: ArrayLike, n: ArrayLike, k: ArrayLike, passes: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """Return the clock cycles of `batch` products of m x k by k x n matrices.

    *Serial* (``weight_load = "serial"``): each tile is loaded (R cycles), streamed through and drained before
    the next begins, 2R + C + M - 2 cycles a tile. On one array that is the total of SCALE-Sim 3.0.0, which
    reports the index of the last cycle, one less. *Pipelined*: the next tile loads while this one computes,
    so a tile takes max(M, R), and R + C - 1 cycles drain the last one; the first tile loads behind the
    operator before.

    Shapes are whole numbers and broadcast against each other; an empty product takes no cycle. Known
    limitation: no stall for SRAM bandwidth, and the arrays of the machine wait for the slowest.

    Args:
        compute: The arrays.
        batch: Number of equal products.
        m: Rows of the activations, which stream.
        n: Columns of the weights.
        k: Inner dimension.
        passes: Passes over the product, e.g. `Compute.fp32_passes` for fp32 operands and 1 for bf16.

    >>> from tmtrain.machine import load_machine
    >>> arrays = load_machine("v4-slc").compute
    >>> matrix_cycles(compute=arrays, batch=1, m=4096, n=4096, k=4096).tolist()
    524543.0
    """
    R, C, A = compute.array_rows, compute.array_columns, compute.num_arrays
    B, M, N, K = (np.asarray(size, dtype=np.int64) for size in (batch, m, n, k))
    tiles = B * _ceil(K, R) * _ceil(N, C)
    # Note [Several arrays]
    per_split = (_array_cycles(_ceil(tiles * s, A), _ceil(M, s), compute) for s in range(1, A + 1))
    fastest = next(per_split)
    for cycles in per_split:
        fastest = np.minimum(fastest, cycles)
    return np.where((tiles > 0) & (M > 0), fastest, 0.0) * np.asarray(passes, dtype=np.float64)


def matrix_seconds(
    *, compute: Compute, batch: ArrayLike, m: ArrayLike, n: ArrayLike, k: ArrayLike, passes: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """Return the seconds of `batch` products of m x k by k x n matrices: `matrix_cycles` by the clock."""
    return matrix_cycles(compute=compute, batch=batch, m=m, n=n, k=k, passes=passes) / compute.clock_hz


def sram_bytes(
    *, compute: Compute, batch: ArrayLike, m: ArrayLike, n: ArrayLike, k: ArrayLike, passes: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """Return the bytes that `batch` products stream between SRAM and the arrays.

    Per pass: activations in once per column of tiles, partial sums out once per row of tiles, weights in once
    (tiles that M splits over several arrays are broadcast)::

        B * (2 M K ceil(N / C) + 4 M N ceil(K / R) + 2 K N)

    with `OPERAND_BYTES` = 2 and `PARTIAL_SUM_BYTES` = 4. The three element counts are those of SCALE-Sim
    3.0.0. Known limitation: partial sums are added where they land, reading them back is not counted.
    Arguments as `matrix_cycles`.

    >>> from tmtrain.machine import load_machine
    >>> arrays = load_machine("v4-slc").compute
    >>> sram_bytes(compute=arrays, batch=1, m=128, n=128, k=128).tolist()
    131072.0
    """
    R, C = compute.array_rows, compute.array_columns
    B, M, N, K = (np.asarray(size, dtype=np.int64) for size in (batch, m, n, k))
    activations = OPERAND_BYTES * M * K * _ceil(N, C)
    partial_sums = PARTIAL_SUM_BYTES * M * N * _ceil(K, R)
    weights = OPERAND_BYTES * K * N
    streamed = np.where(M > 0, B * (activations + partial_sums + weights), 0)
    return streamed * np.asarray(passes, dtype=np.float64)


def _array_cycles(tiles: NDArray[np.int64], rows: NDArray[np.int64], compute: Compute) -> NDArray[np.float64]:
    """Return the cycles of one array that passes `rows` rows of activations through each of `tiles` tiles."""
    R, C = compute.array_rows, compute.array_columns
    if compute.weight_load == "serial":
        return np.asarray(tiles * (2 * R + C + rows - 2), dtype=np.float64)
    return np.asarray(tiles * np.maximum(rows, R) + (R + C - 1), dtype=np.float64)


def _ceil(sizes: NDArray[np.int64], divisor: int) -> NDArray[np.int64]:
    return -(-sizes // divisor)
