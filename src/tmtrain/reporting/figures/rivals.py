"""Figure "rivals": what one step costs under each policy, with the certified lower bound drawn in."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tmtrain.evaluation.row import Row
from tmtrain.reporting.figures.components import gather, joules_by_component, shown_components
from tmtrain.reporting.figures.palette import BOUND_COLOUR, component_colours
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, to_svg
from tmtrain.reporting.quantity import digits, quantity
from tmtrain.reporting.section import ALL_FAST, OURS, Section
from tmtrain.units import format_bytes

_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
_DWARFING = 3.0
"""A single bar so many times as long as the next would leave the others unreadable. It is cut, and says so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One of the four: a value per policy, in `unit`, and what bounds it."""

    title: str
    unit: str
    values: list[float]
    labels: list[str]
    bound: float | None
    """None where nothing is proved."""
    bound_label: str


def rivals_figure(section: Section, *, colours: dict[str, str]) -> str:
    """Draw traffic, step time, joules by component and samples per joule of each policy, as SVG.

    Args:
        section: whose rows are drawn, ours on top.
        colours: of each policy.

    >>> from tmtrain.reporting.example import example_section
    >>> section = example_section()
    >>> rivals_figure(section, colours={row.policy: "k" for row in section.rows}).count(">lower bound")
    3
    """
    name = f"rivals-{section.key}"
    with drawing(name):
        figure = Figure(
            figsize=(PAGE_INCHES, 2.1 + 0.46 * len(section.ordered)),
            layout=ConstrainedLayoutEngine(wspace=0.06, hspace=0.09),
        )
        grid = figure.subplots(2, 2, sharey=True)
        traffic, time, energy, samples = _panels(section)
        for axes, panel in ((grid[0, 0], traffic), (grid[0, 1], time), (grid[1, 1], samples)):
            _bars(axes, panel, rows=section.ordered, colours=colours)
        _stacks(grid[1, 0], energy, rows=section.ordered)
        return to_svg(figure, name=name)


def _panels(section: Section) -> tuple[_Panel, _Panel, _Panel, _Panel]:
    rows, bounds, batch = section.ordered, section.first.bounds, section.first.batch
    scale, unit = _binary_scale(max(row.traffic_bytes for row in rows))
    seconds, joules, moved = bounds.time_s, bounds.energy_j, bounds.traffic_bytes
    most = batch / joules if joules else None
    return (
        _Panel(
            title="Traffic between the tiers, per step",
            unit=unit,
            values=[row.traffic_bytes / scale for row in rows],
            labels=[format_bytes(row.traffic_bytes) for row in rows],
            bound=None if moved is None else moved / scale,
            bound_label=f"lower bound {format_bytes(moved or 0)}",
        ),
        _Panel(
            title="Step time",
            unit="s",
            values=[row.step_time_s for row in rows],
            labels=[quantity(row.step_time_s, "s") for row in rows],
            bound=seconds,
            bound_label=f"lower bound {quantity(seconds or 0.0, 's')}",
        ),
        _Panel(
            title="Energy of one step, by component",
            unit="J",
            values=[row.energy_j for row in rows],
            labels=[quantity(row.energy_j, "J") for row in rows],
            bound=joules,
            bound_label=f"lower bound {quantity(joules or 0.0, 'J')}",
        ),
        _Panel(
            title="Samples per joule = throughput per watt",
            unit="1/J",
            values=[row.samples_per_j for row in rows],
            labels=[digits(row.samples_per_j) for row in rows],
            bound=most,
            bound_label=f"upper bound {digits(most or 0.0)}",
        ),
    )


def _bars(axes: Axes, panel: _Panel, *, rows: tuple[Row, ...], colours: dict[str, str]) -> None:
    axes.barh(range(len(rows)), panel.values, height=0.68, color=[colours[row.policy] for row in rows])
    _finish(axes, panel, rows=rows)


def _stacks(axes: Axes, panel: _Panel, *, rows: tuple[Row, ...]) -> None:
    """Stack the components; the smallest are drawn together where there are more than colours."""
    parts = gather(joules_by_component(rows), shown=shown_components(rows))
    left = np.zeros(len(rows))
    for name, colour in component_colours(parts).items():
        axes.barh(
            range(len(rows)),
            parts[name],
            left=left,
            height=0.68,
            color=colour,
            label=name,
            edgecolor="w",
            lw=0.4,
        )
        left = left + parts[name]
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.46, -0.16), ncols=4, handlelength=1.0, columnspacing=1.0
    )
    _finish(axes, panel, rows=rows)


def _finish(axes: Axes, panel: _Panel, *, rows: tuple[Row, ...]) -> None:
    """Name the bars, print their values, and draw the bound across those that it binds (not all-fast)."""
    axes.set_title(f"{panel.title} ({panel.unit})")
    axes.set_yticks(range(len(rows)), [row.policy for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -1.5)
    right = _right_end(panel)
    axes.set_xlim(0, right)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.4g}")
    axes.grid(axis="x")
    if panel.bound is not None:
        bound_rows = sum(row.policy != ALL_FAST for row in rows)
        axes.plot([panel.bound] * 2, [-0.6, bound_rows - 0.5], color=BOUND_COLOUR, lw=1.2, ls=(0, (4, 2)))
        side = "left" if panel.bound < 0.7 * right else "right"
        axes.text(panel.bound, -0.66, panel.bound_label, fontsize=8, color=BOUND_COLOUR, ha=side, va="bottom")
    for y, row in enumerate(rows):
        _label(axes, panel, y=y, right=right, weight="bold" if row.policy == OURS else "normal")


def _label(axes: Axes, panel: _Panel, *, y: int, right: float, weight: str) -> None:
    """Print the value at the end of its bar; a bar that the panel cuts off says so."""
    is_cut = panel.values[y] > right
    axes.annotate(
        f"{panel.labels[y]} (bar cut) »" if is_cut else panel.labels[y],
        (right if is_cut else panel.values[y], y),
        (-4 if is_cut else 5, 0),
        textcoords="offset points",
        va="center",
        ha="right" if is_cut else "left",
        fontsize=8,
        weight=weight,
        bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8},
    )


def _right_end(panel: _Panel) -> float:
    """Return where the axis ends: after the longest bar, or after the second if the longest dwarfs all others."""
    *_, second, longest = sorted([0.0, panel.bound or 0.0, *panel.values])
    is_dwarfing = longest > _DWARFING * second > 0
    return 1.6 * second if is_dwarfing else 1.2 * longest or 1.0


def _binary_scale(largest: float) -> tuple[int, str]:
    return next(((scale, unit) for scale, unit in _BINARY if largest >= scale), (1, "B"))
