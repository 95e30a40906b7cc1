"""A level in the solver: it grows by the rows that its solutions break.

Note [Late rows]
    Every slice has a row of [Capacity], almost every one a row of [In time], and of thousands a handful binds. A stage
    begins without them, but for the slices at the ends of its bins. It looks which ones the solution breaks, adds those
    (of [Capacity] the worst of each bin), and goes on from the basis that it has, until none is broken. A row that is
    not there has the multiplier 0. [In time] is about a bin of the whole programme, so it waits for the last level.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array, vstack

from tmtrain.planning.programme.highs import Basis, Constraints, Solver, TimeLimit
from tmtrain.planning.programme.levels.grid import Grid
from tmtrain.planning.programme.levels.reduction import find_substitutes, slices_of, sum_rows, sums_of_level
from tmtrain.planning.programme.levels.whole import Whole

BROKEN = 1e-6
"""By how much, in units of the programme, a row is broken; HiGHS keeps the rows that it has to within a tenth."""


class Stage:
    """A level of a programme in HiGHS, with the late rows that were needed: Note [Late rows]."""

    def __init__(self, whole: Whole, grid: Grid, *, slices: Sequence[int], limit: TimeLimit) -> None:
        self._whole, self._grid = whole, grid
        sums = sums_of_level(whole.model, grid)
        self._total, self._rows = sums.total, sums.last
        self._substitute = find_substitutes(whole.model, grid)
        self._columns = np.flatnonzero(self._substitute == np.arange(len(self._substitute)))
        self._solver = Solver(whole.cost[self._columns], self._constraints(), limit=limit)
        self._ends = slices_of(whole.model, grid)
        self.late_slices: list[int] = []
        self._add_slices(np.setdiff1d(np.array(slices, np.int64), self._ends))

    def _constraints(self) -> Constraints:
        whole = self._whole
        # Columns that are one may hold as much as all of them.
        upper = np.zeros(len(whole.cost))
        known = self._substitute >= 0
        np.add.at(upper, self._substitute[known], whole.upper[known])
        return Constraints(
            matrix=self._of_kept(self._total @ whole.matrix),
            row_lower=self._total @ whole.row_lower,
            row_upper=self._total @ whole.row_upper,
            lower=whole.lower[self._columns],
            upper=upper[self._columns],
        )

    def _of_kept(self, rows: csr_array) -> csr_array:
        kept = csr_array(csc_array(rows)[:, self._columns])
        kept.eliminate_zeros()
        return kept

    def start_from(self, basis: Basis) -> None:
        """Begin with a basis of the whole programme's columns and rows."""
        self._solver.start_from(Basis(columns=basis.columns[self._columns], rows=basis.rows[self._rows]))

    def solve(self) -> None:
        """Solve, add what is broken, until nothing is."""
        self._solver.run()
        while self._add_broken():
            self._solver.run()

    def settle(self, cost: NDArray[np.float64], *, most: float) -> None:
        """Among the solutions that cost no more than `most`, find one of least `cost`; after that there is only `x`."""
        price = self._whole.programme.cost
        # Rows have entries near 1, prices have not: without a scale the row is within any tolerance.
        scale = float(np.abs(price).max(initial=0.0)) or 1.0
        row = csr_array(price[self._columns].reshape(1, -1) / scale)
        self._solver.add_rows(row, lower=np.array([-np.inf]), upper=np.array([most / scale]))
        self._solver.change_cost(cost[self._columns])
        self.solve()

    def prove(self) -> NDArray[np.float64]:
        """Return the multipliers of the whole programme's rows at the cost without nudges."""
        self._solver.change_cost(self._whole.programme.cost[self._columns])
        self._solver.run()
        return self._total.T @ self._solver.y

    @property
    def x(self) -> NDArray[np.float64]:
        """The solution in columns of the whole programme; of those that are one, the last has it all."""
        x = np.zeros(len(self._whole.cost))
        x[self._columns] = self._solver.x
        x[self._whole.absent] = self._whole.absent_pages(x)
        return x

    @property
    def basis(self) -> Basis:
        """The basis in columns and rows of the whole programme; -1 for those that are not here."""
        own = self._solver.basis
        columns = np.full(len(self._whole.cost), -1, np.int8)
        rows = np.full(len(self._whole.row_lower), -1, np.int8)
        columns[self._columns], rows[self._rows] = own.columns, own.rows
        return Basis(columns=columns, rows=rows)

    def _add_broken(self) -> bool:
        whole, x = self._whole, self.x
        short = whole.lower[whole.absent] - x[whole.absent]
        broken = self._new(np.flatnonzero(short > BROKEN), whole.absence)
        worst = broken[np.lexsort((-short[broken], whole.bin_of(broken)))]
        worst = worst[np.diff(whole.bin_of(worst), prepend=-1) > 0]
        self._add_slices(worst)
        if not self._grid.is_whole:
            return len(worst) > 0
        late = self._new(np.flatnonzero(whole.not_in_time(x) > BROKEN), whole.in_time)
        self._add_rows(whole.in_time.start + late, whole.in_time.start + late)
        return len(worst) + len(late) > 0

    def _new(self, numbers: NDArray[np.int64], family: slice) -> NDArray[np.int64]:
        """Return those rows of a family that are not here: what is here is as true as the solver can make it."""
        return numbers[~np.isin(family.start + numbers, self._rows)]

    def _add_slices(self, slices: NDArray[np.int64]) -> None:
        """Look at the memory at these slices too: the changes since the end of the bin before add up to what is absent."""
        whole = self._whole
        columns = whole.absent.start + slices
        self._solver.add_columns(lower=whole.lower[columns], upper=whole.upper[columns])
        self._columns = np.append(self._columns, columns)
        first = np.append(-1, self._ends)[np.searchsorted(self._ends, slices)] + 1
        self._add_rows(whole.absence.start + first, whole.absence.start + slices)
        self.late_slices += slices.tolist()

    def _add_rows(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> None:
        whole = self._whole
        sums = sum_rows(first, last, num_rows=len(whole.row_lower))
        self._solver.add_rows(
            self._of_kept(sums.total @ whole.matrix),
            lower=sums.total @ whole.row_lower,
            upper=sums.total @ whole.row_upper,
        )
        self._total = csr_array(vstack([self._total, sums.total], format="csr"))
        self._rows = np.append(self._rows, last)
