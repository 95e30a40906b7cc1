"""HiGHS, by way of scipy: a linear programme in arrays, its solution, and why there is none."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array, vstack

from tmtrain.errors import InfeasibleError, SolverError, TimeLimitError

MANY_COLUMNS = 60_000
"""From here on the interior point method (with crossover to a vertex) beats the dual simplex."""
_OUT_OF_TIME, _INFEASIBLE = 1, 2
"""What scipy's ``linprog`` and ``milp`` say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """row_lower <= matrix x <= row_upper, lower <= x <= upper."""

    matrix: csr_array
    row_lower: NDArray[np.float64]
    row_upper: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """One more row: `cost` x <= `most`."""

    cost: NDArray[np.float64]
    most: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sides:
    """Rows by the sides that bind: HiGHS by way of scipy knows A x <= b and A x = b only."""

    equal: NDArray[np.int64]
    above: NDArray[np.int64]
    """Rows with an upper side."""
    below: NDArray[np.int64]
    """Rows with a lower side."""


def minimise(
    cost: NDArray[np.float64],
    constraints: Constraints,
    *,
    ceiling: Ceiling | None = None,
    time_limit_s: float | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minimise `cost` x; return x and the multipliers of the rows, that of the ceiling left out.

    Raises:
        InfeasibleError: nothing satisfies the rows.
        TimeLimitError: the time is over.
        SolverError: HiGHS gave up.
    """
    A, sides = constraints.matrix, _find_sides(constraints)
    limits, most = _inequalities(constraints, sides, ceiling)
    num_rows, num_columns = len(constraints.row_lower), len(cost)
    # HiGHS judges optimality by absolute tolerances: costs near 1 make them relative.
    scale = float(np.abs(cost).max(initial=0.0)) or 1.0
    answer: Any = linprog(
        cost / scale,
        A_ub=limits,
        b_ub=most,
        A_eq=A[sides.equal],
        b_eq=constraints.row_lower[sides.equal],
        bounds=np.column_stack([constraints.lower, constraints.upper]),
        method="highs-ds" if num_columns < MANY_COLUMNS else "highs-ipm",
        options={} if time_limit_s is None else {"time_limit": time_limit_s},
    )
    if answer.status == _OUT_OF_TIME:
        raise TimeLimitError(
            f"the plan of {num_columns} columns takes longer than {time_limit_s:g} s",
            num_columns=num_columns,
            time_limit_s=time_limit_s,
        )
    if answer.status == _INFEASIBLE:
        raise InfeasibleError(f"no plan keeps the limits (proved over {num_rows} constraints)")
    if answer.status != 0:
        raise SolverError(
            f"HiGHS did not solve the plan of {num_columns} columns: {answer.message}",
            num_columns=num_columns,
        )
    return answer.x, _multipliers(answer, sides, num_rows=num_rows) * scale


def minimise_integral(
    cost: NDArray[np.float64],
    constraints: Constraints,
    integral: NDArray[np.int64],
    *,
    gap: float,
    time_limit_s: float,
) -> NDArray[np.float64]:
    """Minimise `cost` x with the `integral` columns whole; return the best x found, proved or out of time.

    Raises: as `minimise`; TimeLimitError where nothing was found.
    """
    whole = np.zeros(len(cost))
    whole[integral] = 1
    # Arrays, which scipy's stubs do not know of here.
    bounds: Any = (constraints.lower, constraints.upper)
    sides: Any = (constraints.row_lower, constraints.row_upper)
    answer: Any = milp(
        cost,
        integrality=whole,
        bounds=Bounds(*bounds),
        constraints=LinearConstraint(constraints.matrix, *sides),
        options={"mip_rel_gap": gap, "time_limit": time_limit_s},
    )
    if answer.x is not None:
        return answer.x
    if answer.status == _OUT_OF_TIME:
        raise TimeLimitError(
            f"no solution of {len(integral)} integers was found within {time_limit_s:g} s",
            num_columns=len(cost),
            num_integers=len(integral),
            time_limit_s=time_limit_s,
        )
    if answer.status == _INFEASIBLE:
        raise InfeasibleError(
            f"no plan keeps the limits (proved over {len(constraints.row_lower)} constraints)"
        )
    raise SolverError(
        f"HiGHS did not solve the plan of {len(integral)} integers: {answer.message}",
        num_columns=len(cost),
        num_integers=len(integral),
    )


def _find_sides(constraints: Constraints) -> _Sides:
    lower, upper = constraints.row_lower, constraints.row_upper
    is_equal = lower == upper
    return _Sides(
        equal=np.flatnonzero(is_equal),
        above=np.flatnonzero(np.isfinite(upper) & ~is_equal),
        below=np.flatnonzero(np.isfinite(lower) & ~is_equal),
    )


def _inequalities(
    constraints: Constraints, sides: _Sides, ceiling: Ceiling | None
) -> tuple[csr_array, NDArray[np.float64]]:
    """Return the rows that are not equations as A x <= b: those from above, those from below, the ceiling."""
    A = constraints.matrix
    parts = [A[sides.above], -A[sides.below]]
    most = [constraints.row_upper[sides.above], -constraints.row_lower[sides.below]]
    if ceiling is not None:
        # Rows have entries near 1, prices have not: without a scale the ceiling is within any tolerance.
        scale = float(np.abs(ceiling.cost).max(initial=0.0)) or 1.0
        parts.append(csr_array(ceiling.cost.reshape(1, -1) / scale))
        most.append(np.array([ceiling.most / scale]))
    return csr_array(vstack(parts, format="csr")), np.concatenate(most)


def _multipliers(answer: Any, sides: _Sides, *, num_rows: int) -> NDArray[np.float64]:
    """Return the multipliers in the order of the rows, positive where the lower side binds."""
    y = np.zeros(num_rows)
    y[sides.equal] = answer.eqlin.marginals
    above, below = len(sides.above), len(sides.below)
    y[sides.above] += answer.ineqlin.marginals[:above]
    y[sides.below] -= answer.ineqlin.marginals[above : above + below]
    return y
