"""Time of matrix products on systolic arrays: closed forms over columns.

Legend: R rows and C columns of an array; A arrays; T vectors that stream through a tile (see
`tmtrain.machine.arrays.dataflow`); s parts into which T is cut.

Note [Several arrays]: the tiles are dealt over the arrays, so ceil(tiles / A) of them follow one another in the
busiest one. Where that leaves arrays idle, T is cut into s parts, each a pass of its own through the same tile.
Of s = 1 ... A the fastest counts: s = A deals evenly already, and trying them all is why a machine has 4096
arrays at most. Partial sums of tiles that lie along k are added up in the accumulators, which takes no time of
its own. An output-stationary array keeps its sums, so there T, which is k, is not cut.

Note [Cycles of a tile]: *serial* (``weight_load = "serial"``), a tile is loaded, streamed through and drained
before the next begins. Loading takes R cycles, or none where the output stays. A tile takes 2R + C + T - 2
cycles, R + C + T - 2 output-stationary. On one array that is the total of SCALE-Sim 3.0.0, which reports the
index of the last cycle, one less. *Pipelined*, the next tile loads while this one computes, so a tile takes
max(T, R), and R + C - 1 cycles drain the last one. The first tile loads behind the operator before.
Output-stationary: T a tile and R + C - 2 at the end.

Note [Draining]: the last vector enters in cycle T; to cross the array takes R + C - 2 more. Pipelined arrays
take one further cycle, into the accumulators. The results of an output-stationary array leave over wires of
their own while the next tile begins. SCALE-Sim counts neither.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tmtrain.machine.arrays.dataflow import ceil_div, fold
from tmtrain.machine.arrays.products import Products
from tmtrain.machine.machine import Compute


def matrix_cycles(
    *, compute: Compute, batch: ArrayLike, m: ArrayLike, n: ArrayLike, k: ArrayLike, passes: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """Return the clock cycles of `batch` products of m x k by k x n matrices, by Note [Cycles of a tile].

    Sizes are whole numbers and broadcast against each other; an empty product takes no cycle. Known limitations: no stall
    for SRAM bandwidth; the arrays of the machine wait for the slowest; the last pipelined tile is charged R cycles even
    where fewer vectors stream, since its successor loads.

    Args:
        compute: The arrays.
        batch: Number of equal products.
        m: Rows of the activations.
        n: Columns of the weights.
        k: Inner dimension.
        passes: Passes over the product, e.g. `Compute.fp32_passes` for fp32 operands and 1 for bf16.

    Raises:
        InputError: a size is negative or not a whole number.

    >>> from tmtrain.machine import load_machine
    >>> arrays = load_machine("v4-slc").compute
    >>> matrix_cycles(compute=arrays, batch=1, m=4096, n=4096, k=4096).tolist()
    524543.0
    """
    A = compute.num_arrays
    folding = fold(Products.of(batch=batch, m=m, n=n, k=k), compute=compute)
    tiles, T = folding.tiles, folding.streamed
    parts = range(1, A + 1 if compute.dataflow != "output" else 2)  # Note [Several arrays]
    per_split = (_array_cycles(ceil_div(tiles * s, A), ceil_div(T, s), compute) for s in parts)
    # One after the other, not stacked: the products are columns, and there may be thousands of splits.
    fastest = next(per_split)
    for cycles in per_split:
        fastest = np.minimum(fastest, cycles)
    return np.where((tiles > 0) & (T > 0), fastest, 0.0) * np.asarray(passes, dtype=np.float64)


def matrix_seconds(
    *, compute: Compute, batch: ArrayLike, m: ArrayLike, n: ArrayLike, k: ArrayLike, passes: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """Return the seconds of `batch` products of m x k by k x n matrices: `matrix_cycles` by the clock."""
    return matrix_cycles(compute=compute, batch=batch, m=m, n=n, k=k, passes=passes) / compute.clock_hz


def _array_cycles(tiles: NDArray[np.int64], T: NDArray[np.int64], compute: Compute) -> NDArray[np.float64]:
    """Return the cycles of one array through each of whose `tiles` tiles T vectors stream."""
    R, C = compute.array_rows, compute.array_columns
    loads = 0 if compute.dataflow == "output" else R
    if compute.weight_load == "serial":
        return np.asarray(tiles * (loads + R + C + T - 2), dtype=np.float64)
    drain = R + C - (2 if compute.dataflow == "output" else 1)  # Note [Draining]
    return np.asarray(tiles * np.maximum(T, loads) + drain, dtype=np.float64)
