"""Which whole tensors are away when, as rows of a mixed-integer programme: what published planners by ILP share.

Legend
    p, x_p   inactive period; 1 if its tensor spends it on flash
    c, w_p   content; 1 if the tensor is written in period p, which serves all periods of its content from p on
    t, a_t   slice; pages away while it runs, in units of the fast tier
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import PolicyError, TimeLimitError
from tmtrain.planning.programme.programme import Programme
from tmtrain.policies.shared.tensors import Tensors

GAP = 0.01
"""AutoTM's: a solution proved to be so close to the optimum is good enough."""
TIME_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorPlacement:
    """Columns and rows of the programme that others add to."""

    moved: NDArray[np.int64]
    """x, shape (periods,)."""
    written: NDArray[np.int64]
    """w, shape (periods,)."""
    balance: NDArray[np.int64]
    """Row t: what is away at t is what was away at t - 1, with those that leave, without those that return; row 0 counts
    those that the step finds away. Shape (slices,)."""
    dirty: NDArray[np.int64]
    """Row p: what is away over a period has been written. Shape (periods,)."""


def add_placement(
    programme: Programme,
    tensors: Tensors,
    *,
    read_cost: float = 0.0,
    write_cost: float = 0.0,
    chosen: NDArray[np.bool_] | None = None,
) -> TensorPlacement:
    """Add the columns and rows of a placement of whole tensors.

    Args:
        programme: Grows.
        tensors: The step.
        read_cost: Of a page that comes in, in objective units.
        write_cost: Of a page that is written.
        chosen: The periods spent on flash, shape (periods,), where that is decided already.
    """
    periods, gaps, T = tensors.periods, tensors.problem.gaps, tensors.num_slices
    unit = float(tensors.timeline.fast_pages)
    count = len(periods)
    least, most = (0.0, 1.0) if chosen is None else (chosen * 1.0, chosen * 1.0)
    x = programme.add_columns("moved", count, lower=least, upper=most, cost=read_cost * periods.pages)
    w = programme.add_columns("written", count, upper=periods.is_dirty * 1.0, cost=write_cost * periods.pages)
    total = float(gaps.pages.sum()) / unit
    # [Capacity]: what is beyond the capacity is away.
    lower = np.maximum(tensors.problem.over_pages, 0) / unit
    a = programme.add_columns("absent", T, lower=lower, upper=max(total, float(lower.max(initial=0.0))))
    # [Balance]
    rows = programme.add_rows("balance", T, lower=0.0, upper=0.0)
    programme.put(rows, a, 1.0)
    programme.put(rows[1:], a[:-1], -1.0)
    # [Dirty]: a tensor is away only if this period, or an earlier one of the same content, writes it.
    first, second = _pairs_of_content(tensors)
    dirty = programme.add_rows("dirty", count, lower=-np.inf, upper=1.0 - periods.is_dirty)
    programme.put(dirty, x, 1.0)
    programme.put(dirty[second], w[first], -1.0)
    placement = TensorPlacement(moved=x, written=w, balance=rows, dirty=dirty)
    leave_in(programme, placement, tensors, columns=x, period=np.arange(count))
    return placement


def leave_in(
    programme: Programme,
    placement: TensorPlacement,
    tensors: Tensors,
    *,
    columns: NDArray[np.int64],
    period: NDArray[np.int64],
) -> None:
    """Let each of `columns` stand for the absence of a tensor in its `period`."""
    T, unit, rows = tensors.num_slices, float(tensors.timeline.fast_pages), placement.balance
    gap, which = tensors.gaps_of(period)
    column, pages = columns[which], tensors.problem.gaps.pages[gap] / unit
    leave, due = (side[gap] for side in tensors.span_of_gaps())
    _put_from(programme, rows, column, -pages, at=leave)
    _put_from(programme, rows, column, pages, at=due)
    wraps = (leave <= T) & (due > T)
    programme.put(rows[0], column[wraps], -pages[wraps])


def return_at(
    programme: Programme,
    placement: TensorPlacement,
    tensors: Tensors,
    *,
    columns: NDArray[np.int64],
    period: NDArray[np.int64],
    at: NDArray[np.int64],
) -> None:
    """Let `columns` bring the tensors of `period` back at slices `at` already, instead of at the ends of the periods."""
    T, unit = tensors.num_slices, float(tensors.timeline.fast_pages)
    pages = tensors.periods.pages[period] / unit
    _put_from(programme, placement.balance, columns, pages, at=at)
    wraps = (tensors.periods.end[period] > T) & (at <= T)
    # Each gap of the period no longer returns at its own end.
    gap, which = tensors.gaps_of(period)
    shares = tensors.problem.gaps.pages[gap] / unit
    _put_from(programme, placement.balance, columns[which], -shares, at=tensors.span_of_gaps()[1][gap])
    programme.put(placement.balance[0], columns[wraps], pages[wraps])


def solve_placement(
    programme: Programme,
    integral: NDArray[np.int64] | None,
    *,
    name: str,
    time_limit_s: float = TIME_LIMIT_S,
) -> NDArray[np.float64]:
    """Return the columns of the best placement that is found in time.

    Args:
        programme: Complete.
        integral: The columns that are; `TensorPlacement.written` need not, given `TensorPlacement.moved`. None: no column.
        name: Of the policy.
        time_limit_s: When to stop.

    Raises:
        PolicyError: none is found.
    """
    try:
        if integral is None:
            return programme.solve(time_limit_s=time_limit_s).x
        return programme.solve_integral(integral, gap=GAP, time_limit_s=time_limit_s)
    except TimeLimitError as error:
        raise PolicyError(f"{name}: the step is too large for its solver: {error}", policy=name) from error


def _put_from(
    programme: Programme,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    values: NDArray[np.float64],
    *,
    at: NDArray[np.int64],
) -> None:
    """Put a change into the balance of slice `at`; at slice 0 the row counts, and the change has been counted."""
    t = at % len(rows)
    inside = t > 0
    programme.put(rows[t[inside]], columns[inside], values[inside])


def _pairs_of_content(tensors: Tensors) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return all pairs of periods of one content, the first one not after the second."""
    periods, content = tensors.periods, tensors.content
    written = np.zeros(len(periods), np.int64)
    written[tensors.period_of_gap] = tensors.problem.gaps.last_write
    age = (periods.start - written) % tensors.num_slices
    groups: dict[int, list[int]] = {}
    for p in np.lexsort((age, content)).tolist():
        if content[p] >= 0:
            groups.setdefault(int(content[p]), []).append(p)
    pairs = [(a, b) for group in groups.values() for j, b in enumerate(group) for a in group[: j + 1]]
    first, second = np.array(pairs, np.int64).reshape(-1, 2).T
    return first, second
