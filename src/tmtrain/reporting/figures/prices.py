"""Figure "prices": what fast memory is worth over the step, and what becomes of the contents that wait there."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from tmtrain.evaluation.fate_record import FateRecord, FateSeries
from tmtrain.reporting.figures.palette import FATE_COLOURS, OURS_COLOUR
from tmtrain.reporting.figures.phases import shade_phases
from tmtrain.reporting.figures.sampling import mean_rate
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, legend_below, to_svg

_BINS = 400
_GIB = 2.0**30


def prices_figure(record: FateRecord, *, key: str) -> str:
    """Draw the price of fast memory and the fates of waiting bytes over the step, as SVG.

    Args:
        record: of the plan.
        key: of the section, makes the ids unique.

    >>> from tmtrain.reporting.example import example_fates
    >>> prices_figure(example_fates(), key="doc").count("recomputed")
    1
    """
    name = f"prices-{key}"
    with drawing(name):
        figure = Figure(figsize=(PAGE_INCHES, 4.6), layout="constrained")
        above, below = figure.subplots(2, 1, height_ratios=[1.0, 1.4], sharex=True)
        edges = np.linspace(0.0, float(record.series.end_s[-1]), _BINS + 1)
        _prices(above, record, edges)
        _fates(below, record.series, edges)
        legend_below(figure, below, columns=3)
        return to_svg(figure, name=name)


def _prices(axes: Axes, record: FateRecord, edges: NDArray[np.float64]) -> None:
    price = rent(record.series, edges=edges) * _GIB
    axes.stairs(price, edges, color=OURS_COLOUR, lw=1.1)
    axes.stairs(price, edges, color=OURS_COLOUR, fill=True, alpha=0.25, lw=0)
    total = float(record.series.price_per_byte.sum()) * _GIB
    unit = record.unit or "units"
    axes.set_title(f"price of fast memory: one more GiB would save {total:.3g} {unit} a step", pad=15)
    axes.set_ylabel(f"{unit} per GiB and s")
    axes.set_ylim(bottom=0)
    # What keeping costs is the rise of this line between the ends of an access gap.
    paid = axes.twinx()
    paid.stairs(
        np.cumsum(price * np.diff(edges)), edges, color="#333333", lw=1.1, ls=(0, (4, 2)), baseline=None
    )
    paid.set_ylabel(f"{unit} per GiB, summed")
    paid.set_ylim(bottom=0)
    paid.spines["right"].set_visible(True)
    _shade(axes, record.series, labelled=True)


def rent(series: FateSeries, *, edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the price of a byte per second, averaged over each stretch between `edges`."""
    start = np.concatenate([[0.0], series.end_s[:-1]])
    return mean_rate(start, end=series.end_s, amount=series.price_per_byte, edges=edges)


def _fates(axes: Axes, series: FateSeries, edges: NDArray[np.float64]) -> None:
    at = np.minimum(np.searchsorted(series.end_s, (edges[1:] + edges[:-1]) / 2), len(series.end_s) - 1)
    stack = (
        np.cumsum([series.kept_bytes[at], series.moved_bytes[at], series.recomputed_bytes[at]], axis=0) / _GIB
    )
    for (label, colour), top in reversed(list(zip(FATE_COLOURS.items(), stack, strict=True))):
        axes.stairs(top, edges, fill=True, color=colour, lw=0, label=label)
    axes.set_title("contents that wait for their next use", pad=6)
    axes.set_ylabel("GiB")
    axes.set_xlim(0, edges[-1])
    axes.set_xlabel("time of computation, without recomputations and waiting")
    axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.xaxis.set_major_locator(MaxNLocator(10))
    _shade(axes, series, labelled=False)


def _shade(axes: Axes, series: FateSeries, *, labelled: bool) -> None:
    shade_phases(axes, series.phase, end_s=series.end_s, until_s=float(series.end_s[-1]), labelled=labelled)
