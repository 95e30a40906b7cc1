"""Linear programmes for oracles, solved by Clarabel: an interior point method that shares no code with HiGHS."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import clarabel
import numpy as np
from scipy.sparse import csc_matrix


@dataclass(slots=True)
class Oracle:
    """``minimise cost x`` over ``x >= 0``, row by row; a row is {column: coefficient}."""

    cost: list[float] = field(default_factory=list[float])
    _rows: list[Mapping[int, float]] = field(default_factory=list[Mapping[int, float]])
    _limits: list[float] = field(default_factory=list[float])
    _equal: list[bool] = field(default_factory=list[bool])

    def column(self, cost: float = 0.0, *, most: float | None = None) -> int:
        """Add a column between 0 and `most`; return its number."""
        self.cost.append(cost)
        number = len(self.cost) - 1
        if most is not None:
            self.at_most({number: 1.0}, most)
        return number

    def at_most(self, row: Mapping[int, float], limit: float) -> None:
        """Demand that the row is no more than `limit`."""
        self._rows.append(row)
        self._limits.append(limit)
        self._equal.append(False)

    def at_least(self, row: Mapping[int, float], limit: float) -> None:
        """Demand that the row is no less than `limit`."""
        self.at_most({column: -value for column, value in row.items()}, -limit)

    def equal(self, row: Mapping[int, float], value: float) -> None:
        """Demand that the row is `value`."""
        self.at_most(row, value)
        self._equal[-1] = True

    def optimum(self) -> float:
        """Solve, to a relative gap of 1e-9; raises where there is no solution."""
        count = len(self.cost)
        order = sorted(range(len(self._rows)), key=lambda r: not self._equal[r])
        entries = [(i, c, v) for i, r in enumerate(order) for c, v in self._rows[r].items()]
        entries += [(len(order) + c, c, -1.0) for c in range(count)]
        r, c, v = zip(*entries, strict=True)
        matrix = csc_matrix((v, (r, c)), shape=(len(order) + count, count))
        limits = np.concatenate([[self._limits[r] for r in order], np.zeros(count)])
        equal = sum(self._equal)
        cones = [clarabel.ZeroConeT(equal), clarabel.NonnegativeConeT(len(limits) - equal)]
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-9
        scale = max(map(abs, self.cost), default=0.0) or 1.0
        quadratic = csc_matrix((count, count))
        answer = clarabel.DefaultSolver(
            quadratic, np.array(self.cost) / scale, matrix, limits, cones, settings
        ).solve()
        assert str(answer.status) in {"Solved", "AlmostSolved"}, (
            f"the oracle found no optimum: {answer.status}"
        )
        return scale * float(answer.obj_val)
