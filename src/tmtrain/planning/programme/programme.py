"""A linear programme with named parts, its solution by HiGHS, and the bound that any multipliers prove.

::

    minimise    constant + cost x
                row_lower <= A x <= row_upper,   lower <= x <= upper,   all columns bounded

Note [Weak duality]
    Take any multiplier y_r for each row, of whatever sign. Where y_r > 0 it presses on the row's lower side, where y_r < 0
    on its upper side. An infinite side admits no pressure: y_r is then 0. For every feasible x

        constant + cost x >= constant + sum_r (y_r row_lower_r or y_r row_upper_r) + sum_j min_{lower_j..upper_j} d_j x_j

    with d = cost - y A. The right side is what `Programme.bound` returns: a number that no feasible x goes below, whoever
    found y. Nothing in it looks at a solution; bad multipliers make it small, never wrong.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from tmtrain.planning.programme.family import ColumnFamily, RowFamily
from tmtrain.planning.programme.highs import Constraints, minimise, minimise_integral
from tmtrain.planning.programme.printing import FIRST_ROWS, print_programme

AS_GOOD = 1e-8
"""Relative difference of two objectives that are equal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """Values of the columns and multipliers of the rows."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    value: float
    """Constant included, nudge not."""


@dataclass(slots=True)
class Programme:
    """Grows by families of columns and rows; then `solve` and `bound`, or `print` it.

    >>> programme = Programme(constant=7.0)
    >>> x = programme.add_columns("x", 2, upper=10.0, cost=[1.0, 3.0])
    >>> need = programme.add_rows("need", 1, lower=6.0, upper=np.inf)
    >>> programme.put(need, x, [1.0, 2.0])
    >>> print(programme)
    minimise
      7 + [1 .. 3]*x
    subject to
      need: 1 row, >=
        x[0] + 2*x[1] >= 6
    columns
      x: 2 in [0 .. 10]
    >>> programme.solve().x
    array([6., 0.])
    """

    constant: float = 0.0
    num_columns: int = 0
    num_rows: int = 0
    columns: dict[str, slice] = field(default_factory=dict[str, slice])
    """Where each family is among the columns."""
    rows: dict[str, slice] = field(default_factory=dict[str, slice])
    _column_families: list[ColumnFamily] = field(default_factory=list[ColumnFamily])
    _row_families: list[RowFamily] = field(default_factory=list[RowFamily])
    _entries: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = field(
        default_factory=list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]]
    )

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
        family = ColumnFamily(
            name=name,
            lower=_spread(lower, count),
            upper=_spread(upper, count),
            cost=_spread(cost, count),
            nudge=_spread(nudge, count),
        )
        self._column_families.append(family)
        return np.arange(first, first + count)

    def add_rows(self, name: str, count: int, *, lower: ArrayLike, upper: ArrayLike) -> NDArray[np.int64]:
        """Add `count` rows called `name`, empty so far; return their numbers."""
        first = self.num_rows
        self.rows[name] = slice(first, first + count)
        self.num_rows += count
        family = RowFamily(name=name, lower=_spread(lower, count), upper=_spread(upper, count))
        self._row_families.append(family)
        return np.arange(first, first + count)

    def put(self, rows: ArrayLike, columns: ArrayLike, values: ArrayLike) -> None:
        """Add `values` to the matrix at (`rows`, `columns`); the three broadcast against each other."""
        r, c, v = np.broadcast_arrays(
            np.asarray(rows, np.int64), np.asarray(columns, np.int64), np.asarray(values, float)
        )
        self._entries.append((r.ravel(), c.ravel(), v.ravel()))

    def add_constant(self, value: float) -> None:
        """Add to the objective what no column changes."""
        self.constant += value

    @property
    def cost(self) -> NDArray[np.float64]:
        """Of each column in the objective, shape (num_columns,)."""
        return _joined([family.cost for family in self._column_families])

    @property
    def nudge(self) -> NDArray[np.float64]:
        """Of each column, beside its cost, shape (num_columns,)."""
        return _joined([family.nudge for family in self._column_families])

    @property
    def column_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper bounds of the columns."""
        families = self._column_families
        return _joined([family.lower for family in families]), _joined([family.upper for family in families])

    @property
    def row_bounds(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper sides of the rows."""
        families = self._row_families
        return _joined([family.lower for family in families]), _joined([family.upper for family in families])

    def __str__(self) -> str:
        return self.describe()

    def describe(self, *, first_rows: int = FIRST_ROWS) -> str:
        """Return the programme as text: what is minimised, families of rows with the first of each, columns."""
        return print_programme(
            self._column_families,
            self._row_families,
            self.matrix(),
            constant=self.constant,
            first_rows=first_rows,
        )

    def solve(self, *, time_limit_s: float | None = None) -> Solution:
        """Solve by HiGHS.

        Raises:
            InfeasibleError: nothing satisfies the rows.
            TimeLimitError: the time is over.
            SolverError: it gave up.
        """
        cost = self.cost
        x, y = minimise(cost + self.nudge, self._constraints(), time_limit_s=time_limit_s)
        return Solution(x=x, y=y, value=self.constant + float(cost @ x))

    def solve_integral(
        self, integral: NDArray[np.int64], *, gap: float, time_limit_s: float
    ) -> NDArray[np.float64]:
        """Solve by HiGHS with these columns integral; return the best columns found, proved or out of time.

        Args:
            integral: Numbers of columns.
            gap: Relative optimality gap that is good enough.
            time_limit_s: When to stop.

        Raises:
            InfeasibleError: nothing satisfies the rows.
            TimeLimitError: the time is over and nothing was found.
            SolverError: it gave up.
        """
        return minimise_integral(self.cost, self._constraints(), integral, gap=gap, time_limit_s=time_limit_s)

    def _constraints(self) -> Constraints:
        (row_lower, row_upper), (lower, upper) = self.row_bounds, self.column_bounds
        return Constraints(
            matrix=self.matrix(), row_lower=row_lower, row_upper=row_upper, lower=lower, upper=upper
        )

    def matrix(self) -> csr_array:
        """Return A; entries put twice add up."""
        if not self._entries:
            return csr_array((self.num_rows, self.num_columns))
        r, c, v = (np.concatenate(part) for part in zip(*self._entries, strict=True))
        return csr_array((v, (r, c)), shape=(self.num_rows, self.num_columns))

    def bound(self, y: NDArray[np.float64]) -> float:
        """Return the lower bound of Note [Weak duality] for multipliers `y`, shape (num_rows,)."""
        (row_lower, row_upper), (lower, upper) = self.row_bounds, self.column_bounds
        side = np.where(y > 0, row_lower, row_upper)
        y = np.where(np.isfinite(side), y, 0.0)
        reduced = self.reduced_costs(y)
        best = np.where(reduced > 0, lower, upper)
        return self.constant + float(y @ np.where(np.isfinite(side), side, 0.0)) + float(reduced @ best)

    def charges(self, y: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return what makes up the reduced costs at prices `y`: the "cost" itself and what each family of rows charges.

        Each has shape (num_columns,); their sum is `reduced_costs`. Negative: the rows pay for the column.
        """
        A = self.matrix()
        charged = {name: -(y[rows] @ A[rows]) for name, rows in self.rows.items()}
        return {"cost": self.cost} | charged

    def reduced_costs(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return cost - y A, shape (num_columns,)."""
        return self.cost - y @ self.matrix()


def _spread(value: ArrayLike, count: int) -> NDArray[np.float64]:
    return np.broadcast_to(np.asarray(value, np.float64), (count,))


def _joined(parts: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(parts) if parts else np.zeros(0)
