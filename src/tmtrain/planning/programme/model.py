"""The planning problem as a linear programme.

Legend (pages in units of `UNIT`-ths of the fast tier; g gap, u unit, q recomputation, e epoch, t slice, b bin of slices)
    x_g       pages of gap g that are absent: moved out and fetched back (gaps that no unit stands for)
    A_u, P_uj pages of unit u that need no fetch; that are there at its j-th recompute point: see Note [Nested rows]
    R_q       share of recomputation q that runs
    w_e       pages written to flash in epoch e; flash then serves every gap of the epoch
    absent_t  pages absent while slice t runs
    in_b, out_b, stall_b   pages read and written, seconds waited, while the slices of bin b run
    ahead_b   pages that have come in before they are due, at the end of bin b
    owed_kb   pages of class k whose content is final and not written yet, at the end of bin b; waiting_kb is how many
              pages are final and still counted as present, so that late_kb = owed_kb - waiting_kb are counted as absent
              already. Classes part what leaves as soon as it is final from what stays for long, see Note [Patience]

::

    minimise   price of a second * (compute + recomputations + stalls) + price in * fetched + price out * written + recomputation joules
    [Absence]  absent_t = absent_{t-1} + what leaves before t - what returns before t                      (cyclic)
    [Capacity] absent_t >= over_t, and at the end of a bin: absent_t >= over_t + ahead_b + late_b
    [Rows]     R_q size <= A_u <= P_u1 <= P_u2 ... ; R_q <= P_uj of its inputs, R_q <= R_q' of those made by q'
    [Dirty]    w_e >= x_g for its gaps, sum of w_e >= size - A_u over the units and epochs of the same pages
    [Link]     in_b, out_b and their sum take no longer than the compute, recomputations and stalls of bin b
    [Reads]    ahead_b = ahead_{b-1} + in_b - what is due in b,  >= 0                                     (cyclic)
    [In time]  ahead_{b-1} + what the read channel can carry in the stalls of b and before slice t >= what is due in b by t
    [Writes]   owed_kb = owed_k,b-1 + what becomes final in b - out_kb,  >= 0;  late_kb >= owed_kb - waiting_kb, 0  (cyclic)
    [Wear]     sum of w <= the write budget of a step

Note [Relaxations]
    Every plan of the class in `tmtrain.planning.programme.certificate` gives a solution no dearer than itself, so the optimum is a lower
    bound. What the programme leaves out only makes it cheaper: where within a bin a transfer runs; which of the queued
    pages goes first; the memory of intermediate results inside a recomputation and of the pages in flight between bin ends; the
    weights that a recomputation reads; one page more or less (shares are real numbers).

Note [Patience]
    Which of the owed pages is written first is not part of the programme. If all were alike, it could write patient pages
    early (parameters, which stay until forward has used them), and later exchange them for urgent ones (optimizer state,
    which leaves at once): a loan that no real channel gives. Between classes of patience there is no exchange.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.lowering.cost import slice_work
from tmtrain.lowering.energy import work_energy_j
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.programme.bins import bin_edges
from tmtrain.planning.programme.programme import Programme
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.plans.plan import Bound
from tmtrain.ragged import lay_flat

UNIT = 256
"""Pages are counted in so many parts of the fast tier, which keeps HiGHS well scaled."""
TIE_BREAK = 1e-5
"""Weight of Note [Longest gaps] in `tmtrain.planning.programme.solve`, relative to the dearest price of a page."""


PATIENCE = (0.01, 0.1)
"""Shares of the step that part the classes of Note [Patience]: what leaves at once, soon, or late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """The programme and where its decisions stand in it."""

    programme: Programme
    page_unit: float
    """Pages per unit of the columns."""
    page_bytes: int
    second: float
    """Seconds per unit of the stall columns."""
    recompute_s: NDArray[np.float64]
    """Seconds of each recomputation."""
    gaps: NDArray[np.int64]
    """Gaps that have a column of their own."""
    edges: NDArray[np.int64]

    def prices(self, bound: Bound) -> NDArray[np.float64]:
        """Return the multipliers of a bound in the order of the programme's rows.

        Raises:
            InputError: they are of another programme.
        """
        rows, given = self.programme.rows, bound.multipliers
        if any(len(given.get(name, ())) != part.stop - part.start for name, part in rows.items()):
            raise InputError("the prices of the plan belong to another planning problem: plan the step anew")
        return np.concatenate([given.get(name, np.zeros(0)) for name in rows])


def build_model(
    problem: Problem,
    *,
    timeline: Timeline,
    machine: Machine,
    objective: Objective,
    candidates: RecomputeCandidates | None = None,
    write_budget_bytes: float | None = None,
) -> Model:
    """Write the planning problem down.

    Args:
        problem: Gaps, epochs, and what each slice lacks.
        timeline: The step.
        machine: Rates of the link.
        objective: Prices.
        recomputing: What may be recomputed; None: keep or move only.
        write_budget_bytes: Most bytes written per step.
    """
    builder = _Builder(problem, timeline, machine, objective, candidates or RecomputeCandidates())
    builder.add_moves()
    builder.add_units()
    builder.add_recomputations()
    builder.add_writes(write_budget_bytes)
    builder.add_capacity()
    builder.add_link()
    return Model(
        programme=builder.programme, page_unit=builder.page_unit, page_bytes=timeline.page_bytes,
        second=builder.second, recompute_s=builder.recompute_s, gaps=builder.gap_numbers, edges=builder.edges,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=False)
class _ColumnStretch:
    """Columns that count, times `factor`, in positions lo .. hi - 1; those that wrap go on from the start."""

    columns: NDArray[np.int64]
    lo: NDArray[np.int64]
    hi: NDArray[np.int64]
    wraps: NDArray[np.bool_]
    factor: float | NDArray[np.float64]

    def of(self, chosen: NDArray[np.bool_]) -> "_ColumnStretch":
        """Return the chosen ones."""
        factor = np.broadcast_to(np.asarray(self.factor, np.float64), self.lo.shape)
        return _ColumnStretch(
            self.columns[chosen], self.lo[chosen], self.hi[chosen], self.wraps[chosen], factor[chosen]
        )


def recompute_costs(
    timeline: Timeline, machine: Machine, candidates: RecomputeCandidates
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the seconds and joules of each recomputation, were it one uncut piece of its producer's operators."""
    producers, count = timeline.producers, len(timeline.producers.op)
    if not count:
        return np.zeros(0), np.zeros(0)
    work = slice_work(producers.loads, machine, share=np.ones(count), dims=np.ones((count, 4)))
    joules = work_energy_j(work, machine=machine)
    producer = np.array(candidates.recompute_producer, np.int64)
    share = np.array([(b - a) / n for a, b, n in candidates.recompute_rows])
    first = producers.op_ptr[:-1]
    return np.add.reduceat(work.duration_s, first)[producer] * share, np.add.reduceat(joules, first)[
        producer
    ] * share


def _covers_lack(problem: Problem) -> NDArray[np.bool_]:
    """Gaps that cover a slice that lacks memory; the others are kept in some optimal solution."""
    lacks = np.concatenate([[0], np.cumsum(problem.over_pages > 0)])
    start, end = problem.gaps.start, problem.gaps.end
    wraps = end <= start
    inside = lacks[end] - lacks[np.minimum(start + 1, problem.num_slices)]
    return inside + np.where(wraps, lacks[-1], 0) > 0


class _Builder:
    """One method per family of columns and rows; run them in the order of `build_model`."""

    def __init__(
        self,
        problem: Problem,
        timeline: Timeline,
        machine: Machine,
        objective: Objective,
        candidates: RecomputeCandidates,
    ) -> None:
        self.programme = Programme(constant=objective.constant + objective.per_second * timeline.compute_s)
        self.page_unit = max(timeline.fast_pages / UNIT, 1.0)
        self.edges = bin_edges(timeline, problem.over_pages)
        self.second = max(timeline.compute_s / (len(self.edges) - 1), 1e-12)
        self._problem, self._timeline, self._machine = problem, timeline, machine
        self._objective, self._candidates = objective, candidates
        self._T, self._B = problem.num_slices, len(self.edges) - 1
        self._unit_bytes = self.page_unit * timeline.page_bytes
        self._price_in = objective.per_byte_in * self._unit_bytes
        self._price_out = objective.per_byte_out * self._unit_bytes
        dearest = max(
            self._price_in,
            self._price_out,
            objective.per_second * self._unit_bytes / machine.shared_bytes_per_s,
        )
        self._tie_break = TIE_BREAK * dearest
        covered = _covers_lack(problem)
        covered[candidates.replaced_gaps] = False
        covered[candidates.free_gaps] = False
        self.gap_numbers = np.flatnonzero(covered)
        self._total = float(problem.gaps.pages.sum() + sum(candidates.unit_pages)) / self.page_unit
        self._absences: list[_ColumnStretch] = []
        self._waiting: list[tuple[_ColumnStretch, NDArray[np.int64]]] = []
        """Pages to be written that are still counted as present, and their classes."""
        self._due: list[tuple[NDArray[np.int64], NDArray[np.int64], float]] = []
        """(slice, column, sign) of what must have come in."""
        self._final: list[tuple[NDArray[np.int64], NDArray[np.int64], float, NDArray[np.int64]]] = []
        """(slice, column, sign, class) of what becomes final and will be written."""
        self._w: list[NDArray[np.int64]] = []
        """Columns that count what is written."""
        self._due_in_slice = np.zeros(self._T)
        self._absent_whole = np.zeros(self._T)

    def add_moves(self) -> None:
        """x_g."""
        gaps, chosen = self._problem.gaps, self.gap_numbers
        start, end = gaps.start[chosen].astype(np.int64), gaps.end[chosen].astype(np.int64)
        size = gaps.pages[chosen] / self.page_unit
        self._x = self.programme.add_columns(
            "moved", len(chosen), upper=size, cost=self._price_in, nudge=self._longest_first(start, end)
        )
        self._absences.append(_ColumnStretch(self._x, start + 1, end, end <= start, 1.0))
        self._due.append((end % self._T, self._x, 1.0))

    def add_units(self) -> None:
        """A_u and P_uj, in order of units: A, then the moments."""
        candidates, per = self._candidates, self.page_unit
        size = np.array(candidates.unit_pages, np.float64) / per
        start, end = np.array(candidates.unit_start, np.int64), np.array(candidates.unit_end, np.int64)
        must = end >= 0
        points = np.array([len(m) for m in candidates.unit_points], np.int64)
        first = np.concatenate([[0], np.cumsum(points + 1)])
        unit = np.repeat(np.arange(len(size)), points + 1)
        is_stay = np.zeros(len(unit), bool)
        is_stay[first[:-1]] = True
        is_last = np.zeros(len(unit), bool)
        is_last[first[1:] - 1] = True
        # A page that stays, or is recomputed, is not fetched; where only recomputations read, what is there at the end came in.
        cost = np.where(is_stay, -self._price_in, 0.0) + np.where(is_last & ~must[unit], self._price_in, 0.0)
        nudge = np.where(is_stay, -self._longest_first(start, np.where(must, end, start))[unit], 0.0)
        self.programme.constant += float(self._price_in * size[must].sum())
        columns = self.programme.add_columns("there", len(unit), upper=size[unit], cost=cost, nudge=nudge)
        self._stay, self._last, self._unit_size, self._must = columns[is_stay], columns[is_last], size, must
        self._first_there = columns[first[:-1]]
        order = self.programme.add_rows("order", int((~is_stay).sum()), lower=0.0, upper=np.inf)
        self.programme.put(order, columns[~is_stay], 1.0)
        self.programme.put(order, columns[~is_stay] - 1, -1.0)
        at = np.concatenate(
            [[s, *m] for s, m in zip(start.tolist(), candidates.unit_points, strict=True)] or [[]]
        )
        begins = np.where(is_stay, at + 1, at).astype(np.int64)
        ends = np.roll(begins, -1)
        ends[is_last] = np.where(must, end, begins[is_last])
        self._absences.append(_ColumnStretch(columns, begins, ends, np.zeros(len(unit), bool), -1.0))
        # Due at each moment what is there more than before, and at the end the rest.
        self._due.append((begins[~is_stay], columns[~is_stay], 1.0))
        self._due.append((begins[~is_stay], columns[~is_stay] - 1, -1.0))
        self._due.append((end[must], self._last[must], -1.0))
        np.add.at(self._due_in_slice, end[must], size[must])
        change = np.zeros(self._T + 1)
        np.add.at(change, start[must] + 1, size[must])
        np.subtract.at(change, end[must], size[must])
        gaps, free = self._problem.gaps, np.array(candidates.free_gaps, np.int64)
        np.add.at(change, gaps.start[free] + 1, gaps.pages[free] / per)
        np.subtract.at(change, gaps.end[free], gaps.pages[free] / per)
        self._absent_whole = np.cumsum(change)[: self._T]

    def add_recomputations(self) -> None:
        """R_q, its cost, and [Rows]."""
        candidates, programme = self._candidates, self.programme
        seconds, joules = recompute_costs(self._timeline, self._machine, candidates)
        self.recompute_s = seconds
        self._recompute_point = np.array(candidates.recompute_point, np.int64)
        self._R = programme.add_columns(
            "recomputed", len(seconds), upper=np.array(candidates.recompute_possible, np.float64),
            cost=self._objective.per_second * seconds + self._objective.per_joule * joules,
        )  # fmt: skip
        makes = np.array(candidates.makes, np.int64).reshape(-1, 2)
        q, u = makes.T
        size = self._unit_size[u]
        rows = programme.add_rows("makes", len(q), lower=0.0, upper=np.inf)
        programme.put(rows, self._stay[u], 1.0)
        programme.put(rows, self._R[q], -size)
        point = np.array([m[0] for m in candidates.unit_points], np.int64)
        start = np.array(candidates.unit_start, np.int64)
        # A row that is recomputed is away from the last use on; `add_units` counts it as kept.
        self._absences.append(
            _ColumnStretch(self._R[q], start[u] + 1, point[u], np.zeros(len(q), bool), size)
        )
        rows = programme.add_rows("reads", len(candidates.reads_units), lower=0.0, upper=np.inf)
        for row, (recomputation, parts) in zip(rows.tolist(), candidates.reads_units, strict=True):
            programme.put(row, self._R[recomputation], -1.0)
            for unit, index, share in parts:
                programme.put(row, self._first_there[unit] + 1 + index, share / self._unit_size[unit])
        chains = np.array(candidates.reads_recomputation, np.int64).reshape(-1, 2)
        rows = programme.add_rows("chains", len(chains), lower=0.0, upper=np.inf)
        programme.put(rows, self._R[chains[:, 1]], 1.0)
        programme.put(rows, self._R[chains[:, 0]], -1.0)

    def add_writes(self, budget_bytes: float | None) -> None:
        """w, [Dirty], [Wear], and when pages become final and depart.

        One column per gap: pages written by its start, growing from gap to gap of an epoch; the last one is w_e.
        """
        gaps, programme, T = self._problem.gaps, self.programme, self._T
        unit_gaps = np.array([g for u in self._candidates.unit_gaps for g in u], np.int64)
        dirty = np.unique(np.concatenate([self.gap_numbers, unit_gaps]))
        dirty = dirty[gaps.epoch[dirty] >= 0]
        final = gaps.last_write[dirty].astype(np.int64)
        since = (gaps.start[dirty] - final) % T
        order = np.lexsort((since, gaps.epoch[dirty]))
        dirty, final, since = dirty[order], final[order], since[order]
        is_last = np.diff(gaps.epoch[dirty], append=-1) != 0
        later = np.diff(gaps.epoch[dirty], prepend=-1) == 0
        written = programme.add_columns(
            "written", len(dirty), upper=gaps.pages[dirty] / self.page_unit,
            cost=np.where(is_last, self._price_out, 0.0), nudge=np.where(is_last, self._tie_break, 0.0),
        )  # fmt: skip
        self._w.append(written[is_last])
        rows = programme.add_rows("written before", int(later.sum()), lower=0.0, upper=np.inf)
        programme.put(rows, written[later], 1.0)
        programme.put(rows, written[later] - 1, -1.0)
        column_of = np.full(len(gaps), -1)
        column_of[dirty] = written
        self._add_dirty(column_of)
        # What a gap adds to what is written waits from the last write to the start of the gap.
        leaves, patience = final + since, self._patience(final, final + since)
        for columns, chosen, sign in (
            (written, np.ones(len(dirty), bool), 1.0),
            (written[later] - 1, later, -1.0),
        ):
            begin, end = final[chosen], leaves[chosen] + 1  # there until slice `leaves` has run
            self._final.append((begin, columns, sign, patience[chosen]))
            self._waiting.append((_ColumnStretch(columns, begin, end % T, end >= T, sign), patience[chosen]))
        self._add_loose_writes()
        if budget_bytes is not None:
            wear = programme.add_rows("wear", 1, lower=-np.inf, upper=budget_bytes / self._unit_bytes)
            programme.put(wear, np.concatenate(self._w), 1.0)

    def _add_dirty(self, column_of: NDArray[np.int64]) -> None:
        """[Dirty]: what a gap moves is written by its start; of units, what is neither kept nor recomputed."""
        programme = self.programme
        moves = np.flatnonzero(column_of[self.gap_numbers] >= 0)
        rows = programme.add_rows("dirty", len(moves), lower=0.0, upper=np.inf)
        programme.put(rows, column_of[self.gap_numbers[moves]], 1.0)
        programme.put(rows, self._x[moves], -1.0)
        # Several units may share a gap, or one may have several.
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for u, members in enumerate(self._candidates.unit_gaps):
            if members and (column_of[list(members)] >= 0).all():
                groups[members].append(u)
        size = np.array([float(self._unit_size[units].sum()) for units in groups.values()])
        rows = programme.add_rows("unit dirty", len(groups), lower=size, upper=np.inf)
        for row, (members, units) in zip(rows.tolist(), groups.items(), strict=True):
            programme.put(row, column_of[list(members)], 1.0)
            programme.put(row, self._stay[units], 1.0)

    def _patience(self, final: NDArray[np.int64], leaves: NDArray[np.int64]) -> NDArray[np.int64]:
        """Class of what is final after slice `final` and leaves after slice `leaves`, which may lie in the next step."""
        bins = self._bin_of(leaves) - self._bin_of(final) + (leaves // self._T - final // self._T) * self._B
        return np.searchsorted(np.array(PATIENCE) * self._B, bins, side="left")

    def _add_loose_writes(self) -> None:
        """What is away only between forward and the recomputations that read it is written for them alone."""
        candidates, programme = self._candidates, self.programme
        loose = [u for u, gaps in enumerate(candidates.unit_gaps) if not gaps]
        own = programme.add_columns(
            "written for recomputations",
            len(loose),
            upper=self._unit_size[loose],
            cost=self._price_out,
            nudge=self._tie_break,
        )
        rows = programme.add_rows("loose dirty", len(loose), lower=0.0, upper=np.inf)
        programme.put(rows, own, 1.0)
        programme.put(rows, self._last[loose], -1.0)
        programme.put(rows, self._stay[loose], 1.0)
        final = np.array(candidates.unit_final, np.int64)[loose]
        start = np.array(candidates.unit_start, np.int64)[loose]
        patience = self._patience(final, start)
        self._w.append(own)
        self._final.append((final, own, 1.0, patience))
        self._waiting.append(
            (_ColumnStretch(own, final, start + 1, np.zeros(len(loose), bool), 1.0), patience)
        )

    def add_capacity(self) -> None:
        """absent_t with [Absence] and [Capacity]."""
        programme, T, B = self.programme, self._T, self._B
        need = self._problem.over_pages / self.page_unit - self._absent_whole
        least = np.maximum(need, -self._total)
        at_end = self.edges[1:] - 1
        self._ahead = programme.add_columns("ahead", B, upper=self._total)
        self._late = programme.add_columns("late", B * (len(PATIENCE) + 1), upper=self._total).reshape(-1, B)
        absent = programme.add_columns("absent", T, lower=least, upper=2 * self._total)
        self._stock("absence", absent, self._absences)
        rows = programme.add_rows("room", B, lower=need[at_end], upper=np.inf)
        programme.put(rows, absent[at_end], 1.0)
        programme.put(rows, self._ahead, -1.0)
        programme.put(rows[None, :], self._late, -1.0)

    def add_link(self) -> None:
        """in_b, out_b, stall_b with [Link], [Reads] and [Writes]."""
        programme, machine, B = self.programme, self._machine, self._B
        seconds = np.add.reduceat(self._timeline.slices.duration_s, self.edges[:-1])
        longest = (
            4 * self._total * self._unit_bytes / min(machine.read_bytes_per_s, machine.write_bytes_per_s)
        )
        second = self.second
        came = programme.add_columns("in", B, upper=self._total)
        went = programme.add_columns("out", B, upper=self._total)
        stall = self._stall = programme.add_columns(
            "stall",
            B,
            upper=longest / second,
            cost=self._objective.per_second * second,
        )
        channels = (
            ("read", machine.read_bytes_per_s, (came,)),
            ("write", machine.write_bytes_per_s, (went,)),
            ("shared", machine.shared_bytes_per_s, (came, went)),
        )
        busy = self._bin_of(self._recompute_point)
        for name, rate, moved in channels:
            rows = programme.add_rows(f"{name} channel", B, lower=-np.inf, upper=seconds / second)
            for columns in moved:
                programme.put(rows, columns, self._unit_bytes / rate / second)
            programme.put(rows, stall, -1.0)
            programme.put(rows[busy], self._R, -self.recompute_s / second)
        due = np.add.reduceat(self._due_in_slice, self.edges[:-1])
        rows = programme.add_rows("reads ahead", B, lower=-due, upper=-due)
        self._carry(rows, self._ahead)
        programme.put(rows, came, -1.0)
        for t, columns, sign in self._due:
            programme.put(rows[self._bin_of(t)], columns, sign)
        self._add_in_time()
        self._add_write_queues(went)

    def _add_in_time(self) -> None:
        """[In time], one row for each slice at which something is due."""
        programme, edges = self.programme, self.edges
        rate = min(self._machine.read_bytes_per_s, self._machine.shared_bytes_per_s) / self._unit_bytes
        scale = 1 / max(rate * self.second, 1.0)  # seconds where the link is fast, pages where it is slow
        at = np.unique(np.concatenate([t for t, _, _ in self._due] + [np.flatnonzero(self._due_in_slice)]))
        b = self._bin_of(at)
        clock = np.concatenate([[0.0], np.cumsum(self._timeline.slices.duration_s)])
        # What is due by each of them in its bin, as ranges of the rows: those at or after the slice, in the same bin.
        row_end = np.searchsorted(at, edges[1:])
        whole = np.concatenate([[0.0], np.cumsum(self._due_in_slice)])
        due = whole[at + 1] - whole[edges[b]]
        carried = rate * (clock[at] - clock[edges[b]])
        rows = programme.add_rows("in time", len(at), lower=(due - carried) * scale, upper=np.inf)
        programme.put(rows, self._ahead[b - 1], scale)
        programme.put(rows, self._stall[b], rate * self.second * scale)
        for t, columns, sign in self._due:
            self._put_ranges(
                rows,
                np.searchsorted(at, t),
                row_end[self._bin_of(t)],
                columns,
                np.full(len(t), -sign * scale),
            )
        point = self._recompute_point
        first = np.searchsorted(at, point)
        self._put_ranges(rows, first, row_end[self._bin_of(point)], self._R, rate * self.recompute_s * scale)

    def _put_ranges(
        self,
        rows: NDArray[np.int64],
        first: NDArray[np.int64],
        end: NDArray[np.int64],
        columns: NDArray[np.int64],
        values: NDArray[np.float64],
    ) -> None:
        """Put each value into rows first .. end - 1 of its column."""
        which, offset = lay_flat(np.maximum(end - first, 0))
        self.programme.put(rows[first[which] + offset], columns[which], values[which])

    def _add_write_queues(self, went: NDArray[np.int64]) -> None:
        """[Writes], one queue for each class of Note [Patience]."""
        programme, B = self.programme, self._B
        total = programme.add_rows("out", B, lower=0.0, upper=0.0)
        programme.put(total, went, -1.0)
        for k in range(len(PATIENCE) + 1):
            out = programme.add_columns(f"out {k}", B, upper=self._total)
            programme.put(total, out, 1.0)
            owed = programme.add_columns(f"owed {k}", B, upper=self._total)
            rows = programme.add_rows(f"owed {k}", B, lower=0.0, upper=0.0)
            self._carry(rows, owed)
            programme.put(rows, out, 1.0)
            for t, columns, sign, patience in self._final:
                chosen = patience == k
                programme.put(rows[self._bin_of(t[chosen])], columns[chosen], -sign)
            waiting = programme.add_columns(f"waiting {k}", B, lower=-self._total, upper=2 * self._total)
            chosen = [stretch.of(patience == k) for stretch, patience in self._waiting]
            self._stock(f"waiting {k}", waiting, chosen, edges=True)
            rows = programme.add_rows(f"late {k}", B, lower=0.0, upper=np.inf)
            programme.put(rows, self._late[k], 1.0)
            programme.put(rows, owed, -1.0)
            programme.put(rows, waiting, 1.0)

    def _stock(
        self, name: str, stock: NDArray[np.int64], stretches: list["_ColumnStretch"], *, edges: bool = False
    ) -> None:
        """Make stock_p the sum of the columns whose stretch covers p (a slice, or with `edges` the end of a bin)."""
        programme, period = self.programme, len(stock)
        rows = programme.add_rows(name, period, lower=0.0, upper=0.0)
        programme.put(rows, stock, 1.0)
        programme.put(rows[1:], stock[:-1], -1.0)
        for stretch in stretches:
            lo, hi = (
                (self._bin_of(stretch.lo), self._bin_of(stretch.hi)) if edges else (stretch.lo, stretch.hi)
            )
            factor = np.broadcast_to(np.asarray(stretch.factor, np.float64), lo.shape)
            # A stretch that wraps and begins at 0 goes all the way round, wherever it ends.
            at_zero = np.where(stretch.wraps, (hi > 0) | (lo == 0), (lo == 0) & (hi > 0))
            enters, leaves = (lo > 0) & (lo < period), (hi > 0) & (hi < period)
            programme.put(rows[lo[enters]], stretch.columns[enters], -factor[enters])
            programme.put(rows[hi[leaves]], stretch.columns[leaves], factor[leaves])
            programme.put(np.full(int(at_zero.sum()), rows[0]), stretch.columns[at_zero], -factor[at_zero])

    def _longest_first(self, start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.float64]:
        """Note [Longest gaps]: the extra cost of a page, the less the longer its gap lasts."""
        clock = np.concatenate([[0.0], np.cumsum(self._timeline.slices.duration_s)])
        step = max(float(clock[-1]), 1e-300)
        passed = (
            clock[end % self._T] - clock[np.minimum(start + 1, self._T)] + np.where(end <= start, step, 0.0)
        )
        return self._tie_break * (2 - passed / step)

    def _bin_of(self, t: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.edges, t % self._T, side="right") - 1

    def _carry(self, rows: NDArray[np.int64], stock: NDArray[np.int64]) -> None:
        self.programme.put(rows, stock, 1.0)
        self.programme.put(rows, np.roll(stock, 1), -1.0)
