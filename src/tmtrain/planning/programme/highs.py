"""HiGHS: a linear programme in arrays, its solution and the basis that it rests on, and why there is none."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from highspy import Highs, HighsBasis, HighsBasisStatus, HighsLp, HighsModelStatus, MatrixFormat
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from tmtrain.errors import InfeasibleError, SolverError, TimeLimitError

MANY_COLUMNS = 60_000
"""From here on the interior point method (with crossover to a vertex) beats a simplex that starts from nothing."""
LOWER, BASIC, UPPER = (
    int(s) for s in (HighsBasisStatus.kLower, HighsBasisStatus.kBasic, HighsBasisStatus.kUpper)
)
"""Of a column or row in a basis: at its lower side, between both, at its upper side."""
DUAL_SIMPLEX, PRIMAL_SIMPLEX = 1, 4
"""HiGHS's numbers for them."""
_OUT_OF_TIME, _INFEASIBLE = 1, 2
"""What scipy's ``milp`` says."""
_STATUS = {int(status): status for status in HighsBasisStatus.__members__.values()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraints:
    """row_lower <= matrix x <= row_upper, lower <= x <= upper."""

    matrix: csr_array
    row_lower: NDArray[np.float64]
    row_upper: NDArray[np.float64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """`LOWER`, `BASIC` or `UPPER` for each column and each row."""

    columns: NDArray[np.int8]
    rows: NDArray[np.int8]


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeLimit:
    """Seconds for a programme, counted from when this was made; None: no limit."""

    seconds: float | None = None
    begin: float = field(default_factory=time.monotonic)

    @property
    def left_s(self) -> float:
        """Seconds that are left, at least 0."""
        return (
            float("inf") if self.seconds is None else max(self.begin + self.seconds - time.monotonic(), 0.0)
        )


class Solver:
    """A linear programme inside HiGHS, which can be changed and goes on from the basis of its last solution."""

    def __init__(
        self, cost: NDArray[np.float64], constraints: Constraints, *, limit: TimeLimit | None = None
    ) -> None:
        self._limit = limit or TimeLimit()
        # HiGHS judges optimality by absolute tolerances: costs near 1 make them relative.
        self._scale = float(np.abs(cost).max(initial=0.0)) or 1.0
        self._highs = Highs()
        self._set("output_flag", False)
        self._set("threads", 1)
        self._highs.passModel(_linear_programme(cost / self._scale, constraints))

    def use_interior_point(self) -> None:
        """Solve by the interior point method, with crossover to a vertex."""
        self._set("solver", "ipm")

    def start_from(self, basis: Basis) -> None:
        """Begin with this basis, near the optimum, which perturbed costs would lead away from."""
        start = HighsBasis()
        start.col_status = [_STATUS[s] for s in basis.columns.tolist()]
        start.row_status = [_STATUS[s] for s in basis.rows.tolist()]
        start.valid = True
        self._highs.setBasis(start)
        self._set("dual_simplex_cost_perturbation_multiplier", 0.0)

    def add_columns(self, *, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
        """Add columns without costs and, so far, in no row."""
        nothing = np.zeros(0, np.int32)
        cost, start = np.zeros(len(lower)), np.zeros(len(lower), np.int32)
        self._highs.addCols(len(lower), cost, lower, upper, 0, start, nothing, np.zeros(0))

    def add_rows(self, matrix: csr_array, *, lower: NDArray[np.float64], upper: NDArray[np.float64]) -> None:
        """Add rows, which the solution so far may break."""
        start, column = np.asarray(matrix.indptr[:-1], np.int32), np.asarray(matrix.indices, np.int32)
        value = np.asarray(matrix.data, np.float64)
        self._highs.addRows(len(lower), lower, upper, len(column), start, column, value)
        # It is still optimal for the others: what the dual simplex starts from.
        self._set("simplex_strategy", DUAL_SIMPLEX)

    def change_cost(self, cost: NDArray[np.float64]) -> None:
        """Minimise `cost` from now on."""
        self._scale = float(np.abs(cost).max(initial=0.0)) or 1.0
        self._highs.changeColsCost(len(cost), np.arange(len(cost), dtype=np.int32), cost / self._scale)
        # The solution so far keeps all rows, but is optimal no more.
        self._set("simplex_strategy", PRIMAL_SIMPLEX)

    def run(self) -> None:
        """Solve.

        Raises:
            InfeasibleError: nothing satisfies the rows.
            TimeLimitError: the time is over.
            SolverError: HiGHS gave up.
        """
        self._set("time_limit", self._highs.getRunTime() + self._limit.left_s)
        self._highs.run()
        status, columns = self._highs.getModelStatus(), self._highs.getNumCol()
        if status == HighsModelStatus.kOptimal:
            return
        if status == HighsModelStatus.kTimeLimit:
            raise TimeLimitError(
                f"the plan of {columns} columns takes longer than {self._limit.seconds:g} s",
                num_columns=columns,
                time_limit_s=self._limit.seconds,
            )
        # All columns are bounded: what is one or the other is infeasible.
        if status in (HighsModelStatus.kInfeasible, HighsModelStatus.kUnboundedOrInfeasible):
            raise InfeasibleError(
                f"no plan keeps the limits (proved over {self._highs.getNumRow()} constraints)"
            )
        raise SolverError(
            f"HiGHS did not solve the plan of {columns} columns: {self._highs.modelStatusToString(status)}",
            num_columns=columns,
        )

    @property
    def x(self) -> NDArray[np.float64]:
        """Values of the columns in the last solution."""
        return np.array(self._highs.getSolution().col_value)

    @property
    def y(self) -> NDArray[np.float64]:
        """Multipliers of the rows, positive where the lower side binds."""
        return np.array(self._highs.getSolution().row_dual) * self._scale

    @property
    def basis(self) -> Basis:
        """What the last solution rests on."""
        basis = self._highs.getBasis()
        return Basis(
            columns=np.array([int(s) for s in basis.col_status], np.int8),
            rows=np.array([int(s) for s in basis.row_status], np.int8),
        )

    def _set(self, option: str, value: Any) -> None:
        self._highs.setOptionValue(option, value)


def minimise(
    cost: NDArray[np.float64], constraints: Constraints, *, time_limit_s: float | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Minimise `cost` x from nothing; return x and the multipliers of the rows.

    Raises: as `Solver.run`.
    """
    solver = Solver(cost, constraints, limit=TimeLimit(seconds=time_limit_s))
    if len(cost) >= MANY_COLUMNS:
        solver.use_interior_point()
    solver.run()
    return solver.x, solver.y


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


def _linear_programme(cost: NDArray[np.float64], constraints: Constraints) -> HighsLp:
    programme, matrix = HighsLp(), constraints.matrix
    programme.num_row_, programme.num_col_ = len(constraints.row_lower), len(cost)
    programme.col_cost_ = cost
    programme.col_lower_, programme.col_upper_ = constraints.lower, constraints.upper
    programme.row_lower_, programme.row_upper_ = constraints.row_lower, constraints.row_upper
    programme.a_matrix_.format_ = MatrixFormat.kRowwise
    programme.a_matrix_.start_ = np.asarray(matrix.indptr, np.int32)
    programme.a_matrix_.index_ = np.asarray(matrix.indices, np.int32)
    programme.a_matrix_.value_ = np.asarray(matrix.data, np.float64)
    return programme
