"""Levels: which bins are one, and what becomes of the columns and rows that each bin has.

Note [Levels]
    Almost no bin binds. So a programme is solved for few long bins first. A long bin is some bins of the whole programme
    seen as one: the rows that say what flows during a bin are added up, those that look at its end stay for the last bin
    alone, and so do the stocks at the ends. Sums of rows are true of every solution, so each level is a relaxation of the
    next one and the last level is the whole programme. Columns that mean the same in all bins of a long one are one column.

    The multipliers of a level, each for all the rows of its sum, are multipliers of the whole programme, and prove there
    what they prove here.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.programme.formulation.writes import PATIENCE

CLASSES = range(len(PATIENCE) + 1)
CHANNELS = ("read channel", "write channel", "shared channel")
"""Rows of the seconds of a bin."""
LATE = tuple(f"late {k}" for k in CLASSES)
QUEUES = tuple(f"{stock} {k}" for stock in ("owed", "waiting") for k in CLASSES)
SUMMED_ROWS = (*CHANNELS, "reads ahead", "out", *QUEUES)
"""Rows of what happens during a bin."""
END_ROWS = ("room", *LATE)
"""Rows of what is true at the end of a bin."""
FLOWS = ("in", "out", "stall", *(f"out {k}" for k in CLASSES))
"""Columns of what happens during a bin."""
STOCKS = ("ahead", *QUEUES, *LATE)
"""Columns of what is true at the end of a bin."""
SHORTENING = 16
"""Bins of the whole programme in one of the first level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A level: the bins of the whole programme whose ends it looks at, ascending; the last one is among them."""

    num_bins: int
    """Of the whole programme."""
    ends: NDArray[np.int64]

    @property
    def is_whole(self) -> bool:
        """Whether no two bins are one."""
        return len(self.ends) == self.num_bins

    @property
    def group(self) -> NDArray[np.int64]:
        """For each bin of the whole programme, in which one of this level it is."""
        return np.searchsorted(self.ends, np.arange(self.num_bins))


def make_grids(num_bins: int) -> tuple[Grid, ...]:
    """Return the levels, the whole programme last.

    >>> [len(grid.ends) for grid in make_grids(400)]
    [25, 400]
    """
    return tuple(make_grid(num_bins, step=step) for step in (SHORTENING, 1))


def make_grid(num_bins: int, *, step: int) -> Grid:
    """Return the level in which `step` bins are one."""
    ends = np.append(np.arange(step - 1, num_bins, step), num_bins - 1)
    return Grid(num_bins=num_bins, ends=np.unique(ends))
