"""absent_t with [Absence] and [Capacity]: every slice has room, and the ends of bins have room for what is in flight."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.programme.formulation.scale import ModelScale
from tmtrain.planning.programme.formulation.stretches import ColumnStretch, add_stock
from tmtrain.planning.programme.formulation.writes import PATIENCE
from tmtrain.planning.programme.programme import Programme


@dataclass(frozen=True, slots=True, kw_only=True)
class FlightFamily:
    """Pages that take room at the ends of bins, for a transfer is early or late."""

    ahead: NDArray[np.int64]
    """Come in before they are due, shape (bins,)."""
    late: NDArray[np.int64]
    """Counted as absent and not written yet, shape (classes of patience, bins)."""


def add_capacity(
    programme: Programme,
    scale: ModelScale,
    *,
    over_pages: NDArray[np.int64],
    absences: Iterable[ColumnStretch],
    absent_whole: NDArray[np.float64],
) -> FlightFamily:
    """Add absent_t, ahead_b and late_kb.

    Args:
        programme: Grows.
        scale: Its units.
        over_pages: What each slice lacks.
        absences: Columns that count as absent, or take off `absent_whole`.
        absent_whole: What is absent anyway, at each slice.
    """
    num_bins = scale.num_bins
    need = over_pages / scale.page_unit - absent_whole
    at_end = scale.edges[1:] - 1
    ahead = programme.add_columns("ahead", num_bins, upper=scale.total)
    late = programme.add_columns("late", num_bins * (len(PATIENCE) + 1), upper=scale.total)
    late = late.reshape(-1, num_bins)
    # All columns are bounded, or the multipliers would prove nothing: no slice has more room than `total`.
    absent = programme.add_columns(
        "absent", scale.num_slices, lower=np.maximum(need, -scale.total), upper=2 * scale.total
    )
    add_stock(programme, "absence", absent, absences)
    rows = programme.add_rows("room", num_bins, lower=need[at_end], upper=np.inf)
    programme.put(rows, absent[at_end], 1.0)
    programme.put(rows, ahead, -1.0)
    programme.put(rows[None, :], late, -1.0)
    return FlightFamily(ahead=ahead, late=late)
