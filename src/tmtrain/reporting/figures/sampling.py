"""Fewer points for the same picture: the extremes of a long series, and averages that keep the total."""

import numpy as np
from numpy.typing import NDArray


def keep_extremes(
    time: NDArray[np.float64], columns: NDArray[np.int64], *, max_points: int
) -> NDArray[np.intp]:
    """Choose rows of `columns` to draw: in each of equal spans of time, the extremes of every column.

    Args:
        time: of each row, ascending, shape (rows,).
        columns: what is drawn, shape (rows, columns).
        max_points: how many rows may stay; the extremes of the whole stay whatever it says.

    Returns:
        Ascending indices; all of them where there are no more than `max_points`.

    >>> keep_extremes(np.arange(6.0), np.array([[0], [9], [1], [2], [-5], [3]]), max_points=4).tolist()
    [0, 1, 4, 5]
    """
    rows = len(columns)
    if rows <= max_points:
        return np.arange(rows)
    # Right for one column, which keeps two rows in a span. The extremes of more columns often share their rows, so how many
    # rows stay is only known after the choice: try fewer spans until they are few enough.
    spans = max_points // 2
    while len(kept := _extremes(time, columns, spans=spans)) > max_points and spans > 1:
        spans = max(1, int(0.9 * spans * max_points / len(kept)))
    return kept


def mean_rate(
    start: NDArray[np.float64],
    *,
    end: NDArray[np.float64],
    amount: NDArray[np.float64],
    edges: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Spread each `amount` evenly over its interval and return the mean rate in each bin (amount per second).

    Intervals may overlap. The sum of rate times bin width is the whole amount where the bins cover them. An
    interval without length counts in full at its time.

    >>> at = lambda *values: np.array(values, float)
    >>> mean_rate(at(0, 1), end=at(2, 3), amount=at(4, 2), edges=at(0, 1, 2, 4)).tolist()
    [2.0, 3.0, 0.5]
    """
    if not len(start):
        return np.zeros(len(edges) - 1)
    # An interval without length becomes one that is too short to be seen but has a slope.
    end = np.maximum(end, start + 1e-9 * (edges[-1] - edges[0]))
    slope = amount / (end - start)
    # The rate changes only where an interval begins or ends. Its integral is piecewise linear, so the amount in a bin is
    # exact, whatever the bins: a difference of two interpolations.
    times = np.concatenate((start, end))
    order = np.argsort(times, kind="stable")
    times = times[order]
    rate = np.cumsum(np.concatenate((slope, -slope))[order])
    arrived = np.concatenate(([0.0], np.cumsum(rate[:-1] * np.diff(times))))
    return np.diff(np.interp(edges, times, arrived)) / np.diff(edges)


def _extremes(time: NDArray[np.float64], columns: NDArray[np.int64], *, spans: int) -> NDArray[np.intp]:
    """Return the first row and, in each span, the rows with the smallest and largest value of each column."""
    edges = np.linspace(time[0], time[-1], spans + 1)
    span = np.clip(np.searchsorted(edges, time, side="right") - 1, 0, spans - 1)
    kept = [np.zeros(1, np.intp)]
    for column in columns.T:
        order = np.lexsort((column, span))
        last = np.flatnonzero(np.diff(span[order], append=spans))
        first = np.concatenate(([0], last[:-1] + 1))
        kept += [order[first], order[last]]
    return np.unique(np.concatenate(kept))
