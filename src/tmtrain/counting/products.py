"""Matrix products."""

from collections.abc import Mapping
from math import prod

from tmtrain.counting.call import OperatorCall, Shape
from tmtrain.counting.formula import Formula
from tmtrain.counting.work import OperatorWork, product_work


def matmul_work(a: Shape, b: Shape, *, products: int = 1) -> OperatorWork:
    """Return the work of ``a @ b``: vectors, matrices, or batches of matrices that are broadcast.

    >>> matmul_work((8, 3, 5), (5, 7))
    OperatorWork(flops=1680, batch=1, m=24, n=7, k=5)
    """
    if len(b) <= 2:
        return product_work(1, prod(a[:-1]), prod(b[1:]), a[-1], products=products)
    batch = prod(_broadcast(a[:-2], b[:-2]))
    return product_work(batch, prod(a[-2:-1]), b[-1], a[-1], products=products)


def _broadcast(a: Shape, b: Shape) -> Shape:
    length = max(len(a), len(b))
    a, b = (1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b
    return tuple(y if x == 1 else x for x, y in zip(a, b, strict=True))


def _of(left: int, right: int) -> Formula:
    return lambda call: matmul_work(call.shape(left), call.shape(right))


def _linear(call: OperatorCall) -> OperatorWork:
    return _rows_by_weight(call.shape(0), call.shape(1))


def _rows_by_weight(rows: Shape, weight: Shape, *, products: int = 1) -> OperatorWork:
    """A weight of the form (out, in)."""
    return product_work(1, prod(rows[:-1]), prod(weight[:-1]), weight[-1], products=products)


def _packed(call: OperatorCall) -> OperatorWork:
    """A weight in a form of its own: only the result tells how many columns it has."""
    rows = call.shape(0)
    return product_work(1, prod(rows[:-1]), call.result[-1], rows[-1])


def _linear_backward(call: OperatorCall) -> OperatorWork:
    return _rows_by_weight(call.shape(0), call.shape(2), products=sum((call.wanted(3) or (True, True))[:2]))


def _matmul_backward(call: OperatorCall) -> OperatorWork:
    return matmul_work(call.shape(1), call.shape(2), products=sum(call.wanted(3) or (True, True)))


def _outer(call: OperatorCall) -> OperatorWork:
    return product_work(1, call.shape(1)[0], call.shape(2)[0], 1)


def _grouped(call: OperatorCall) -> OperatorWork:
    """Products of groups of rows, each with its own matrix; where the groups end is in a tensor.

    Of a matrix every row is in one group, so the sum needs no ends. The dimensions are those of groups of one size.
    """
    a, b = call.shape(0), call.shape(1)
    if len(a) == len(b) == 3:
        return matmul_work(a, b)
    if len(a) == len(b) == 2:  # groups along the dimension that is summed: a result for each
        groups, m, n, k = call.result[0], a[0], b[1], a[1]
        return OperatorWork(2 * m * n * k, groups, m, n, -(-k // groups))
    if len(a) == 2:
        groups, m, n, k = b[0], a[0], b[2], a[1]
        return OperatorWork(2 * m * n * k, groups, -(-m // groups), n, k)
    groups, m, n, k = a[0], a[1], b[1], a[2]
    return OperatorWork(2 * m * n * k, groups, m, -(-n // groups), k)


def _each(call: OperatorCall) -> OperatorWork:
    """``_foreach_mm``: lists of matrices; the dimensions are those of the first."""
    works = [matmul_work(a, b) for a, b in zip(call.shapes(0), call.shapes(1), strict=True)]
    return works[0]._replace(flops=sum(work.flops for work in works))


_PLAIN = (
    "mm",
    "bmm",
    "mv",
    "dot",
    "vdot",
    "matmul",
    "linalg_matmul",
    "_int_mm",
    "_scaled_mm",
    "_scaled_mm_v2",
)
_ADDED_TO = ("addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation")
_PACKED = ("_mkl_linear", "_weight_int4pack_mm", "_weight_int4pack_mm_for_cpu", "_weight_int8pack_mm")
_GROUPED = ("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2")
PRODUCTS: Mapping[str, Formula] = {
    **dict.fromkeys(_PLAIN, _of(0, 1)),
    **dict.fromkeys(_ADDED_TO, _of(1, 2)),
    **dict.fromkeys(("linear", "mkldnn_linear", "_linear_pointwise"), _linear),
    **dict.fromkeys(_PACKED, _packed),
    **dict.fromkeys(_GROUPED, _grouped),
    "_foreach_mm": _each,
    "linear_backward": _linear_backward,
    "matmul_backward": _matmul_backward,
    "addr": _outer,
}
