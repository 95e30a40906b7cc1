"""Figure "memory": what is in fast memory over the step, stacked by role, under each policy."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from tmtrain.reporting.figures.palette import IN_FLIGHT_COLOUR, ROLE_COLOURS
from tmtrain.reporting.figures.phases import mark_phases
from tmtrain.reporting.figures.sampling import keep_extremes
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, legend_below, to_svg
from tmtrain.reporting.quantity import quantity
from tmtrain.simulation.result import Result
from tmtrain.trace.trace import Role

_MAX_POINTS = 1000
"""Of each panel: more than it has pixels."""
_GIB, _MIB = 2.0**30, 2.0**20


def memory_figure(results: list[Result], *, key: str) -> str:
    """Draw resident bytes by role over the step for each of `results`, two to a row, as SVG.

    Args:
        results: to draw, ours first; at least one.
        key: of the section, makes the ids unique.

    >>> from tmtrain.reporting.example import example_result
    >>> memory_figure([example_result("tmtrain")], key="doc").count("capacity") >= 1
    True
    """
    name = f"memory-{key}"
    columns = 1 if len(results) == 1 else 2
    rows = -(-len(results) // columns)
    roles = [
        role
        for role in ROLE_COLOURS
        if any(result.series.resident_bytes[:, role].any() for result in results)
    ]
    with drawing(name):
        figure = Figure(figsize=(PAGE_INCHES, 0.5 + 2.15 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, result in zip(panels, results, strict=False):
            _panel(axes, result, roles=roles)
        for axes in panels[len(results) :]:
            axes.set_visible(False)
        legend_below(figure, panels[0], columns=len(roles) + 1, reverse=True)
        return to_svg(figure, name=name)


def _panel(axes: Axes, result: Result, *, roles: list[Role]) -> None:
    series = result.series
    columns = np.column_stack((series.resident_bytes[:, roles], series.in_flight_bytes))
    kept = keep_extremes(series.start_s, columns, max_points=_MAX_POINTS)
    scale, unit = (_GIB, "GiB") if result.fast_bytes >= _GIB else (_MIB, "MiB")
    top = np.cumsum(columns[kept], axis=1) / scale
    # What is there for the first slice was there while it waited.
    edges = np.concatenate(([0.0], series.start_s[kept[1:]], [result.shown_s]))
    _areas(axes, edges, top, roles=roles)
    mark_phases(axes, result)
    capacity = result.fast_bytes / scale
    axes.axhline(capacity, color="k", lw=1.0, ls=(0, (4, 2)))
    axes.annotate(
        "capacity",
        (1.0, capacity),
        (-3, 3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        fontsize=8,
    )
    axes.set_title(f"{result.policy}: {quantity(result.step_time_s, 's')} per step", pad=15)
    axes.set_xlim(0, result.shown_s)
    axes.set_ylim(0, 1.16 * capacity)
    axes.set_ylabel(f"fast memory ({unit})")
    axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.xaxis.set_major_locator(MaxNLocator(6))


def _areas(axes: Axes, edges: NDArray[np.float64], top: NDArray[np.float64], *, roles: list[Role]) -> None:
    """Draw the stack from its top down, each area down to zero: half the points of bands."""
    axes.stairs(
        top[:, -1], edges, fill=True, fc="w", ec=IN_FLIGHT_COLOUR, hatch="//////", lw=0, label="in flight"
    )
    for column in reversed(range(len(roles))):
        role = roles[column]
        label = role.name.lower().replace("_", " ")
        axes.stairs(top[:, column], edges, fill=True, color=ROLE_COLOURS[role], lw=0, label=label)
