"""Figure "monitor": stall time of step after step, while disturbances come and go, under each way to plan."""

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tmtrain.evaluation.monitored import MONITORED, PERFECT, STATIC, Contender, MonitoredRun
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, legend_below, to_svg
from tmtrain.reporting.quantity import percent

_STYLES = {
    STATIC: ("#9A9A9A", 3.0, "-"),
    PERFECT: ("#111111", 3.0, (0, (1, 1))),
    MONITORED: ("#0072B2", 1.4, "-"),
}
"""Colour, width, dashes; later ones are drawn on top and thinner: where several stall alike, all of them can be seen."""
_OTHER = ("#E69F00", 1.2, "-")


def monitor_figure(runs: Sequence[MonitoredRun], *, key: str) -> str:
    """Draw the stalls of each of `runs`, one above the other, as SVG; the cold first step is left out.

    Args:
        runs: to draw, at least one.
        key: of the figure, makes the ids unique.

    >>> from tmtrain.reporting.example import example_monitored
    >>> monitor_figure([example_monitored()], key="doc").count("flash x 0.5")
    1
    """
    name = f"monitor-{key}"
    with drawing(name):
        figure = Figure(figsize=(PAGE_INCHES, 0.4 + 2.7 * len(runs)), layout="constrained")
        panels = figure.subplots(len(runs), 1, squeeze=False)[:, 0]
        for axes, run in zip(panels, runs, strict=True):
            _panel(axes, run)
        panels[-1].set_xlabel("step")
        richest = max(range(len(runs)), key=lambda i: len(runs[i].contenders))
        legend_below(figure, panels[richest], columns=len(runs[richest].contenders))
        return to_svg(figure, name=name)


def setting_title(run: MonitoredRun) -> str:
    """Say which setting `run` is of.

    >>> from tmtrain.reporting.example import example_monitored
    >>> setting_title(example_monitored())
    'made-up-small on example, 12.5 % of the footprint in fast memory'
    """
    return f"{run.model} on {run.machine}, {percent(run.fast_fraction)} of the footprint in fast memory"


def _panel(axes: Axes, run: MonitoredRun) -> None:
    for strike in run.strikes:
        axes.axvspan(
            strike.first_step - 0.5, strike.last_step + 0.5, fc="#F3ECE0", ec="white", lw=2, zorder=0
        )
        axes.annotate(
            strike.label,
            (strike.first_step - 0.4, 1.0),
            (0, 2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            fontsize=8,
            color="#6B5B3A",
        )
    for contender in sorted(run.contenders, key=_layer):
        colour, width, dashes = _STYLES.get(contender.name, _OTHER)
        stalls = [step.stall_s for step in contender.steps[1:]]
        axes.plot(
            range(1, len(contender.steps)),
            stalls,
            color=colour,
            lw=width,
            ls=dashes,
            label=contender.name,
            zorder=2 + _layer(contender),
        )
    axes.set_title(setting_title(run), pad=16)
    axes.set_ylabel("stall per step")
    most_s = max(step.stall_s for contender in run.contenders for step in contender.steps[1:])
    axes.set_ylim(0, 1.08 * most_s or 1.0)
    axes.set_xlim(0.5, len(run.contenders[0].steps) - 0.5)
    axes.yaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")


def _layer(contender: Contender) -> int:
    return list(_STYLES).index(contender.name) if contender.name in _STYLES else 0
