"""The whole programme in arrays, with what every level needs of it."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

from tmtrain.planning.programme.model import Model


class Whole:
    """The whole programme."""

    def __init__(self, model: Model) -> None:
        programme = self.programme = model.programme
        self.model = model
        self.matrix = programme.matrix()
        self.cost = programme.cost + programme.nudge
        self.lower, self.upper = programme.column_bounds
        self.row_lower, self.row_upper = programme.row_bounds
        self.absent, self.absence = programme.columns["absent"], programme.rows["absence"]
        self.in_time = programme.rows["in time"]
        self._in_time = self.matrix[self.in_time]
        self._changes = _without(self.matrix[self.absence], self.absent)

    def bin_of(self, slices: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bin of each slice."""
        return np.searchsorted(self.model.edges, slices, side="right") - 1

    def absent_pages(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is absent at each slice, by all columns of `x` but those that say it."""
        return np.cumsum(self.row_lower[self.absence] - self._changes @ x)

    def not_in_time(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return by how much `x` breaks each row of [In time]; negative where it keeps it."""
        return self.row_lower[self.in_time] - self._in_time @ x


def _without(rows: csr_array, columns: slice) -> csr_array:
    by_column = csc_array(rows)
    by_column.data[by_column.indptr[columns.start] : by_column.indptr[columns.stop]] = 0.0
    return csr_array(by_column)
