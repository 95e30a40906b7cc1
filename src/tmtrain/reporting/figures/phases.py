"""The phases of the step, shaded behind a figure over its time."""

from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from tmtrain.reporting.figures.palette import PHASE_COLOURS
from tmtrain.simulation.result import Result
from tmtrain.trace.trace import Phase

_NARROWEST_NAMED = 0.07
"""Of the step: the name of a shorter phase would run into its neighbours."""


def mark_phases(axes: Axes, result: Result, *, labelled: bool = True) -> None:
    """Shade the phases of a simulated step behind what `axes` shows, named on top where there is room."""
    series = result.series
    shade_phases(axes, series.phase, end_s=series.end_s, until_s=result.shown_s, labelled=labelled)


def shade_phases(
    axes: Axes, phase: NDArray[np.int8], *, end_s: NDArray[np.float64], until_s: float, labelled: bool
) -> None:
    """Shade the phases of slices that are of `phase` and end at `end_s`.

    Args:
        axes: to draw on.
        phase: of each slice.
        end_s: of each slice.
        until_s: where the step ends; stalls may follow its last slice.
        labelled: whether phases are named where there is room.
    """
    first = np.flatnonzero(np.diff(phase, prepend=-1))
    edges = [0.0, *end_s[first[1:] - 1].tolist(), until_s]
    for i, (begin, end) in enumerate(pairwise(edges)):
        this = Phase(int(phase[first[i]]))
        axes.axvspan(begin, end, color=PHASE_COLOURS[this], lw=0, zorder=0)
        if labelled and end - begin > _NARROWEST_NAMED * until_s:
            axes.annotate(
                this.name.lower(),
                ((begin + end) / 2, 1.0),
                (0, 2),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color="#666666",
            )
