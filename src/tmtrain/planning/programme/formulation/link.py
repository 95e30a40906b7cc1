"""in_b, out_b and stall_b with [Link]: each channel has the seconds of its bin, and those that are waited for it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.planning.programme.formulation.recomputations import RecomputationFamily
from tmtrain.planning.programme.formulation.scale import ModelScale, PricedStep
from tmtrain.planning.programme.programme import Programme


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkFamily:
    """What moves in each bin and how long it is waited for; each of shape (bins,)."""

    pages_in: NDArray[np.int64]
    pages_out: NDArray[np.int64]
    stalls: NDArray[np.int64]


def add_link(
    programme: Programme,
    scale: ModelScale,
    recomputations: RecomputationFamily,
    step: PricedStep,
) -> LinkFamily:
    """Add in_b, out_b, stall_b and [Link]."""
    machine, num_bins, second = step.machine, scale.num_bins, scale.second
    # As long as moving all that can be moved, four times over: a bound that never binds.
    slowest = min(machine.read_bytes_per_s, machine.write_bytes_per_s)
    longest = 4 * scale.total * scale.unit_bytes / slowest
    came = programme.add_columns("in", num_bins, upper=scale.total)
    went = programme.add_columns("out", num_bins, upper=scale.total)
    stalls = programme.add_columns(
        "stall", num_bins, upper=longest / second, cost=step.objective.per_second * second
    )
    channels = (
        ("read", machine.read_bytes_per_s, (came,)),
        ("write", machine.write_bytes_per_s, (went,)),
        ("shared", machine.shared_bytes_per_s, (came, went)),
    )
    seconds = np.add.reduceat(step.timeline.slices.duration_s, scale.edges[:-1])
    busy = scale.bin_of(recomputations.points)
    for name, rate, moved in channels:
        rows = programme.add_rows(f"{name} channel", num_bins, lower=-np.inf, upper=seconds / second)
        for columns in moved:
            programme.put(rows, columns, scale.unit_bytes / rate / second)
        programme.put(rows, stalls, -1.0)
        programme.put(rows[busy], recomputations.columns, -recomputations.seconds / second)
    return LinkFamily(pages_in=came, pages_out=went, stalls=stalls)
