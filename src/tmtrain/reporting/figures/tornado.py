"""Figure "tornado": which uncertain constant matters most to how far ours is ahead."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from tmtrain.reporting.figures.palette import HIGH_COLOUR, LOW_COLOUR, STALL_COLOUR
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, legend_below, to_svg
from tmtrain.reporting.section import OURS
from tmtrain.reporting.tornado import Swing

_LOG_FROM = 5.0
"""Ratios that span more than this factor get a logarithmic axis."""


def tornado_figure(swings: Sequence[Swing], *, key: str) -> str:
    """Draw the swing of samples per joule of ours over the best rival's for each constant, the largest on top, as SVG.

    Args:
        swings: of `tmtrain.reporting.tornado.swings`, at least one.
        key: of the section, makes the ids unique.

    >>> from tmtrain.reporting.example import example_sensitivity
    >>> from tmtrain.reporting.tornado import swings
    >>> tornado_figure(swings(example_sensitivity().cases[:25]), key="doc").count(">at its low end<")
    1
    """
    name = f"tornado-{key}"
    with drawing(name):
        figure = Figure(figsize=(PAGE_INCHES, 1.4 + 0.36 * len(swings)), layout="constrained")
        axes = figure.subplots()
        for y, swing in enumerate(swings):
            _bars(axes, swing, y=y)
        _finish(axes, swings)
        legend_below(figure, axes, columns=3)
        return to_svg(figure, name=name)


def _bars(axes: Axes, swing: Swing, *, y: int) -> None:
    """Draw how far either end of the range moves the nominal ratio, and a line over what lies between."""
    nominal, first = swing.at_nominal.ratio, y == 0
    low, high = swing.points[0].ratio - nominal, swing.points[-1].ratio - nominal
    for change, above, colour, label in (
        (low, -0.16, LOW_COLOUR, "at its low end"),
        (high, 0.16, HIGH_COLOUR, "at its high end"),
    ):
        axes.barh(y + above, change, left=nominal, height=0.32, color=colour, label=label if first else None)
    label = "over its whole range" if first else None
    axes.plot([swing.least, swing.most], [y, y], color="#333333", lw=1.0, label=label)


def _finish(axes: Axes, swings: Sequence[Swing]) -> None:
    names = [
        f"{s.constant}, {s.printed(s.points[0].value)} to {s.printed(s.points[-1].value)}" for s in swings
    ]
    axes.set_yticks(range(len(swings)), names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(swings) - 0.5, -0.5)
    nominal = swings[0].at_nominal.ratio
    axes.axvline(nominal, color="#333333", lw=0.9, ls=(0, (4, 2)))
    axes.axvline(1.0, color=STALL_COLOUR, lw=0.9)
    for ratio, label in ((nominal, f"nominal {nominal:.3g}"), (1.0, "alike")):
        axes.annotate(
            label,
            (ratio, 1.0),
            (0, 3),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color="#333333",
        )
    rivals = [policy for policy in swings[0].at_nominal.samples_per_j if policy != OURS]
    axes.set_title(f"samples per joule: {OURS} over the best of {', '.join(rivals)}", pad=16)
    if max(swing.most for swing in swings) > _LOG_FROM * min(1.0, *(swing.least for swing in swings)):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.grid(axis="x")
