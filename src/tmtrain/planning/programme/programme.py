"""A linear programme with named parts, its solution by HiGHS, and the bound that any multipliers prove.

::

    minimise    constant + cost x
                row_lower <= A x <= row_upper,   lower <= x <= upper,   all columns bounded

Note [Weak duality]
    Take any multiplier y_r for each row, of whatever sign. Where y_r > 0 it presses on the row's lower side, where y_r < 0
    on its upper side (an infinite side admits no pressure: y_r is then 0). For every feasible x

        constant + cost x >= constant + sum_r (y_r row_lower_r or y_r row_upper_r) + sum_j min_{lower_j..upper_j} d_j x_j

    with d = cost - y A. The right side is what `Programme.bound` returns: a number that no feasible x goes below, whoever
    found y. Nothing in it looks at a solution; bad multipliers make it small, never wrong.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp
from scipy.sparse import csr_array, vstack

from tmtrain.errors import InfeasibleError, SolverError, TimeLimitError

MANY_COLUMNS = 60_000
"""From here on the interior point method (with crossover to a vertex) beats the dual simplex."""

AS_GOOD = 1e-8
"""Relative difference of two objectives that are equal."""
_OUT_OF_TIME, _INFEASIBLE = 1, 2
"""What scipy's ``linprog`` and ``milp`` say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Values of the columns and multipliers of the rows."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    value: float
    """Constant included, nudge not."""


@dataclass(slots=True)
class Programme:
    """Grows by named columns and rows; then `solve` and `bound`."""

    constant: float = 0.0
    num_columns: int = 0
    num_rows: int = 0
    columns: dict[str, slice] = field(default_factory=dict[str, slice])
    rows: dict[str, slice] = field(default_factory=dict[str, slice])
    _cost: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    _nudge: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    _lower: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    _upper: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    _entries: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = field(
        default_factory=list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]
    )
    _row_lower: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])
    _row_upper: list[NDArray[np.float64]] = field(default_factory=list[NDArray[np.float64]])

    def add_columns(
        self,
        name: str,
        count: int,
        *,
        upper: ArrayLike,
        lower: ArrayLike = 0.0,
        cost: ArrayLike = 0.0,
        nudge: ArrayLike = 0.0,
    ) -> NDArray[np.int64]:
        """Add `count` columns called `name`; return their numbers.

        Args:
            name: For messages, certificates and tests.
            count: How many.
            lower: Finite.
            upper: Finite.
            cost: In the objective.
            nudge: Extra cost, in objective units, that chooses among optima; not part of the objective.
        """
        first = self.num_columns
        self.columns[name] = slice(first, first + count)
        self.num_columns += count
        for store, value in (
            (self._cost, cost),
            (self._nudge, nudge),
            (self._lower, lower),
            (self._upper, upper),
        ):
            store.append(np.broadcast_to(np.asarray(value, np.float64), (count,)))
        return np.arange(first, first + count)

    def add_rows(self, name: str, count: int, *, lower: ArrayLike, upper: ArrayLike) -> NDArray[np.int64]:
        """Add `count` rows called `name`, empty so far; return their numbers."""
        first = self.num_rows
        self.rows[name] = slice(first, first + count)
        self.num_rows += count
        self._row_lower.append(np.broadcast_to(np.asarray(lower, np.float64), (count,)))
        self._row_upper.append(np.broadcast_to(np.asarray(upper, np.float64), (count,)))
        return np.arange(first, first + count)

    def put(self, rows: ArrayLike, columns: ArrayLike, values: ArrayLike) -> None:
        """Add `values` to the matrix at (`rows`, `columns`); the three broadcast against each other."""
        r, c, v = np.broadcast_arrays(
            np.asarray(rows, np.int64), np.asarray(columns, np.int64), np.asarray(values, float)
        )
        self._entries.append((r.ravel(), c.ravel(), v.ravel()))

    def solve(self, *, time_limit_s: float | None = None) -> Solution:
        """Solve by HiGHS.

        Raises:
            InfeasibleError: nothing satisfies the rows.
            TimeLimitError: the time is over.
            SolverError: it gave up.
        """
        cost = _joined(self._cost)
        x, y = self._run(cost + _joined(self._nudge), None, time_limit_s)
        return Solution(x=x, y=y, value=self.constant + float(cost @ x))

    def solve_integral(
        self, integral: NDArray[np.int64], *, gap: float, time_limit_s: float
    ) -> NDArray[np.float64]:
        """Solve by HiGHS with these columns integral; return the best columns found, proved or out of time.

        Args:
            integral: Numbers of columns.
            gap: Relative; good enough.
            time_limit_s: When to stop.

        Raises:
            InfeasibleError: nothing satisfies the rows.
            TimeLimitError: the time is over and nothing was found.
            SolverError: it gave up.
        """
        whole = np.zeros(self.num_columns)
        whole[integral] = 1
        # Arrays, which scipy's stubs do not know of here.
        lower: Any = _joined(self._lower)
        upper: Any = _joined(self._upper)
        row_lower: Any = _joined(self._row_lower)
        row_upper: Any = _joined(self._row_upper)
        answer: Any = milp(
            _joined(self._cost),
            integrality=whole,
            bounds=Bounds(lower, upper),
            constraints=LinearConstraint(self.matrix(), row_lower, row_upper),
            options={"mip_rel_gap": gap, "time_limit": time_limit_s},
        )
        if answer.x is not None:
            return answer.x
        if answer.status == _OUT_OF_TIME:
            raise TimeLimitError(
                f"no solution of {len(integral)} integers was found within {time_limit_s:g} s",
                num_columns=self.num_columns,
                num_integers=len(integral),
                time_limit_s=time_limit_s,
            )
        if answer.status == _INFEASIBLE:
            raise InfeasibleError(f"no plan keeps the limits (proved over {self.num_rows} constraints)")
        raise SolverError(
            f"HiGHS did not solve the plan of {len(integral)} integers: {answer.message}",
            num_columns=self.num_columns,
            num_integers=len(integral),
        )

    def settle(
        self, found: Solution, *, cost: NDArray[np.float64], time_limit_s: float | None = None
    ) -> Solution:
        """Return, of all solutions as good as `found`, to within `AS_GOOD`, one of least `cost`; multipliers stay.

        Raises: as `solve`.
        """
        value = found.value - self.constant
        x, _ = self._run(cost, value + AS_GOOD * max(abs(value), 1e-9), time_limit_s)
        return Solution(x=x, y=found.y, value=found.value)

    def _run(
        self, cost: NDArray[np.float64], most: float | None, time_limit_s: float | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Minimise `cost`, where the objective costs at most `most`; return columns and multipliers."""
        A, lower, upper = self.matrix(), _joined(self._row_lower), _joined(self._row_upper)
        is_equal = lower == upper
        from_below = np.flatnonzero(np.isfinite(lower) & ~is_equal)
        from_above = np.flatnonzero(np.isfinite(upper) & ~is_equal)
        equal = np.flatnonzero(is_equal)
        parts, sides = [A[from_above], -A[from_below]], [upper[from_above], -lower[from_below]]
        if most is not None:
            objective = _joined(self._cost)
            size = float(np.abs(objective).max(initial=0.0)) or 1.0
            parts.append(csr_array(objective.reshape(1, -1) / size))
            sides.append(np.array([most / size]))
        scale = float(np.abs(cost).max(initial=0.0)) or 1.0
        answer: Any = linprog(
            cost / scale, A_ub=vstack(parts, format="csr"), b_ub=np.concatenate(sides),
            A_eq=A[equal], b_eq=lower[equal],
            bounds=np.column_stack([_joined(self._lower), _joined(self._upper)]),
            method="highs-ds" if self.num_columns < MANY_COLUMNS else "highs-ipm",
            options={} if time_limit_s is None else {"time_limit": time_limit_s},
        )  # fmt: skip
        if answer.status == _OUT_OF_TIME:
            raise TimeLimitError(
                f"the plan of {self.num_columns} columns takes longer than {time_limit_s:g} s",
                num_columns=self.num_columns,
                time_limit_s=time_limit_s,
            )
        if answer.status == _INFEASIBLE:
            raise InfeasibleError(f"no plan keeps the limits (proved over {self.num_rows} constraints)")
        if answer.status != 0:
            raise SolverError(
                f"HiGHS did not solve the plan of {self.num_columns} columns: {answer.message}",
                num_columns=self.num_columns,
            )
        y = np.zeros(self.num_rows)
        y[equal] = answer.eqlin.marginals
        y[from_above] += answer.ineqlin.marginals[: len(from_above)]
        y[from_below] -= answer.ineqlin.marginals[len(from_above) : len(from_above) + len(from_below)]
        return answer.x, y * scale

    def matrix(self) -> csr_array:
        """Return A; entries put twice add up."""
        if not self._entries:
            return csr_array((self.num_rows, self.num_columns))
        r, c, v = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        return csr_array((v, (r, c)), shape=(self.num_rows, self.num_columns))

    def bound(self, y: NDArray[np.float64]) -> float:
        """Return the lower bound of Note [Weak duality] for multipliers `y`, shape (num_rows,)."""
        row_lower, row_upper = _joined(self._row_lower), _joined(self._row_upper)
        side = np.where(y > 0, row_lower, row_upper)
        y = np.where(np.isfinite(side), y, 0.0)
        reduced = self.reduced_costs(y)
        best = np.where(reduced > 0, _joined(self._lower), _joined(self._upper))
        return self.constant + float(y @ np.where(np.isfinite(side), side, 0.0)) + float(reduced @ best)

    def charges(self, y: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return what makes up the reduced costs at prices `y`: the "cost" itself and what each family of rows charges.

        Each has shape (num_columns,); their sum is `reduced_costs`. Negative: the rows pay for the column.
        """
        A = self.matrix()
        charged = {name: -(y[rows] @ A[rows]) for name, rows in self.rows.items()}
        return {"cost": _joined(self._cost)} | charged

    def reduced_costs(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return cost - y A, shape (num_columns,)."""
        return _joined(self._cost) - y @ self.matrix()


def _joined(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(parts) if parts else np.zeros(0)
