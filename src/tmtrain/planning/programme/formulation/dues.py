"""What must have come in, and by when."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class DueColumns:
    """Columns of pages that must have come in before a slice runs."""

    slices: NDArray[np.int64]
    columns: NDArray[np.int64]
    sign: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dues:
    """All that is due: the columns, and a number of pages of which some columns take off what need not come."""

    columns: tuple[DueColumns, ...]
    whole: NDArray[np.float64]
    """Units of pages due before each slice, shape (slices,)."""
