"""Figure "pareto": what a step can cost in energy, time and drive life, and what it provably cannot."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from tmtrain.questions.pareto import Front, FrontPoint
from tmtrain.reporting.figures.palette import BOUND_COLOUR, OURS_COLOUR
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, legend_below, to_svg
from tmtrain.units import YEAR_S

_FORBIDDEN = "#EEEEEE"
_GRID = 200
_ROOM = 0.25
"""Of the range of the points, around them."""


def pareto_figure(front: Front, *, key: str) -> str:
    """Draw energy against time, and energy against drive life, as SVG.

    Args:
        front: Points of at least one plan.
        key: makes the ids unique.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> from tmtrain.questions.pareto import pareto
    >>> front = pareto(example_timeline(), machine=load_machine("v4-slc"), mixes=("energy", "time"), budgets=())
    >>> pareto_figure(front, key="doc").startswith("<svg")
    True
    """
    name = f"pareto-{key}"
    with drawing(name):
        figure = Figure(figsize=(PAGE_INCHES, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _against_time(left, front)
        _against_life(right, front)
        legend_below(figure, left, columns=4)
        return to_svg(figure, name=name)


def certified_time(front: Front, energy_j: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the least step time that any plan of the class can have at these energies, by the bounds of the mixes.

    A bound on ``a * joules + b * seconds`` is a line; the bounds for plans that may write what they like count.
    """
    least = np.zeros(len(energy_j))
    for point in front.all:
        factor = {term.name: term.factor for term in point.terms}
        joule, second = factor.pop("energy", 0.0), factor.pop("time", 0.0)
        # A mix that counts a third thing bounds no line in this plane; a write budget bounds fewer plans than are drawn.
        if any(factor.values()) or point.write_budget_bytes is not None:
            continue
        if second:
            least = np.maximum(least, (point.bound - joule * energy_j) / second)
        elif joule:
            least = np.where(joule * energy_j < point.bound, np.inf, least)
    return least


def _against_time(axes: Axes, front: Front) -> None:
    (left, right), (low, high) = (
        _range([p.energy_j for p in front.points]),
        _range([p.step_time_s for p in front.points]),
    )
    energy = np.linspace(left, right, _GRID)
    least = np.minimum(certified_time(front, energy), high)
    axes.fill_between(
        energy,
        low,
        np.maximum(least, low),
        color=_FORBIDDEN,
        lw=0,
        label="no plan of the class can be here (certified)",
    )
    axes.plot(energy, np.maximum(least, low), color=BOUND_COLOUR, lw=0.9, ls=(0, (4, 2)))
    _scatter(axes, front.points, [p.step_time_s for p in front.points])
    axes.set_ylim(low, high)
    axes.set_xlim(left, right)
    axes.set_ylabel("step time")
    axes.yaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.set_title("energy and time")
    _energy_axis(axes)


def _against_life(axes: Axes, front: Front) -> None:
    finite = [p.life_s / YEAR_S for p in front.points if math.isfinite(p.life_s)]
    top = 3 * max(finite, default=1.0)
    life = [min(p.life_s / YEAR_S, top) for p in front.points]
    axes.set_yscale("log")
    _scatter(axes, front.points, life)
    for point, years in zip(front.points, life, strict=True):
        if not math.isfinite(point.life_s):
            axes.annotate(
                "writes nothing",
                (point.energy_j, years),
                (-6, -3),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
    axes.set_xlim(*_range([p.energy_j for p in front.points]))
    axes.set_ylabel("drive life (years)")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_title("energy and drive life")
    _energy_axis(axes)


def _scatter(axes: Axes, points: Sequence[FrontPoint], heights: Sequence[float]) -> None:
    for limited, marker, label in (
        (False, "o", "plan, writes as it likes"),
        (True, "s", "plan with a write budget"),
    ):
        chosen = [
            i
            for i, p in enumerate(points)
            if (p.write_budget_bytes is not None or p.objective == "writes") == limited
        ]
        axes.plot(
            [points[i].energy_j for i in chosen],
            [heights[i] for i in chosen],
            ls="",
            marker=marker,
            ms=5.5,
            mfc="w" if limited else OURS_COLOUR,
            mec=OURS_COLOUR,
            label=label,
        )


def _energy_axis(axes: Axes) -> None:
    axes.set_xlabel("energy of a step")
    axes.xaxis.set_major_formatter(EngFormatter(unit="J"))
    axes.xaxis.set_major_locator(MaxNLocator(6))


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    room = _ROOM * (high - low) or 0.01 * abs(high)
    return low - room, high + room
