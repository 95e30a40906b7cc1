"""Families: columns or rows of a programme that mean the same thing and share a name."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnFamily:
    """Columns of one name; each array has shape (columns of the family,)."""

    name: str
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    cost: NDArray[np.float64]
    nudge: NDArray[np.float64]
    """Extra cost that chooses among optima; not part of the objective."""

    def __len__(self) -> int:
        return len(self.lower)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFamily:
    """Rows of one name; each array has shape (rows of the family,)."""

    name: str
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.lower)
