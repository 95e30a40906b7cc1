"""[Reads] and [In time]: what is due has come in, bin by bin, and within a bin slice by slice."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.machine import Machine
from tmtrain.planning.programme.formulation.capacity import FlightFamily
from tmtrain.planning.programme.formulation.dues import Dues
from tmtrain.planning.programme.formulation.link import LinkFamily
from tmtrain.planning.programme.formulation.recomputations import RecomputationFamily
from tmtrain.planning.programme.formulation.scale import ModelScale
from tmtrain.planning.programme.formulation.stretches import carry
from tmtrain.planning.programme.programme import Programme
from tmtrain.ragged import lay_flat


def add_reads(
    programme: Programme, scale: ModelScale, dues: Dues, *, link: LinkFamily, flight: FlightFamily
) -> None:
    """[Reads]: what has come ahead of its time grows by what comes in and shrinks by what is due."""
    whole = np.add.reduceat(dues.whole, scale.edges[:-1])
    rows = programme.add_rows("reads ahead", scale.num_bins, lower=-whole, upper=-whole)
    carry(programme, rows, flight.ahead)
    programme.put(rows, link.pages_in, -1.0)
    for due in dues.columns:
        programme.put(rows[scale.bin_of(due.slices)], due.columns, due.sign)


def add_in_time(
    programme: Programme,
    scale: ModelScale,
    dues: Dues,
    recomputations: RecomputationFamily,
    *,
    link: LinkFamily,
    flight: FlightFamily,
    machine: Machine,
) -> None:
    """[In time], one row for each slice at which something is due."""
    edges = scale.edges
    rate = min(machine.read_bytes_per_s, machine.shared_bytes_per_s) / scale.unit_bytes
    factor = 1 / max(rate * scale.second, 1.0)  # seconds where the link is fast, pages where it is slow
    at = np.unique(np.concatenate([*(due.slices for due in dues.columns), np.flatnonzero(dues.whole)]))
    b = scale.bin_of(at)
    # What is due by a row's slice is due by all later ones of its bin: ranges of the rows.
    row_end = np.searchsorted(at, edges[1:])
    whole = np.concatenate([[0.0], np.cumsum(dues.whole)])
    due_by = whole[at + 1] - whole[edges[b]]
    carried = rate * (scale.clock[at] - scale.clock[edges[b]])
    rows = programme.add_rows("in time", len(at), lower=(due_by - carried) * factor, upper=np.inf)
    programme.put(rows, flight.ahead[b - 1], factor)
    programme.put(rows, link.stalls[b], rate * scale.second * factor)
    for due in dues.columns:
        first, end = np.searchsorted(at, due.slices), row_end[scale.bin_of(due.slices)]
        _put_ranges(programme, rows, first, end, due.columns, np.full(len(first), -due.sign * factor))
    # While a recomputation runs, the link goes on.
    points = recomputations.points
    first, end = np.searchsorted(at, points), row_end[scale.bin_of(points)]
    _put_ranges(programme, rows, first, end, recomputations.columns, rate * recomputations.seconds * factor)


def _put_ranges(
    programme: Programme,
    rows: NDArray[np.int64],
    first: NDArray[np.int64],
    end: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[np.float64],
) -> None:
    """Put each value into rows first .. end - 1 of its column."""
    which, offset = lay_flat(np.maximum(end - first, 0))
    programme.put(rows[first[which] + offset], columns[which], values[which])
