"""Which matrix stays in an array and which stream through it.

An array has R rows and C columns of multipliers. A product is cut into *tiles* that fit them. A tile that does not fill an
array occupies it all the same (padding).

=========  ==========  =============  ============  ===========================
dataflow   rows hold   columns hold   what streams  stays in the array
=========  ==========  =============  ============  ===========================
weight     k           n              m             a tile of the weights
input      k           m              n             a tile of the activations
output     m           n              k             a tile of the result
=========  ==========  =============  ============  ===========================
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.machine.arrays.products import Products
from tmtrain.machine.machine import Compute, Dataflow

_ROLES: dict[Dataflow, tuple[str, str, str]] = {
    "weight": ("k", "n", "m"),
    "input": ("k", "m", "n"),
    "output": ("m", "n", "k"),
}
"""The sizes that lie along rows, along columns, and in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folding:
    """How products are cut for arrays; columns that broadcast."""

    row_tiles: NDArray[np.int64]
    """Tiles along the rows of an array, per product."""
    column_tiles: NDArray[np.int64]
    tiles: NDArray[np.int64]
    """Of all equal products together."""
    streamed: NDArray[np.int64]
    """Vectors that stream through each tile."""


def fold(products: Products, *, compute: Compute) -> Folding:
    """Return how `products` are cut into tiles of the arrays.

    >>> from tmtrain.machine import load_machine
    >>> tpu = load_machine("v4-slc").compute
    >>> fold(Products.of(batch=1, m=1000, n=129, k=256), compute=tpu).tiles.tolist()
    4
    """
    rows, columns, streamed = (products.sizes[name] for name in _ROLES[compute.dataflow])
    row_tiles = ceil_div(rows, compute.array_rows)
    column_tiles = ceil_div(columns, compute.array_columns)
    return Folding(
        row_tiles=row_tiles,
        column_tiles=column_tiles,
        tiles=products.batch * row_tiles * column_tiles,
        streamed=streamed,
    )


def ceil_div(sizes: NDArray[np.int64], divisor: int) -> NDArray[np.int64]:
    """Return `sizes` over `divisor`, rounded up."""
    return -(-sizes // divisor)
