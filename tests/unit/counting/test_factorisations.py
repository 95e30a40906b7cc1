"""Factorisations against loops that compute them, for matrices so large that leading terms are nearly all."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.calls import works_of

N, COLUMNS, BATCH = 40, 6, 3
aten = torch.ops.aten


def cholesky(a: np.ndarray) -> int:
    """Factorise in place, a product and a difference at a time; return how many FLOPs it took."""
    flops, n = 0, len(a)
    for j in range(n):
        a[j, j] = a[j, j] ** 0.5
        a[j + 1 :, j] /= a[j, j]
        flops += 1 + (n - j - 1)
        for k in range(j + 1, n):
            a[k:, k] -= a[k:, j] * a[k, j]
            flops += 2 * (n - k)
    return flops


def lu(a: np.ndarray) -> int:
    flops, n = 0, len(a)
    for j in range(n):
        a[j + 1 :, j] /= a[j, j]
        a[j + 1 :, j + 1 :] -= np.outer(a[j + 1 :, j], a[j, j + 1 :])
        flops += (n - j - 1) + 2 * (n - j - 1) ** 2
    return flops


def substitute(a: np.ndarray, b: np.ndarray) -> int:
    """Solve with the lower triangle of `a`, in `b`."""
    flops = 0
    for i in range(len(a)):
        b[i] = (b[i] - a[i, :i] @ b[:i]) / a[i, i]
        flops += (2 * i + 1) * b.shape[1]
    return flops


def householder(a: np.ndarray) -> int:
    """Make `a` triangular by reflections."""
    flops, (m, n) = 0, a.shape
    for j in range(n):
        v = a[j:, j].copy()
        v[0] += np.copysign(np.linalg.norm(v), v[0])
        v /= np.linalg.norm(v)
        a[j:, j:] -= 2 * np.outer(v, v @ a[j:, j:])
        flops += 4 * (m - j) * (n - j)
    return flops


def positive() -> np.ndarray:
    a = np.random.default_rng(0).standard_normal((N, N))
    return a @ a.T + N * np.eye(N)


MATRIX = torch.tensor(positive())


def test_the_loops_are_right() -> None:
    a, b = positive(), np.ones((N, COLUMNS))
    factor, right, tall = positive(), b.copy(), np.random.default_rng(0).standard_normal((N, 8))
    cholesky(factor)
    substitute(np.tril(factor), right)
    np.testing.assert_allclose(np.tril(factor) @ np.tril(factor).T, a)
    np.testing.assert_allclose(np.tril(factor) @ right, b)
    pair, triangle = positive(), tall.copy()
    lu(pair)
    np.testing.assert_allclose((np.tril(pair, -1) + np.eye(N)) @ np.triu(pair), a)
    householder(triangle)
    np.testing.assert_allclose(np.abs(np.triu(triangle)[:8]), np.abs(np.linalg.qr(tall).R), atol=1e-12)


@pytest.mark.parametrize(
    ("function", "flops"),
    [
        (lambda: aten.linalg_cholesky_ex(MATRIX), cholesky(positive())),
        (lambda: aten.linalg_lu_factor_ex(MATRIX), lu(positive())),
        (lambda: aten._linalg_det(MATRIX), lu(positive())),
        (lambda: aten.linalg_inv_ex(MATRIX), 3 * lu(positive())),
        (
            lambda: aten.linalg_solve_triangular(MATRIX, torch.ones(N, COLUMNS).double(), upper=False),
            substitute(positive(), np.ones((N, COLUMNS))),
        ),
        (
            lambda: aten.cholesky_solve(torch.ones(N, COLUMNS).double(), MATRIX),
            2 * substitute(positive(), np.ones((N, COLUMNS))),
        ),
        (
            lambda: aten._linalg_solve_ex(MATRIX, torch.ones(N, COLUMNS).double()),
            lu(positive()) + 2 * substitute(positive(), np.ones((N, COLUMNS))),
        ),
        (lambda: aten.geqrf(MATRIX[:, :20]), householder(positive()[:, :20])),
        (lambda: aten.linalg_qr(MATRIX[:, :20]), 2 * householder(positive()[:, :20])),
    ],
)
def test_leading_terms(function: Callable[[], Any], flops: int) -> None:
    [(_, work)] = works_of(function)
    assert work.flops == pytest.approx(flops, rel=0.06)


def test_batches_and_what_was_not_asked_for() -> None:
    batch = MATRIX.expand(BATCH, N, N)
    [(_, with_vectors), (_, without)] = works_of(
        lambda: (torch.linalg.eigh(batch), aten._linalg_eigh(batch, "L", False))
    )
    [(_, values)] = works_of(lambda: aten._linalg_svd(batch, False, False))
    # Golub and Van Loan, "Matrix Computations": 9 n cubed, 4/3 n cubed, and (4 - 4/3) n cubed.
    assert with_vectors == (BATCH * 9 * N**3, BATCH, N, N, N)
    assert without.flops == BATCH * 4 * N**3 // 3
    assert values.flops == BATCH * 8 * N**3 // 3
