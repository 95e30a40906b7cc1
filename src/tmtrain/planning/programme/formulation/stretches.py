"""Columns that count during stretches of the step, and the stocks that they add up to."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.programme.formulation.scale import ModelScale
from tmtrain.planning.programme.programme import Programme


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnStretch:
    """Columns that count, times `factor`, in positions lo .. hi - 1; those that wrap go on from the start."""

    columns: NDArray[np.int64]
    lo: NDArray[np.int64]
    hi: NDArray[np.int64]
    wraps: NDArray[np.bool_]
    factor: NDArray[np.float64]

    def of(self, chosen: NDArray[np.bool_]) -> "ColumnStretch":
        """Return the chosen ones."""
        return ColumnStretch(
            columns=self.columns[chosen],
            lo=self.lo[chosen],
            hi=self.hi[chosen],
            wraps=self.wraps[chosen],
            factor=self.factor[chosen],
        )

    def in_bins(self, scale: ModelScale) -> "ColumnStretch":
        """Return the same in bins: a column counts from the end of its first bin until the end of its last."""
        return ColumnStretch(
            columns=self.columns,
            lo=scale.bin_of(self.lo),
            hi=scale.bin_of(self.hi),
            wraps=self.wraps,
            factor=self.factor,
        )


def stretch(
    columns: NDArray[np.int64],
    lo: NDArray[np.int64],
    hi: NDArray[np.int64],
    *,
    wraps: NDArray[np.bool_] | None = None,
    factor: float | NDArray[np.float64] = 1.0,
) -> ColumnStretch:
    """Return a stretch of columns; without `wraps` none wraps.

    >>> stretch(np.array([7]), np.array([1]), np.array([3]), factor=-1.0).factor
    array([-1.])
    """
    return ColumnStretch(
        columns=columns,
        lo=lo,
        hi=hi,
        wraps=np.zeros(len(lo), bool) if wraps is None else wraps,
        factor=np.broadcast_to(np.asarray(factor, np.float64), lo.shape),
    )


def add_stock(
    programme: Programme, name: str, stock: NDArray[np.int64], stretches: Iterable[ColumnStretch]
) -> None:
    """Make stock_p the sum of the columns whose stretch covers position p.

    Rows say how the stock changes from position to position: so a stretch has two entries, however long it is.
    """
    period = len(stock)
    rows = programme.add_rows(name, period, lower=0.0, upper=0.0)
    programme.put(rows, stock, 1.0)
    programme.put(rows[1:], stock[:-1], -1.0)
    for part in stretches:
        lo, hi, columns, factor = part.lo, part.hi, part.columns, part.factor
        enters, leaves = (lo > 0) & (lo < period), (hi > 0) & (hi < period)
        # A stretch that wraps and begins at 0 goes all the way round, wherever it ends.
        at_zero = np.where(part.wraps, (hi > 0) | (lo == 0), (lo == 0) & (hi > 0))
        programme.put(rows[lo[enters]], columns[enters], -factor[enters])
        programme.put(rows[hi[leaves]], columns[leaves], factor[leaves])
        programme.put(np.full(int(at_zero.sum()), rows[0]), columns[at_zero], -factor[at_zero])


def carry(programme: Programme, rows: NDArray[np.int64], stock: NDArray[np.int64]) -> None:
    """Put stock_b - stock_{b-1} into row b; the first row has the stock of the step before."""
    programme.put(rows, stock, 1.0)
    programme.put(rows, np.roll(stock, 1), -1.0)
