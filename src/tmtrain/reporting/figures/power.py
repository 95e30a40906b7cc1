"""Figure "power": how many watts a step draws over its time, and what for."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from tmtrain.lowering.energy import TRANSFER_COMPONENTS, WORK_COMPONENTS
from tmtrain.reporting.figures.components import OTHER, gather
from tmtrain.reporting.figures.palette import component_colours
from tmtrain.reporting.figures.phases import mark_phases
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, legend_below, to_svg
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.simulation.power import Power, power_over_time
from tmtrain.simulation.result import Result

STRETCHES = 400
"""Averages that are drawn of each step."""


def power_figure(results: list[Result], *, components: tuple[str, ...], key: str) -> str:
    """Draw the power of each of `results` over its step, stacked by component, one above the other, as SVG.

    Args:
        results: to draw, at least one.
        components: to tell apart, of `shown_components`.
        key: of the section, makes the ids unique.

    >>> from tmtrain.reporting.example import example_result
    >>> power_figure([example_result("lru")], components=("matrix", "other"), key="doc").count("on average")
    1
    """
    name = f"power-{key}"
    drawn = [power_over_time(result, stretches=STRETCHES) for result in results]
    highest = max(float(power.total_w.max()) for power in drawn)
    with drawing(name):
        figure = Figure(figsize=(PAGE_INCHES, 0.5 + 2.3 * len(results)), layout="constrained")
        panels = figure.subplots(len(results), 1, squeeze=False)[:, 0]
        for axes, result, power in zip(panels, results, drawn, strict=True):
            _panel(axes, result, power, components=components)
            axes.set_ylim(0, 1.08 * highest)
        legend_below(figure, panels[0], columns=len(components), reverse=True)
        return to_svg(figure, name=name)


def _panel(axes: Axes, result: Result, power: Power, *, components: tuple[str, ...]) -> None:
    parts = gather(power.watts, shown=components)
    colours = component_colours(components)
    top = power.total_w
    for component in _from_the_top(components):  # each area down to zero: half the points of bands
        axes.stairs(top, power.edges_s, fill=True, color=colours[component], lw=0, label=component)
        top = top - parts[component]
    mark_phases(axes, result)
    axes.axhline(power.average_w, color="k", lw=1.0, ls=(0, (4, 2)))
    axes.set_title(f"{result.policy}: {_said(result, power)}", pad=15)
    axes.set_xlim(0, result.shown_s)
    axes.set_ylabel("power (W)")
    axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.xaxis.set_major_locator(MaxNLocator(10))


def _from_the_top(components: tuple[str, ...]) -> list[str]:
    """Order them so that what is drawn all the time lies at the bottom, then computing, then transfers."""
    groups = (*WORK_COMPONENTS, *TRANSFER_COMPONENTS, OTHER)
    standing = [name for name in components if name not in groups]
    return [*(name for name in reversed(groups) if name in components), *reversed(standing)]


def _said(result: Result, power: Power) -> str:
    moving = sum(result.energy_by_component_j.get(name, 0.0) for name in TRANSFER_COMPONENTS)
    peak = quantity(power_over_time(result).peak_w, "W")
    return (
        f"{quantity(power.average_w, 'W')} on average, {peak} at most; "
        f"moving bytes between the tiers takes {percent(moving / result.energy_j)} of the energy"
    )
