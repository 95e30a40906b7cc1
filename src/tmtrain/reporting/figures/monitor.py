"""Figure "monitor": stall time of step after step, while disturbances come and go, under each way to plan."""

from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, legend_below, to_svg

_COLOURS = ("#9A9A9A", "#E69F00", "#111111", "#0072B2")
_WIDTHS = (3.0, 1.2, 3.0, 1.4)
_DASHES = ("-", "-", (0, (1, 1)), "-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """A disturbance on the axis of steps."""

    label: str
    first_step: int
    last_step: int
    """Inclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitorRun:
    """The same steps under several contenders: static, whole tensors, perfect knowledge, monitor."""

    title: str
    contenders: tuple[str, ...]
    stall_s: tuple[tuple[float, ...], ...]
    """Of each step, per contender."""
    strikes: tuple[Strike, ...]


def monitor_figure(runs: list[MonitorRun], *, key: str) -> str:
    """Draw the stalls of each of `runs`, one above the other, as SVG; the cold first step is left out.

    Args:
        runs: to draw, at least one.
        key: of the figure, makes the ids unique.

    >>> strike = Strike(label="slow flash", first_step=1, last_step=2)
    >>> stalls = ((9.0, 1.0, 2.0, 2.0),) * 4
    >>> names = ("static", "whole tensors", "perfect knowledge", "monitor")
    >>> run = MonitorRun(title="made up", contenders=names, stall_s=stalls, strikes=(strike,))
    >>> monitor_figure([run], key="doc").count("slow flash")
    1
    """
    name = f"monitor-{key}"
    with drawing(name):
        figure = Figure(figsize=(PAGE_INCHES, 0.4 + 2.7 * len(runs)), layout="constrained")
        panels = figure.subplots(len(runs), 1, squeeze=False)[:, 0]
        for axes, run in zip(panels, runs, strict=True):
            _panel(axes, run)
        panels[-1].set_xlabel("step")
        legend_below(figure, panels[0], columns=len(runs[0].contenders))
        return to_svg(figure, name=name)


def _panel(axes: Axes, run: MonitorRun) -> None:
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
    steps = range(1, len(run.stall_s[0]))
    # Later ones on top and thinner: where several stall alike, all of them can be seen.
    for i, contender in enumerate(run.contenders):
        axes.plot(
            steps,
            run.stall_s[i][1:],
            color=_COLOURS[i],
            lw=_WIDTHS[i],
            ls=_DASHES[i],
            label=contender,
            zorder=2 + i,
        )
    axes.set_title(run.title, pad=16)
    axes.set_ylabel("stall per step")
    axes.set_ylim(0, 1.08 * max(max(stalls[1:]) for stalls in run.stall_s))
    axes.set_xlim(0.5, len(run.stall_s[0]) - 0.5)
    axes.yaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y")
