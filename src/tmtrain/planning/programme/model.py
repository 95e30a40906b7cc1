"""The planning problem as a linear programme.

Legend (pages in parts of the fast tier, see `FAST_PARTS`; g gap, u unit, q recomputation, e epoch, t slice, b bin)
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

    minimise   price of a second * (compute + recomputations + stalls) + price in * fetched + price out * written
               + joules of recomputations
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
    Every plan of the class in `tmtrain.planning.programme.certificate` gives a solution no dearer than itself. So the
    optimum is a lower bound. What the programme leaves out only makes it cheaper: where within a bin a transfer runs, and
    which of the queued pages goes first; the memory of intermediate results inside a recomputation, and of the pages in
    flight between bin ends; the weights that a recomputation reads; one page more or less (shares are real numbers).

Note [Patience]
    Which of the owed pages is written first is not part of the programme. If all were alike, it could write patient pages
    early (parameters, which stay until forward has used them), and later exchange them for urgent ones (optimizer state,
    which leaves at once): a loan that no real channel gives. Between classes of patience there is no exchange.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.planning.problem.problem import Problem
from tmtrain.planning.programme.formulation.capacity import add_capacity
from tmtrain.planning.programme.formulation.dues import Dues
from tmtrain.planning.programme.formulation.link import add_link
from tmtrain.planning.programme.formulation.moves import MoveFamily, add_moves
from tmtrain.planning.programme.formulation.queues import add_write_queues
from tmtrain.planning.programme.formulation.reads import add_in_time, add_reads
from tmtrain.planning.programme.formulation.recomputations import RecomputationFamily, add_recomputations
from tmtrain.planning.programme.formulation.scale import TIE_BREAK, ModelScale, PricedStep, find_scale
from tmtrain.planning.programme.formulation.units import UnitFamily, add_units
from tmtrain.planning.programme.formulation.writes import WriteFamily, add_wear, add_writes
from tmtrain.planning.programme.programme import Programme
from tmtrain.planning.recomputation.candidates import RecomputeCandidates
from tmtrain.plans.plan import Bound


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

    def __str__(self) -> str:
        return (
            f"pages in units of {self.page_unit:.4g}, stalls in units of {self.second:.4g} s, "
            f"{len(self.edges) - 1} bins\n{self.programme}"
        )

    def prices(self, bound: Bound) -> NDArray[np.float64]:
        """Return the multipliers of a bound in the order of the programme's rows.

        Raises:
            InputError: they are of another programme.
        """
        rows, multipliers = self.programme.rows, bound.multipliers
        if any(len(multipliers.get(name, ())) != part.stop - part.start for name, part in rows.items()):
            raise InputError("the prices of the plan belong to another planning problem: plan the step anew")
        return np.concatenate([multipliers.get(name, np.zeros(0)) for name in rows])


def build_model(
    problem: Problem,
    *,
    timeline: Timeline,
    machine: Machine,
    objective: Objective,
    candidates: RecomputeCandidates | None = None,
    write_budget_bytes: float | None = None,
    tie_break: float = TIE_BREAK,
    extra_cost: NDArray[np.float64] | None = None,
    edges: NDArray[np.int64] | None = None,
) -> Model:
    """Write the planning problem down; families of columns and rows come in the order of the certificate's multipliers.

    Args:
        problem: Gaps, epochs, and what each slice lacks.
        timeline: The step.
        machine: Rates of the link.
        objective: Prices.
        candidates: What may be recomputed; None: keep or move only.
        write_budget_bytes: Most bytes written per step.
        tie_break: Weight of Note [Longest gaps] in `tmtrain.planning.programme.solve`.
        extra_cost: Of a page of each gap, in objective units: it chooses among placements and is not in the bound.
        edges: First slice of each bin, and the number of slices; None: as `bin_edges` chooses them.

    Example:
        >>> from tmtrain.machine import load_machine
        >>> from tmtrain.planning.example import example_timeline
        >>> from tmtrain.planning.problem.objective import make_objective
        >>> from tmtrain.planning.problem.problem import build_problem
        >>> step, machine = example_timeline(), load_machine("v4-slc")
        >>> goal = make_objective("bytes", timeline=step, machine=machine)
        >>> print(build_model(build_problem(step), timeline=step, machine=machine, objective=goal))
        pages in units of 1, stalls in units of 8.831e-07 s, 9 bins
        minimise
          4096*moved + 4096*written
        subject to
          dirty: 2 rows, >=
            -moved[0] + written[0] >= 0
            -moved[1] + written[1] >= 0
          absence: 9 rows, ==
            -moved[1] - moved[3] + absent[0] == 0
            -moved[0] - moved[2] - absent[0] + absent[1] == 0
            ... 7 more
          ...
        columns
          moved: 4 in [0 .. 1]
          ...
    """
    candidates = candidates or RecomputeCandidates()
    step = PricedStep(timeline=timeline, machine=machine, objective=objective)
    scale = find_scale(problem, step, candidates, tie_break=tie_break, edges=edges)
    programme = Programme(constant=objective.constant + objective.per_second * timeline.compute_s)
    decisions = _add_decisions(programme, scale, problem, candidates, step, extra_cost=extra_cost)
    if write_budget_bytes is not None:
        add_wear(programme, scale, decisions.writes, write_budget_bytes=write_budget_bytes)
    _add_resources(programme, scale, problem, decisions, step)
    return Model(
        programme=programme,
        page_unit=scale.page_unit,
        page_bytes=timeline.page_bytes,
        second=scale.second,
        recompute_s=decisions.recomputations.seconds,
        gaps=decisions.moves.gaps,
        edges=scale.edges,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decisions:
    """What is decided about each page."""

    moves: MoveFamily
    units: UnitFamily
    recomputations: RecomputationFamily
    writes: WriteFamily


def _add_decisions(
    programme: Programme,
    scale: ModelScale,
    problem: Problem,
    candidates: RecomputeCandidates,
    step: PricedStep,
    *,
    extra_cost: NDArray[np.float64] | None,
) -> _Decisions:
    """Add what is moved, kept, recomputed and written: [Rows], [Dirty]."""
    gaps = problem.gaps
    chosen = _moved_gaps(problem, candidates)
    moves = add_moves(programme, scale, gaps, chosen=chosen, extra_cost=extra_cost)
    units = add_units(programme, scale, gaps, candidates)
    recomputations = add_recomputations(programme, units, candidates, step)
    writes = add_writes(programme, scale, gaps, moves=moves, units=units, candidates=candidates)
    return _Decisions(moves=moves, units=units, recomputations=recomputations, writes=writes)


def _add_resources(
    programme: Programme, scale: ModelScale, problem: Problem, decisions: _Decisions, step: PricedStep
) -> None:
    """Add what the decisions need of memory and link: [Absence], [Capacity], [Link], [Reads], [In time], [Writes]."""
    moves, units, recomputations = decisions.moves, decisions.units, decisions.recomputations
    flight = add_capacity(
        programme,
        scale,
        over_pages=problem.over_pages,
        absences=(moves.absence, units.absence, recomputations.absence),
        absent_whole=units.absent_whole,
    )
    link = add_link(programme, scale, recomputations, step)
    dues = Dues(columns=(moves.due, *units.dues), whole=units.due_whole)
    add_reads(programme, scale, dues, link=link, flight=flight)
    add_in_time(programme, scale, dues, recomputations, link=link, flight=flight, machine=step.machine)
    add_write_queues(programme, scale, decisions.writes.queued, link=link, flight=flight)


def _moved_gaps(problem: Problem, candidates: RecomputeCandidates) -> NDArray[np.int64]:
    """Return the gaps with a column of their own: no unit stands for them, and they are not away for nothing."""
    moved = _covers_lack(problem)
    moved[candidates.replaced_gaps] = False
    moved[np.array(candidates.free_gaps, np.int64)] = False
    return np.flatnonzero(moved)


def _covers_lack(problem: Problem) -> NDArray[np.bool_]:
    """Gaps that cover a slice that lacks memory; the others are kept in some optimal solution."""
    lacks = np.concatenate([[0], np.cumsum(problem.over_pages > 0)])
    start, end = problem.gaps.start, problem.gaps.end
    wraps = end <= start
    inside = lacks[end] - lacks[np.minimum(start + 1, problem.num_slices)]
    return inside + np.where(wraps, lacks[-1], 0) > 0
