"""Note [Weak duality]: whoever finds the multipliers, the bound is one; the solver's reach the optimum."""

import numpy as np
import pytest
from tests.support.solver import Oracle

from tmtrain.errors import InfeasibleError, SolverError
from tmtrain.planning.programme.programme import Programme


def random_programme(seed: int, *, nudge: float = 0.0) -> tuple[Programme, Oracle]:
    """Make a feasible bounded programme with rows of every kind, and the same one for the oracle (columns from 0)."""
    rng = np.random.default_rng(seed)
    n, m = int(rng.integers(2, 9)), int(rng.integers(1, 9))
    upper, cost = rng.uniform(0.5, 4, n), rng.normal(0, 10.0 ** rng.integers(-3, 6), n)
    A = rng.normal(0, 1, (m, n)) * (rng.random((m, n)) < 0.6)
    inside = A @ (upper * rng.random(n))
    kind = rng.integers(0, 4, m)
    low = np.where(kind == 0, -np.inf, inside - (kind != 3) * rng.uniform(0, 1, m))
    high = np.where(kind == 1, np.inf, np.where(kind == 3, low, inside + rng.uniform(0, 1, m)))
    programme, oracle = Programme(constant=7.0), Oracle()
    half = n // 2
    for name, part in (("some", slice(0, half)), ("others", slice(half, n))):
        programme.add_columns(
            name, len(cost[part]), upper=upper[part], cost=cost[part], nudge=nudge * np.abs(cost[part])
        )
    rows = programme.add_rows("rows", m, lower=low, upper=high)
    programme.put(rows[:, None], np.arange(n)[None, :], A)
    for c, most in zip(cost.tolist(), upper.tolist(), strict=True):
        oracle.column(c, most=most)
    for r in range(m):
        row = {j: float(A[r, j]) for j in range(n) if A[r, j]}
        if not row:
            continue
        if low[r] == high[r]:
            oracle.equal(row, float(low[r]))
            continue
        if np.isfinite(high[r]):
            oracle.at_most(row, float(high[r]))
        if np.isfinite(low[r]):
            oracle.at_least(row, float(low[r]))
    return programme, oracle


@pytest.mark.parametrize("seed", range(80))
def test_the_optimum_is_that_of_another_solver_and_the_multipliers_prove_it(seed: int) -> None:
    programme, oracle = random_programme(seed)
    solution, truth = programme.solve(), 7.0 + oracle.optimum()
    scale = max(1.0, *np.abs(oracle.cost))
    assert solution.value == pytest.approx(truth, abs=1e-6 * scale)
    assert programme.bound(solution.y) == pytest.approx(truth, abs=1e-6 * scale)


@pytest.mark.parametrize("seed", range(80))
def test_no_multipliers_prove_more_than_the_optimum(seed: int) -> None:
    programme, _ = random_programme(seed)
    best, rng = programme.solve(), np.random.default_rng(seed)
    slack = 1e-6 * max(1.0, abs(best.value))
    for spread in (0.01, 1.0, 100.0):
        for y in (
            rng.normal(0, spread, programme.num_rows),
            best.y + rng.normal(0, spread, programme.num_rows),
        ):
            assert programme.bound(y) <= best.value + slack


@pytest.mark.parametrize("seed", range(20))
def test_a_nudge_is_relative_to_the_prices(seed: int) -> None:
    """Whatever the unit of the objective, a nudge of a millionth moves the optimum and its bound by no more than that."""
    plain, nudged = random_programme(seed)[0].solve(), random_programme(seed, nudge=1e-6)[0]
    solution = nudged.solve()
    scale = 1e-5 * max(1.0, float(np.abs(nudged.cost).max()))
    assert solution.value == pytest.approx(plain.value, abs=scale)
    assert nudged.bound(solution.y) == pytest.approx(plain.value, abs=scale * 8)


def test_entries_put_twice_add_up() -> None:
    programme = Programme()
    x = programme.add_columns("x", 1, upper=10.0, cost=1.0)
    row = programme.add_rows("row", 1, lower=6.0, upper=np.inf)
    programme.put(row, x, 1.0)
    programme.put(row, x, 2.0)
    assert programme.solve().value == pytest.approx(2.0)
    assert (programme.columns["x"], programme.rows["row"]) == (slice(0, 1), slice(0, 1))


def test_what_cannot_be_is_refused() -> None:
    programme = Programme()
    x = programme.add_columns("x", 1, upper=1.0)
    programme.put(programme.add_rows("row", 1, lower=2.0, upper=np.inf), x, 1.0)
    with pytest.raises((InfeasibleError, SolverError)):
        programme.solve()


def test_a_programme_is_printed_in_small() -> None:
    programme = Programme(constant=1.0)
    x = programme.add_columns("x", 8, lower=-1.0, upper=[*range(8)], cost=0.5)
    y = programme.add_columns("y", 1, upper=2.0)
    programme.add_columns("none", 0, upper=1.0)
    both = programme.add_rows("both", 3, lower=[1.0, -np.inf, 0.0], upper=[1.0, 3.0, 4.0])
    programme.put(both[:, None], x[:2], [[-1.0, 1 / 3]])
    programme.put(both[2], y, 2.0)
    programme.add_rows("empty", 0, lower=0.0, upper=0.0)
    programme.put(programme.add_rows("long", 1, lower=0.0, upper=np.inf), np.append(x, y), 1.0)
    assert programme.describe(first_rows=3).splitlines() == [
        "minimise",
        "  1 + 0.5*x",
        "subject to",
        "  both: 3 rows, <= and == and between",
        "    -x[0] + 0.3333*x[1] == 1",
        "    -x[0] + 0.3333*x[1] <= 3",
        "    0 <= -x[0] + 0.3333*x[1] + 2*y[0] <= 4",
        "  long: 1 row, >=",
        "    x[0] + x[1] + x[2] + x[3] + x[4] + x[5] + ... 3 more >= 0",
        "columns",
        "  x: 8 in [-1 .. 7]",
        "  y: 1 in [0 .. 2]",
    ]
    assert str(programme).splitlines()[6] == "    ... 1 more"


def test_what_adds_up_to_nothing_is_not_printed() -> None:
    programme = Programme()
    x = programme.add_columns("x", 2, upper=1.0)
    row = programme.add_rows("row", 1, lower=0.0, upper=np.inf)
    programme.put(row, x, 1.0)
    programme.put(row, x[0], -1.0)
    assert "    x[1] >= 0" in str(programme).splitlines()
