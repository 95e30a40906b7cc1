"""Factorisations, as Golub and Van Loan count them ("Matrix Computations", 4th edition, 2013): leading terms.

Cholesky: section 4.2.5; LU: 3.2.9; triangular systems: 3.1.4; QR: 5.2.2; eigenvalues: 8.3.3 (symmetric), 7.5.6; singular
values: 8.6.4. Blocked, they consist of matrix products mostly, so they have the dimensions of one.
"""

from collections.abc import Callable, Mapping
from math import prod

from tmtrain.counting.call import OperatorCall, Shape
from tmtrain.counting.formula import Formula
from tmtrain.counting.work import OperatorWork

Count = Callable[[int, int], float]
"""FLOPs of an m x n matrix, m at least n."""


def _always(count: Count) -> Formula:
    return lambda call: _of(call.shape(0), count)


def _either(flag: int, *, yes: Count, no: Count) -> Formula:
    """Depends on the flag at this position, which counts as true where it is left out."""

    def formula(call: OperatorCall) -> OperatorWork:
        is_no = len(call.arguments) > flag and call.arguments[flag] is False
        return _of(call.shape(0), no if is_no else yes)

    return formula


def _of(matrix: Shape, count: Count) -> OperatorWork:
    """Work on a batch of matrices, m x n with m at least n."""
    batch, n, m = prod(matrix[:-2]), *sorted(matrix[-2:])
    return OperatorWork(round(batch * count(m, n)), batch, m, n, n)


def _solve(*, matrix: int, right: int, cubes: float, squares: float) -> Formula:
    """Factorise (`cubes` times n cubed), then solve for each column (`squares` times n squared)."""

    def formula(call: OperatorCall) -> OperatorWork:
        a, b = call.shape(matrix), call.shape(right)
        n, batch = a[-1], max(prod(a[:-2]), prod(b[:-2]) if len(b) > 1 else 1)
        columns = max(1, prod(b) // (n * batch))
        return OperatorWork(round(batch * (cubes * n**3 + squares * n**2 * columns)), batch, n, columns, n)

    return formula


def _householder(m: int, n: int) -> float:
    return 2 * m * n**2 - 2 / 3 * n**3


def _qr(call: OperatorCall) -> OperatorWork:
    # R, and as much again for Q.
    times = 1 if "r" in call.arguments[1:2] else 2
    return _of(call.shape(0), lambda m, n: times * _householder(m, n))


def _cubes(cubes: float) -> Formula:
    return _always(lambda _m, n: cubes * n**3)


FACTORISATIONS: Mapping[str, Formula] = {
    **dict.fromkeys(("linalg_cholesky_ex", "cholesky", "linalg_ldl_factor_ex"), _cubes(1 / 3)),
    **dict.fromkeys(("linalg_lu_factor_ex", "linalg_lu", "_linalg_det", "_linalg_slogdet"), _cubes(2 / 3)),
    "linalg_inv_ex": _cubes(2),
    "cholesky_inverse": _cubes(2 / 3),
    "_linalg_solve_ex": _solve(matrix=0, right=1, cubes=2 / 3, squares=2),
    "linalg_solve_triangular": _solve(matrix=0, right=1, cubes=0, squares=1),
    "triangular_solve": _solve(matrix=1, right=0, cubes=0, squares=1),
    "cholesky_solve": _solve(matrix=1, right=0, cubes=0, squares=2),
    "linalg_lu_solve": _solve(matrix=0, right=2, cubes=0, squares=2),
    "linalg_qr": _qr,
    **dict.fromkeys(("geqrf", "linalg_householder_product"), _always(_householder)),
    "_linalg_eigh": _either(2, yes=lambda _m, n: 9 * n**3, no=lambda _m, n: 4 / 3 * n**3),
    "linalg_eig": _cubes(25),
    "_linalg_eigvals": _cubes(10),
    "_linalg_svd": _either(
        2, yes=lambda m, n: 14 * m * n**2 + 8 * n**3, no=lambda m, n: 4 * m * n**2 - 4 / 3 * n**3
    ),
}
