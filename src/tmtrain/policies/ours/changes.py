"""Small changes of a plan's times, for the engine to judge: what moves in one access gap moves some slices later."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.placing.pieces import pages_between
from tmtrain.planning.problem.problem import Problem
from tmtrain.plans import Transfers


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """All that moves in one access gap is fetched, or should be written, so many slices later."""

    rows: NDArray[np.int64]
    """Of the transfers."""
    column: Literal["fetch_slice", "written_slice"]
    slices: int
    """Negative: earlier."""

    def of(self, transfers: Transfers, *, problem: Problem) -> Transfers | None:
        """Return the changed transfers; None where nothing changes, or a fetch would come before there is room for it.

        Args:
            transfers: Of the plan that `rows` are about, changed before or not.
            problem: Of the plan's step, recomputations included.
        """
        old: NDArray[np.int32] = getattr(transfers, self.column)
        new = old.copy()
        new[self.rows] = np.clip(
            old[self.rows] + self.slices,
            transfers.leave_slice[self.rows],
            transfers.return_slice[self.rows],
        )
        if np.array_equal(old, new):
            return None
        changed = replace(transfers, **{self.column: new})
        return changed if _has_room(changed, problem) else None


def changes_of(transfers: Transfers, *, num_slices: int) -> Iterator[Change]:
    """Yield the changes of each access gap: a slice earlier, a slice later, as early and as late as can be."""
    gaps = np.stack([transfers.extent, transfers.leave_slice, transfers.return_slice], axis=1)
    _, gap_of = np.unique(gaps, axis=0, return_inverse=True)
    for gap in range(int(gap_of.max(initial=-1)) + 1):
        rows = np.flatnonzero(gap_of == gap)
        for slices in (-1, 1, -num_slices, num_slices):
            yield Change(rows=rows, column="fetch_slice", slices=slices)
            yield Change(rows=rows, column="written_slice", slices=slices)


def _has_room(transfers: Transfers, problem: Problem) -> bool:
    absent = pages_between(
        transfers.leave_slice.astype(np.int64),
        transfers.fetch_slice.astype(np.int64),
        transfers.pages,
        num_slices=problem.num_slices,
    )
    return bool((absent >= problem.over_pages).all())
