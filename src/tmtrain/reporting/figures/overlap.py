"""Figure "overlap": is the link busy while the chip computes, or does the chip wait for the link?"""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator
from numpy.typing import NDArray

from tmtrain.reporting.figures.palette import BUSY_COLOUR, READ_COLOUR, STALL_COLOUR, WRITE_COLOUR
from tmtrain.reporting.figures.phases import mark_phases
from tmtrain.reporting.figures.sampling import mean_rate
from tmtrain.reporting.figures.svg import PAGE_INCHES, drawing, legend_below, to_svg
from tmtrain.reporting.quantity import percent, quantity
from tmtrain.simulation.result import Result

_BINS = 400


def overlap_figure(results: list[Result], *, key: str) -> str:
    """Draw compute against transfers over the step for each of `results`, one above the other, as SVG.

    Args:
        results: to draw, at least one.
        key: of the section, makes the ids unique.

    >>> from tmtrain.reporting.example import example_result
    >>> overlap_figure([example_result("lru")], key="doc").count("written to flash")
    1
    """
    name = f"overlap-{key}"
    with drawing(name):
        figure = Figure(figsize=(PAGE_INCHES, 0.4 + 2.8 * len(results)), layout="constrained")
        heights = [1.0, 2.0] * len(results)
        panels = figure.subplots(2 * len(results), 1, squeeze=False, height_ratios=heights)[:, 0]
        rates = [transfer_rates(result) for result in results]
        highest = max(float(rate.max()) for pair in rates for rate in pair) / 1e9
        for i, result in enumerate(results):
            _compute(panels[2 * i], result)
            _transfers(panels[2 * i + 1], result, rates=rates[i], highest=highest)
        legend_below(figure, panels[0], columns=2)
        legend_below(figure, panels[1], columns=2, loc="outside lower right")
        return to_svg(figure, name=name)


def _edges(result: Result) -> NDArray[np.float64]:
    return np.linspace(0.0, result.shown_s, _BINS + 1)


def transfer_rates(result: Result) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return bytes per second read from and written to flash, averaged over each 1/400 of the step.

    >>> from tmtrain.reporting.example import example_result
    >>> read, written = transfer_rates(example_result("all-fast"))
    >>> len(read), float(written.sum())
    (400, 0.0)
    """
    t, period = result.traffic, result.shown_s
    # What was under way when the step began is under way again when it ends: the step repeats.
    wraps = t.start_s < 0
    start = np.concatenate((t.start_s, t.start_s[wraps] + period))
    end = np.concatenate((t.end_s, t.end_s[wraps] + period))
    amount = np.concatenate((t.bytes, t.bytes[wraps])).astype(np.float64)
    writes = np.concatenate((t.is_write, t.is_write[wraps]))
    read, written = (
        mean_rate(start[way], end=end[way], amount=amount[way], edges=_edges(result))
        for way in (~writes, writes)
    )
    return read, written


def _compute(axes: Axes, result: Result) -> None:
    edges, s = _edges(result), result.series
    busy = mean_rate(s.start_s, end=s.end_s, amount=s.end_s - s.start_s, edges=edges)
    stall = mean_rate(s.start_s - s.stall_s, end=s.start_s, amount=s.stall_s, edges=edges)
    axes.stairs(100 * (busy + stall), edges, fill=True, color=STALL_COLOUR, label="waiting for a transfer")
    axes.stairs(100 * busy, edges, fill=True, color=BUSY_COLOUR, label="computing")
    share = percent(result.stall_s / result.step_time_s)
    axes.set_title(
        f"{result.policy}: {quantity(result.step_time_s, 's')} per step, {share} of it waiting", pad=15
    )
    axes.set_ylabel("chip (%)")
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 50, 100])
    axes.tick_params(labelbottom=False)
    mark_phases(axes, result)
    axes.set_xlim(0, result.shown_s)


def _transfers(
    axes: Axes, result: Result, *, rates: tuple[NDArray[np.float64], NDArray[np.float64]], highest: float
) -> None:
    edges = _edges(result)
    mark_phases(axes, result, labelled=False)
    for rate, sign, colour, label in (
        (rates[0], 1, READ_COLOUR, "read from flash"),
        (rates[1], -1, WRITE_COLOUR, "written to flash"),
    ):
        axes.stairs(sign * rate / 1e9, edges, fill=True, color=colour, label=label)
    axes.axhline(0, color="#555555", lw=0.7)
    axes.set_ylim(-1.08 * (highest or 1.0), 1.08 * (highest or 1.0))
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_ylabel("write  |  read (GB/s)")
    axes.xaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.xaxis.set_major_locator(MaxNLocator(10))
    axes.set_xlim(0, result.shown_s)
