"""Sums of products that are not written as matrix products, distances and Fourier transforms."""

from collections.abc import Mapping
from math import log2, prod

from tmtrain.counting.call import OperatorCall, Shape
from tmtrain.counting.formula import Formula
from tmtrain.counting.products import matmul_work
from tmtrain.counting.work import OperatorWork, product_work


def _einsum(call: OperatorCall) -> OperatorWork:
    """Two operands: a product and a sum for each combination of all their indices."""
    operands, shapes = str(call.arguments[0]).partition("->")[0].replace(" ", "").split(","), call.shapes(1)
    if len(shapes) != 2 or "." in "".join(operands):
        raise ValueError(f"einsum of {len(shapes)} operands: in which order, nobody says")
    sizes = {
        letter: size
        for letters, shape in zip(operands, shapes, strict=True)
        for letter, size in zip(letters, shape, strict=True)
    }
    left, right = (set(letters) for letters in operands)
    result = set(str(call.arguments[0]).partition("->")[2].replace(" ", ""))
    parts = (left & right & result, left - right, right - left, (left & right) - result)
    return product_work(*(prod(sizes[letter] for letter in part) for part in parts))


def _trilinear(call: OperatorCall) -> OperatorWork:
    """``_trilinear``: the first two are multiplied, and summed where the third is not; then the third likewise."""
    expanded = [set(call.arguments[3 + i]) for i in range(3)]
    count = len(call.shape(0)) + len(expanded[0])
    sizes = [1] * count
    for i, absent in enumerate(expanded):
        present = [dim for dim in range(count) if dim not in absent]
        for dim, size in zip(present, call.shape(i), strict=True):
            sizes[dim] = max(sizes[dim], size)
    summed_first = set(call.arguments[6]) & expanded[2]
    first = prod(size for dim, size in enumerate(sizes) if dim not in expanded[0] & expanded[1])
    second = prod(size for dim, size in enumerate(sizes) if dim not in summed_first)
    return OperatorWork(2 * (first + second))


def _bilinear(call: OperatorCall) -> OperatorWork:
    rows, (out, left, right) = prod(call.shape(0)[:-1]), call.shape(2)
    return OperatorWork(2 * rows * out * (left * right + right))


def _distances(*, first: int, per_coordinate: int) -> Formula:
    def formula(call: OperatorCall) -> OperatorWork:
        a, b = call.shape(first), call.shape(first + 1)
        one = matmul_work(a, (*b[:-2], b[-1], b[-2]))
        return OperatorWork(one.flops // 2 * per_coordinate)

    return formula


def _euclidean(call: OperatorCall) -> OperatorWork:
    """One matrix product: of coordinates, norms and ones."""
    a, b = call.shape(0), call.shape(1)
    return matmul_work((*a[:-1], a[-1] + 2), (*b[:-2], b[-1] + 2, b[-2]))


def _pairs(*, first: int, per_coordinate: int) -> Formula:
    def formula(call: OperatorCall) -> OperatorWork:
        points, coordinates = call.shape(first)
        return OperatorWork(points * (points - 1) // 2 * coordinates * per_coordinate)

    return formula


def _fourier(whole: Shape, dims: list[int], *, is_real: bool) -> OperatorWork:
    """5 N log2(N) for each transform of N numbers, half of it where they are real."""
    points = prod(whole[dim] for dim in dims)
    return OperatorWork(round((2.5 if is_real else 5) * prod(whole) * log2(max(points, 1))))


CONTRACTIONS: Mapping[str, Formula] = {
    "einsum": _einsum,
    "_trilinear": _trilinear,
    "bilinear": _bilinear,
    "_euclidean_dist": _euclidean,
    # Difference, power, sum; with a root or a weight the way back.
    "cdist": _distances(first=0, per_coordinate=3),
    "_cdist_forward": _distances(first=0, per_coordinate=3),
    "_cdist_backward": _distances(first=1, per_coordinate=4),
    "_pdist_forward": _pairs(first=0, per_coordinate=3),
    "_pdist_backward": _pairs(first=1, per_coordinate=4),
    "_fft_r2c": lambda call: _fourier(call.shape(0), call.arguments[1], is_real=True),
    "_fft_c2r": lambda call: _fourier(call.result, call.arguments[1], is_real=True),
    "_fft_c2c": lambda call: _fourier(call.shape(0), call.arguments[1], is_real=False),
}
