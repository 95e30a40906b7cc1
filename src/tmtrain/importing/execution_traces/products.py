"""Dimensions of matrix products, from the shapes alone: execution traces carry no FLOPs."""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

Shape = tuple[int, ...]

_PRODUCTS = {
    "mm": 0,
    "bmm": 0,
    "mv": 0,
    "dot": 0,
    "addmm": 1,
    "baddbmm": 1,
    "addmv": 1,
    "addmm_": 1,
    "baddbmm_": 1,
}
"""Position of the left factor; the right one follows."""
_BACKWARD_PRODUCTS = {"convolution_backward": 2.0, "attention": 2.5}
"""Products of the size of the forward's: gradients of input and weight; of query, key and
value, and the scores recomputed."""


class Product(NamedTuple):
    """What `tmtrain.trace.Operators` says of one operator."""

    flops: int
    batch: int
    m: int
    n: int
    k: int


NO_PRODUCT = Product(0, 0, 0, 0, 0)


def product_of(base: str, arguments: Sequence[tuple[int, Shape]], result: Shape) -> Product:
    """Return the product that operator `base` computes; `NO_PRODUCT` where it computes none.

    Args:
        base: The name without namespace and overload.
        arguments: Position and shape of each tensor.
        result: Shape of the first result.

    Known limitation: transposed convolutions count as what their result's shape says.

    >>> product_of("addmm", [(0, (7,)), (1, (3, 5)), (2, (5, 7))], (3, 7))
    Product(flops=210, batch=1, m=3, n=7, k=5)
    """
    shapes = dict(arguments)
    if base in _PRODUCTS:
        return _product(shapes[_PRODUCTS[base]], shapes[_PRODUCTS[base] + 1])
    if base == "convolution":
        return _convolution(result, shapes[0], shapes[1], products=1.0)
    if base == "convolution_backward":
        return _convolution(shapes[0], shapes[1], shapes[2], products=_BACKWARD_PRODUCTS[base])
    if base.startswith("_scaled_dot_product_"):
        is_backward = "backward" in base
        query, key = (shapes[1], shapes[2]) if is_backward else (shapes[0], shapes[1])
        products = 2 * (_BACKWARD_PRODUCTS["attention"] if is_backward else 1.0)
        batch, m, n, k = prod(query[:2]), query[2], key[2], query[3]
        return Product(int(2 * batch * m * n * k * products), batch, m, n, k)
    return NO_PRODUCT


def _product(left: Shape, right: Shape) -> Product:
    batch = left[0] if len(left) == 3 else 1
    m = left[-2] if len(left) > 1 else 1
    n = right[-1] if len(right) > 1 else 1
    k = prod(left[-1:])
    return Product(2 * batch * m * n * k, batch, m, n, k)


def _convolution(result: Shape, source: Shape, weight: Shape, *, products: float) -> Product:
    groups = max(1, source[1] // weight[1])
    m = result[0] * prod(result[2:])
    n, k = weight[0] // groups, prod(weight[1:])
    return Product(int(2 * groups * m * n * k * products), groups, m, n, k)
