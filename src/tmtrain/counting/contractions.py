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
    """``_trilinear``: for each item of the unrolled dimension the first two are multiplied, and the third with the result.

    Each time what nobody needs any more is summed up; where nothing is, a multiplication is all.
    """
    expanded, unrolled = [set(call.arguments[3 + i]) for i in range(3)], {*call.arguments[7:8]} or {1}
    sizes = _united([call.shape(i) for i in range(3)], expanded)
    sums = set(call.arguments[6]) - unrolled
    early, late = sums & expanded[2], sums - expanded[2]
    first = prod(size for dim, size in enumerate(sizes) if dim not in expanded[0] & expanded[1])
    second = prod(size for dim, size in enumerate(sizes) if dim not in early)
    return OperatorWork(first * (2 if early else 1) + second * (2 if late else 1))


def _united(shapes: list[Shape], expanded: list[set[int]]) -> list[int]:
    """Size of each dimension that any of the tensors has."""
    sizes = [1] * (len(shapes[0]) + len(expanded[0]))
    for shape, absent in zip(shapes, expanded, strict=True):
        present = [dim for dim in range(len(sizes)) if dim not in absent]
        for dim, size in zip(present, shape, strict=True):
            sizes[dim] = max(sizes[dim], size)
    return sizes


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
