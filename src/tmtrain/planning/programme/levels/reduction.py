"""The programme of one level: sums of rows of the whole one, in fewer columns."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tmtrain.planning.programme.levels.grid import END_ROWS, FLOWS, LATE, STOCKS, SUMMED_ROWS, Grid
from tmtrain.planning.programme.model import Model
from tmtrain.ragged import lay_flat


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Rows, each the sum of some rows of the whole programme."""

    total: csr_array
    """Shape (sums, rows of the whole programme), of zeros and ones."""
    last: NDArray[np.int64]
    """The last row of each sum, which names it."""


class BinFamilies:
    """Where in the whole programme the rows and columns of each bin are."""

    def __init__(self, model: Model) -> None:
        self.num_bins = len(model.edges) - 1
        rows, columns = model.programme.rows, model.programme.columns
        self.rows = {name: rows[name].start for name in (*SUMMED_ROWS, *END_ROWS)}
        late = {name: columns["late"].start + k * self.num_bins for k, name in enumerate(LATE)}
        self.columns = late | {name: columns[name].start for name in (*FLOWS, *STOCKS) if name not in LATE}

    def of_rows(self, names: tuple[str, ...], bins: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of these families in these bins, shape (names, bins)."""
        return np.array([self.rows[name] for name in names])[:, None] + bins

    def of_columns(self, names: tuple[str, ...], bins: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the columns of these families in these bins, shape (names, bins)."""
        return np.array([self.columns[name] for name in names])[:, None] + bins


def sum_rows(first: NDArray[np.int64], last: NDArray[np.int64], *, num_rows: int) -> Sums:
    """Add up the rows first .. last, for each pair."""
    of_sum, offset = lay_flat(last - first + 1)
    total = csr_array((np.ones(len(of_sum)), (of_sum, first[of_sum] + offset)), shape=(len(last), num_rows))
    return Sums(total=total, last=last)


def sums_of_level(model: Model, grid: Grid) -> Sums:
    """Return the rows of a level, without those that wait until a solution breaks them."""
    programme, families = model.programme, BinFamilies(model)
    begins = np.append(0, grid.ends[:-1] + 1)
    own = {*SUMMED_ROWS, *END_ROWS, "absence", "in time"}
    once = [np.arange(part.start, part.stop) for name, part in programme.rows.items() if name not in own]
    alone = np.concatenate([*once, families.of_rows(END_ROWS, grid.ends).ravel()])
    absence = programme.rows["absence"].start + slices_of(model, grid)
    after = np.append(programme.rows["absence"].start, absence[:-1] + 1)
    first = [alone, families.of_rows(SUMMED_ROWS, begins).ravel(), after]
    last = [alone, families.of_rows(SUMMED_ROWS, grid.ends).ravel(), absence]
    return sum_rows(np.concatenate(first), np.concatenate(last), num_rows=programme.num_rows)


def slices_of(model: Model, grid: Grid) -> NDArray[np.int64]:
    """Return the slices at which a level looks at the memory: the last one of each of its bins."""
    return model.edges[grid.ends + 1] - 1


def find_substitutes(model: Model, grid: Grid) -> NDArray[np.int64]:
    """Return for each column the one that stands for it at a level: itself, one of another bin, or -1 for none."""
    programme, families = model.programme, BinFamilies(model)
    stands_for = np.arange(programme.num_columns)
    every = np.arange(grid.num_bins)
    stands_for[families.of_columns(FLOWS, every)] = families.of_columns(FLOWS, grid.ends[grid.group])
    inner = np.setdiff1d(every, grid.ends)
    stands_for[families.of_columns(STOCKS, inner)] = -1
    absent = programme.columns["absent"]
    stands_for[absent] = -1
    kept = absent.start + slices_of(model, grid)
    stands_for[kept] = kept
    return stands_for
