"""Watts over a step, by component: where the joules of a Result go in time.

Computing draws its joules while its slice runs, a transfer while it is under way (its latency included), and what stands by
draws them all the time. Both kinds of time come from the Result alone, so a run that was kept can be asked later.

Known limitation: within a slice and within a stretch of a transfer the power is even; regulators and cooling see less of
the peaks than the memory and the arrays do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.energy import TRANSFER_COMPONENTS, WORK_COMPONENTS
from tmtrain.simulation.result import Result

_SAME_TIME = 1e-12
"""Times closer than this share of the step differ by rounding, and what flows between them is rounding too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Power:
    """Mean watts in each stretch of one step."""

    edges_s: NDArray[np.float64]
    """Where the stretches begin and end, from 0 to the step time, shape (stretches + 1,)."""
    watts: dict[str, NDArray[np.float64]]
    """By component, shape (stretches,)."""

    @property
    def total_w(self) -> NDArray[np.float64]:
        """All components together, shape (stretches,)."""
        return np.sum(list(self.watts.values()), axis=0)

    @property
    def average_w(self) -> float:
        """Over the step."""
        return float((self.total_w * np.diff(self.edges_s)).sum() / self.edges_s[-1])

    @property
    def peak_w(self) -> float:
        """Of the stretch that draws most."""
        return float(self.total_w.max())


def power_over_time(result: Result, *, stretches: int | None = None) -> Power:
    """Return the power that `result` draws over its step; its integral is the energy of each component.

    Where the result is the mean of several steps, the last of them is shown, at the mean power of each component.

    Args:
        result: Of `simulate`.
        stretches: Equal parts to average over; by default the step is cut wherever a slice or a transfer begins or ends, so
            that nothing is averaged and the peak is that of the model.

    >>> from tmtrain.reporting.example import example_result
    >>> result = example_result("tmtrain")
    >>> power = power_over_time(result)
    >>> abs(power.average_w * result.step_time_s / result.energy_j - 1) < 1e-9
    True
    """
    edges_s = _event_times(result) if stretches is None else np.linspace(0.0, result.shown_s, stretches + 1)
    seconds = np.diff(edges_s)
    shares = _shares(result, edges_s)
    even, length = seconds / result.shown_s, result.shown_s / result.step_time_s
    drawn_j = result.energy_by_component_j.items()
    joules = {name: length * total * shares.get(name, even) for name, total in drawn_j}
    return Power(edges_s=edges_s, watts={name: drawn / seconds for name, drawn in joules.items()})


def _event_times(result: Result) -> NDArray[np.float64]:
    """Return every time at which something begins or ends; what wraps round the step does so at its end."""
    series, traffic, period = result.series, result.traffic, result.shown_s
    begun_or_ended = (series.start_s, series.end_s, traffic.start_s % period, traffic.end_s, [0.0, period])
    times = np.unique(np.concatenate(begun_or_ended))
    apart = times[np.diff(times, prepend=-np.inf) > _SAME_TIME * period]
    apart[-1] = period
    return apart


def _shares(result: Result, edges_s: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Return which share of a component's joules each stretch draws, for those that are not drawn evenly."""
    series, traffic = result.series, result.traffic
    shares = {
        name: _share(_spread(series.start_s, series.end_s, work_j, edges_s=edges_s))
        for name, work_j in zip(WORK_COMPONENTS, series.work_j.T, strict=True)
    }
    lanes = (~traffic.is_write, traffic.is_write)
    bytes_in, bytes_out = (_moved(result, lane, edges_s=edges_s) for lane in lanes)
    moved = (bytes_in, bytes_out, bytes_in + bytes_out, bytes_in + bytes_out)
    shares |= {name: _share(amount) for name, amount in zip(TRANSFER_COMPONENTS, moved, strict=True)}
    return {name: share for name, share in shares.items() if share.any()}


def _moved(result: Result, lane: NDArray[np.bool_], *, edges_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the bytes that one lane moves in each stretch.

    The step repeats: what was under way when it began is under way again when it ends.
    """
    traffic = result.traffic
    start, end, amount = traffic.start_s[lane], traffic.end_s[lane], traffic.bytes[lane].astype(np.float64)
    moved = np.zeros(len(edges_s) - 1)
    while len(start):
        before = np.divide(np.maximum(-start, 0.0), end - start, out=np.zeros(len(start)), where=end > start)
        moved += _spread(np.maximum(start, 0.0), end, amount * (1 - before), edges_s=edges_s)
        wraps = start < 0
        start, amount = start[wraps] + result.shown_s, (amount * before)[wraps]
        end = np.full(len(start), result.shown_s)
    return moved


def _spread(
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    amount: NDArray[np.float64],
    *,
    edges_s: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Spread each amount evenly from its start to its end, one interval after the other; return what each stretch gets."""
    if not len(start):
        return np.zeros(len(edges_s) - 1)
    times = np.column_stack((start, end)).ravel()
    arrived = np.repeat(np.concatenate(([0.0], np.cumsum(amount))), 2)[1:-1]
    at_edges = np.interp(edges_s, times, arrived)
    at_edges[[0, -1]] = 0.0, arrived[-1]  # the edges cover the step, whichever way its clock was rounded
    return np.diff(at_edges)


def _share(amount: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `amount` relative to its sum; zeros where there is nothing to share."""
    return amount / (amount.sum() or 1.0)
