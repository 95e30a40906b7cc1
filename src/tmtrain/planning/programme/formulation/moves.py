"""x_g: the pages that each gap moves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.problem.problem import Gaps
from tmtrain.planning.programme.formulation.dues import DueColumns
from tmtrain.planning.programme.formulation.scale import ModelScale
from tmtrain.planning.programme.formulation.stretches import ColumnStretch, stretch
from tmtrain.planning.programme.programme import Programme


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveFamily:
    """x_g of the gaps that have a column."""

    columns: NDArray[np.int64]
    gaps: NDArray[np.int64]
    """Number of each column's gap."""
    absence: ColumnStretch
    due: DueColumns


def add_moves(
    programme: Programme,
    scale: ModelScale,
    gaps: Gaps,
    *,
    chosen: NDArray[np.int64],
    extra_cost: NDArray[np.float64] | None = None,
) -> MoveFamily:
    """Add x_g for the `chosen` gaps; `extra_cost`, of a page of each gap, only chooses among placements."""
    start, end = gaps.start[chosen].astype(np.int64), gaps.end[chosen].astype(np.int64)
    extra = 0.0 if extra_cost is None else extra_cost[chosen] * scale.page_unit
    columns = programme.add_columns(
        "moved",
        len(chosen),
        upper=gaps.pages[chosen] / scale.page_unit,
        cost=scale.price_in,
        nudge=scale.longest_first(start, end) + extra,
    )
    return MoveFamily(
        columns=columns,
        gaps=chosen,
        absence=stretch(columns, start + 1, end, wraps=end <= start),
        due=DueColumns(slices=end % scale.num_slices, columns=columns, sign=1.0),
    )
