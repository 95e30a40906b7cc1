"""The linear programme of placement, solved by HiGHS, rounded to whole pages.

Legend (g gap, e epoch, t slice; pages unless said otherwise)
    x_g     pages of gap g that are absent: moved out and fetched back
    w_e     pages written to flash in epoch e; the pages of the first gap serve the later ones
    A_t     pages absent while slice t runs
    tau     seconds of the step
    c, C    prices of a page in and out, price of a second

::

    minimise    C tau + sum_g c_in x_g + sum_e c_out w_e
    [Absence]   A_t = A_{t-1} + sum_{g starts at t-1} x_g - sum_{g ends at t} x_g          (cyclic)
    [Capacity]  A_t >= over_t
    [Dirty]     w_e >= x_g                          for every gap g of epoch e
    [Channel]   rate tau >= sum x, sum w, sum x + w    for the read, the write and the shared channel
                tau >= seconds of computing,  0 <= x_g <= s_g

[Capacity] with [Absence] is an interval matrix in difference form (two non-zeros per gap). [Channel] is the aggregate
of the link: no schedule is shorter, so the bound stays valid for every policy, and a plan that is bound by the link
pays for the seconds it waits.

Note [Longest gaps]
    The optimum is degenerate: many placements move the same bytes. They differ in how well the transfers hide: a page
    that is absent for long can be written and fetched while the link has nothing better to do, and leaves slack around
    the peak. So every page moved costs a little extra, the less the longer its gap lasts (in compute time). This costs
    at most TIE_BREAK of the optimum and brings the simulated step to the bound (benchmarks/tie_break.md).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array

from tmtrain.errors import SolverError
from tmtrain.lower.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.plan.objective import Objective
from tmtrain.plan.problem import Problem
from tmtrain.plan.rounding import to_whole_pages

TIE_BREAK = 1e-5
"""Weight of Note [Longest gaps], relative to the dearest price of a page."""


MANY_GAPS = 30_000
"""From here on the interior point method (with crossover to a vertex) beats the dual simplex: GPT-2 in 2 % of its
footprint, 51,000 gaps, takes 22 s instead of 186; a 175B step, 19,000 gaps, takes 7.5 s instead of 6.4."""
NUM_CHANNELS = 3
"""Read, write, shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """Dual values: what one more page or one more second of a channel would save, in objective units."""

    capacity: NDArray[np.float64]
    """Per page of fast memory at each slice, shape (T,), >= 0."""
    read: float
    """Per second of the read channel; with `write` and `shared` at most the price of a second of the step."""
    write: float
    shared: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The solved programme."""

    moved: NDArray[np.int64]
    """Whole pages moved per gap, shape (gaps,); feasible."""
    optimum: float
    """Optimum of the programme before rounding, in objective units, constant included."""
    prices: Prices


def solve(problem: Problem, *, timeline: Timeline, machine: Machine, objective: Objective) -> Placement:
    """Find the pages to move in every gap.

    Raises:
        SolverError: HiGHS gave up (numerical trouble); infeasibility was excluded by `build_problem`.
    """
    relevant = _relevant(problem)
    if not relevant.any():
        return _nothing_to_move(problem, timeline, objective)
    model = _assemble(problem, relevant, timeline=timeline, machine=machine, objective=objective)
    answer: Any = linprog(
        model.cost + model.nudge, A_ub=model.upper_rows, b_ub=np.zeros(model.num_upper_rows),
        A_eq=model.equal_rows, b_eq=np.zeros(model.num_slices),
        bounds=np.column_stack([model.lower, model.upper]),
        method="highs-ds" if model.num_gaps < MANY_GAPS else "highs-ipm",
    )  # fmt: skip
    if answer.status != 0:
        raise SolverError(f"HiGHS did not solve the placement of {len(problem.gaps)} gaps: {answer.message}")
    exact = np.zeros(len(problem.gaps))
    exact[relevant] = answer.x[: model.num_gaps]
    return Placement(
        moved=to_whole_pages(problem, exact),
        optimum=float(model.cost @ answer.x) * model.scale + objective.constant,
        prices=_prices(answer, model, problem),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Model:
    """Columns: x (gaps), w (epochs), A (slices), tau. Costs are divided by `scale` to keep HiGHS well scaled."""

    num_gaps: int
    num_epochs: int
    num_slices: int
    """One equality row each."""
    num_upper_rows: int
    cost: NDArray[np.float64]
    scale: float
    nudge: NDArray[np.float64]
    """Extra cost of Note [Longest gaps]; not part of the objective."""
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    equal_rows: csr_array
    upper_rows: csr_array


def _relevant(problem: Problem) -> NDArray[np.bool_]:
    """Gaps that cover a slice that lacks memory; the others are kept in some optimal solution."""
    lacks = np.concatenate([[0], np.cumsum(problem.over_pages > 0)])
    start, end = problem.gaps.start, problem.gaps.end
    wraps = end <= start
    inside = lacks[end] - lacks[np.minimum(start + 1, problem.num_slices)]
    return inside + np.where(wraps, lacks[-1], 0) > 0


def _nothing_to_move(problem: Problem, timeline: Timeline, objective: Objective) -> Placement:
    return Placement(
        moved=np.zeros(len(problem.gaps), np.int64),
        optimum=objective.value(step_time_s=timeline.compute_s, bytes_in=0, bytes_out=0),
        prices=Prices(capacity=np.zeros(problem.num_slices), read=0.0, write=0.0, shared=0.0),
    )


def _assemble(
    problem: Problem,
    relevant: NDArray[np.bool_],
    *,
    timeline: Timeline,
    machine: Machine,
    objective: Objective,
) -> _Model:
    gaps, T = problem.gaps, problem.num_slices
    start, end, size = gaps.start[relevant], gaps.end[relevant], gaps.pages[relevant]
    used, epoch = np.unique(gaps.epoch[relevant], return_inverse=True)
    has_clean = bool(len(used)) and used[0] < 0  # epoch -1: flash holds the content already
    epoch, E = epoch - int(has_clean), len(used) - int(has_clean)
    G, page = len(start), timeline.page_bytes
    cost = np.concatenate([
        np.full(G, objective.per_byte_in * page),
        np.full(E, objective.per_byte_out * page),
        np.zeros(T),
        [objective.per_second],
    ])  # fmt: skip
    dearest = max(
        objective.per_byte_in, objective.per_byte_out, objective.per_second / machine.shared_bytes_per_s
    )
    scale = dearest * page
    biggest = np.zeros(E)
    np.maximum.at(biggest, epoch[epoch >= 0], size[epoch >= 0])
    return _Model(
        num_gaps=G,
        num_epochs=E,
        num_slices=T,
        num_upper_rows=int((epoch >= 0).sum()) + NUM_CHANNELS,
        cost=cost / scale,
        scale=scale,
        nudge=TIE_BREAK
        * np.concatenate([2 - _duration_share(start, end, timeline), np.ones(E), np.zeros(T + 1)]),
        lower=np.concatenate([np.zeros(G + E), np.maximum(problem.over_pages, 0), [timeline.compute_s]]),
        upper=np.concatenate([size.astype(np.float64), biggest, np.full(T + 1, np.inf)]),
        equal_rows=_absence_rows(start, end, T=T, E=E),
        upper_rows=_upper_rows(epoch, T=T, E=E, page=page, machine=machine),
    )


def _duration_share(
    start: NDArray[np.int32], end: NDArray[np.int32], timeline: Timeline
) -> NDArray[np.float64]:
    """Compute time inside each gap, as a share of the step's."""
    clock = np.concatenate([[0.0], np.cumsum(timeline.slices.duration_s)])
    inside = clock[end] - clock[start + 1] + np.where(end <= start, clock[-1], 0.0)
    return inside / clock[-1] if clock[-1] > 0 else np.zeros(len(start))


def _absence_rows(start: NDArray[np.int32], end: NDArray[np.int32], *, T: int, E: int) -> csr_array:
    # [Absence]  A_t - A_{t-1} - (x that left before t) + (x that is back for t) = 0, and for t = 0 the cyclic start:
    # A_0 - (x of gaps that wrap and end later than slice 0, or begin at the last slice) = 0
    G, t = len(start), np.arange(T)
    column = np.arange(G)
    wraps = end <= start
    in_zero = wraps & (end > 0)
    leaves, returns = start + 1 < T, end > 0
    rows = np.concatenate([t, t[1:], start[leaves] + 1, end[returns], np.zeros(int(in_zero.sum()), int)])
    columns = np.concatenate([G + E + t, G + E + t[:-1], column[leaves], column[returns], column[in_zero]])
    values = np.concatenate([
        np.ones(T), -np.ones(T - 1), -np.ones(int(leaves.sum())), np.ones(int(returns.sum())), -np.ones(int(in_zero.sum())),
    ])  # fmt: skip
    return csr_array((values, (rows, columns)), shape=(T, G + E + T + 1))


def _upper_rows(epoch: NDArray[np.int64], *, T: int, E: int, page: int, machine: Machine) -> csr_array:
    G = len(epoch)
    dirty = np.flatnonzero(epoch >= 0)
    D, tau = len(dirty), G + E + T
    x, w = np.arange(G), G + np.arange(E)
    # [Dirty]  x_g - w_e <= 0
    rows = [np.arange(D), np.arange(D)]
    columns = [dirty, G + epoch[dirty]]
    values = [np.ones(D), -np.ones(D)]
    # [Channel]  seconds of the traffic - tau <= 0, for the read, the write and the shared channel
    channels = (
        (x, machine.read_bytes_per_s),
        (w, machine.write_bytes_per_s),
        (np.concatenate([x, w]), machine.shared_bytes_per_s),
    )
    for index, (moved, rate) in enumerate(channels):
        rows += [np.full(len(moved) + 1, D + index)]
        columns += [np.append(moved, tau)]
        values += [np.append(np.full(len(moved), page / rate), -1.0)]
    return csr_array(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))),
        shape=(D + NUM_CHANNELS, tau + 1),
    )


def _prices(answer: Any, model: _Model, problem: Problem) -> Prices:
    lower = np.asarray(answer.lower.marginals)
    rows = -np.asarray(answer.ineqlin.marginals)[-NUM_CHANNELS:] * model.scale
    absent = lower[model.num_gaps + model.num_epochs : -1] * model.scale
    capacity = np.where(problem.over_pages > 0, absent, 0.0).clip(min=0.0)
    return Prices(capacity=capacity, read=float(rows[0]), write=float(rows[1]), shared=float(rows[2]))
