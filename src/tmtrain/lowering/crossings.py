"""How often the operands of products cross between fast memory and SRAM: the best tiling, per distinct shape.

The whole operator is tiled, as if it were not sliced, so that its bytes do not depend on how finely fast memory makes us
cut it. They scale by the ratio of best tiling and every operand once. Known limitations: a convolution is tiled as the
product it is, so the overlap of its windows takes up SRAM like the rest; backward has the ratio of forward; all of SRAM is
at the disposal of one operator.

The order in which pages are touched: Note [Page order] in `tmtrain.machine.tiling`.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tmtrain.machine import Compute
from tmtrain.machine.arrays.traffic import PARTIAL_SUM_BYTES
from tmtrain.machine.tiling import Scratchpad, best_tiling, compulsory_bytes, fused_attention_crossings

_DISTINCT_SHAPES = 4096
"""Kept between calls: a step is lowered several times, for planning and for checking."""


def crossing_ratios(
    dims: NDArray[np.int64],
    *,
    itemsize: NDArray[np.int64],
    is_attention: NDArray[np.bool_],
    compute: Compute,
) -> NDArray[np.float64]:
    """Return bytes of the best tiling over bytes with every operand once, per operator; 1 without a product.

    Args:
        dims: batch, m, n, k, shape (operators, 4); 0 without a product.
        itemsize: Of the operands.
        is_attention: Fused: its scores never leave SRAM.
        compute: SRAM and arrays.

    Raises:
        InputError: SRAM does not hold the smallest tiles of a product.
    """
    ratios = np.ones(len(dims))
    is_product = dims.prod(axis=1) > 0
    keys = np.column_stack([dims, itemsize, is_attention])[is_product]
    shapes, shape_of = np.unique(keys, axis=0, return_inverse=True)
    scratchpad = Scratchpad.of(compute)
    distinct = np.array([_ratio(scratchpad, *shape) for shape in shapes.tolist()])
    ratios[is_product] = distinct[shape_of.ravel()] if len(distinct) else 1.0
    return ratios


@lru_cache(maxsize=_DISTINCT_SHAPES)
def _ratio(scratchpad: Scratchpad, batch: int, m: int, n: int, k: int, itemsize: int, fused: int) -> float:
    scratchpad = replace(scratchpad, operand_bytes=itemsize, sum_bytes=max(itemsize, PARTIAL_SUM_BYTES))
    if fused:
        crossings = fused_attention_crossings(scratchpad=scratchpad, queries=m, keys=n, head_size=k)
        return (m + crossings * n) / (m + n)
    tiling = best_tiling(scratchpad=scratchpad, batch=batch, m=m, n=n, k=k)
    return tiling.total_bytes / compulsory_bytes(batch=batch, m=m, n=n, k=k, operand_bytes=itemsize)
