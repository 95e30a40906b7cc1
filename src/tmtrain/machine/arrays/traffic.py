"""What matrix products move: between SRAM and the arrays, and to and from memory behind SRAM that holds all."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tmtrain.machine.arrays.dataflow import Folding, fold
from tmtrain.machine.arrays.products import Products
from tmtrain.machine.machine import Compute

OPERAND_BYTES = 2
"""Bytes of one matrix operand in one pass: bf16."""
PARTIAL_SUM_BYTES = 4
"""Bytes of one partial sum: fp32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elements:
    """Matrix elements moved, by matrix."""

    activation_reads: NDArray[np.int64]
    weight_reads: NDArray[np.int64]
    result_writes: NDArray[np.int64]
    """Partial sums of tiles along k count each time."""


def sram_elements(products: Products, *, compute: Compute) -> Elements:
    """Return the elements that cross between SRAM and the arrays, as SCALE-Sim 3.0.0 counts them.

    What streams is read once per tile that it streams through, what stays is read once, and results are written once per
    tile along k (once in all where they stay). Where a stream is cut over several arrays, the tile is broadcast.

    >>> from tmtrain.machine import load_machine
    >>> tpu = load_machine("v4-slc").compute
    >>> sram_elements(Products.of(batch=1, m=10, n=256, k=128), compute=tpu).activation_reads.tolist()
    2560
    """
    B, M, N, K = products.batch, products.m, products.n, products.k
    folding = fold(products, compute=compute)
    if compute.dataflow == "weight":
        activations, weights = folding.column_tiles, 1
    elif compute.dataflow == "input":
        activations, weights = 1, folding.column_tiles
    else:
        activations, weights = folding.column_tiles, folding.row_tiles
    return Elements(
        activation_reads=B * M * K * activations,
        weight_reads=B * K * N * weights,
        result_writes=B * M * N * _sums(folding, compute=compute),
    )


def dram_elements(products: Products, *, compute: Compute, activations: ArrayLike | None = None) -> Elements:
    """Return the elements that cross to memory if SRAM holds every operand but no partial sum, as SCALE-Sim 3.0.0.

    Operands come in once. The partial sums of each tile along k go out and, a flaw of that program, never come back: use
    `tmtrain.machine.tiling` for what a machine moves.

    Args:
        products: What is multiplied.
        compute: The arrays.
        activations: Distinct elements of the activations; by default all of m x k. See `Convolution.input_elements`.
    """
    B, M, N, K = products.batch, products.m, products.n, products.k
    return Elements(
        activation_reads=B * M * K if activations is None else np.asarray(activations, np.int64),
        weight_reads=B * K * N,
        result_writes=B * M * N * _sums(fold(products, compute=compute), compute=compute),
    )


def sram_bytes(
    *, compute: Compute, batch: ArrayLike, m: ArrayLike, n: ArrayLike, k: ArrayLike, passes: ArrayLike = 1.0
) -> NDArray[np.float64]:
    """Return the bytes that `batch` products stream between SRAM and the arrays.

    The counts of `sram_elements`, per pass, with `OPERAND_BYTES` = 2 and `PARTIAL_SUM_BYTES` = 4; weight-stationary::

        B * (2 M K ceil(N / C) + 4 M N ceil(K / R) + 2 K N)

    Known limitation: partial sums are added where they land, reading them back is not counted. Arguments as
    `matrix_cycles`.

    >>> from tmtrain.machine import load_machine
    >>> arrays = load_machine("v4-slc").compute
    >>> sram_bytes(compute=arrays, batch=1, m=128, n=128, k=128).tolist()
    131072.0
    """
    products = Products.of(batch=batch, m=m, n=n, k=k)
    moved = sram_elements(products, compute=compute)
    operands = OPERAND_BYTES * (moved.activation_reads + moved.weight_reads)
    streamed = operands + PARTIAL_SUM_BYTES * moved.result_writes
    return np.where(products.m > 0, streamed, 0) * np.asarray(passes, dtype=np.float64)


def _sums(folding: Folding, *, compute: Compute) -> NDArray[np.int64] | int:
    """Return how often each element of the result leaves an array."""
    return 1 if compute.dataflow == "output" else folding.row_tiles
