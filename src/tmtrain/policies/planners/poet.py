"""POET: an integer programme for energy pages whole tensors out, or recomputes them.

Source: S. Patil et al., "POET: training neural networks on tiny devices with integrated rematerialization and paging", ICML
2022, section 4.

Inputs: the operators in order with their joules, the joules of a page in and out, sizes and uses of tensors.

Rule: minimise the joules of recomputation, paging in and paging out, subject to the memory at each operator. A tensor that
is inactive is kept, paged, or discarded and recomputed. It is back at its next use, or at an earlier moment at which
something is recomputed from it, paged in or recomputed then. What is dead by then is recomputed on the way: chains.

Simplified: the published programme has a variable per operator and time step. Here a time step is a moment at which
backward needs something again, and chains have a length (`tmtrain.policies.planners.poet_chains`). What a chain holds only
while it runs is not counted. The time of the step has no limit.

In the rival's favour: seconds of transfers and of recomputation are charged with the power that the machine draws anyway,
transfers run beside computation, and what is paged is prefetched as early as there is room. The solver gets a minute. Three
programmes are tried, and the best counts (`PoetProgramme`): with chains; the same with recomputations chosen without
integers, all there is for steps with more than `MANY_RECOMPUTATIONS`; and with recomputations at the next use alone.

Note [Rounding POET]
    Every row that makes a recomputation possible compares shares: it runs no more than its dead inputs do, and no more than
    the rest of one is not away until later; what becomes of a tensor sums to 1. So the recomputations above one half can be
    had together. Which tensors are paged beside them is then solved for with integers.
"""

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Policy
from tmtrain.errors import InfeasibleError, PolicyError
from tmtrain.lowering.energy import power_w, work_energy_j
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.programme.programme import Programme
from tmtrain.policies.planners.poet_chains import find_chains
from tmtrain.policies.shared.advice import advise, fetch_where_it_fits
from tmtrain.policies.shared.placement import (
    TensorPlacement,
    add_placement,
    leave_in,
    return_at,
    solve_placement,
)
from tmtrain.policies.shared.tensor_recomputation import (
    TensorProducers,
    TensorRecomputation,
    find_recomputations,
    recompute_tensors,
    sum_over_producers,
)
from tmtrain.policies.shared.tensors import Tensors, find_tensors
from tmtrain.ragged import lay_flat

MANY_RECOMPUTATIONS = 4_500
"""With more of them the programme with chains is solved without its integers only."""


class PoetProgramme(Enum):
    """What may be recomputed, and how the programme is solved."""

    CHAINS = "at any moment, in chains"
    ROUNDED = "the same, chosen without integers and rounded"
    SINGLE = "at the next use, from what is kept until then"


class Poet(Policy):
    """POET on one step."""

    name = "poet"

    def __init__(self, *, programme: PoetProgramme = PoetProgramme.CHAINS) -> None:
        self._programme = programme

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Solve for the least energy, put the recomputations into the step, and prefetch what is paged."""
        tensors = find_tensors(timeline, machine=machine)
        choice, recomputations = self._choose(tensors)
        recomputed_step = recompute_tensors(tensors, choice.moved[tensors.period_of_gap], recomputations)
        step = recomputed_step.tensors
        # A period of the longer step is moved if any of its gaps was: recomputations cut periods in two.
        moved_gaps = np.bincount(
            step.period_of_gap, weights=recomputed_step.moved, minlength=len(step.periods)
        )
        chosen = moved_gaps > 0
        end, start = step.periods.end, step.periods.start
        return advise(
            step,
            chosen,
            fetch=fetch_where_it_fits(step, chosen, latest=end, earliest=start + 1),
            name=self.name,
            recomputations=recomputed_step.recomputations,
            ideal_s=timeline.compute_s,
        )

    def variants(self) -> tuple[Policy, ...]:
        """The programmes."""
        return tuple(Poet(programme=programme) for programme in PoetProgramme)

    def _choose(self, tensors: Tensors) -> "tuple[PoetChoice, list[TensorRecomputation]]":
        possible = self._possible(tensors)
        if self._programme is not PoetProgramme.ROUNDED:
            choice = _solve(tensors, possible, name=self.name)
            return choice, _running(possible, choice)
        chosen = _running(possible, _solve(tensors, possible, integral=False, name=self.name))
        try:
            return _solve(tensors, chosen, all_run=True, name=self.name), chosen
        except InfeasibleError as error:  # what these read has to stay, and is too much
            raise PolicyError(
                f"{self.name}: no room beside the recomputations that it rounds to", policy=self.name
            ) from error

    def _possible(self, tensors: Tensors) -> list[TensorRecomputation]:
        if self._programme is PoetProgramme.SINGLE:
            return find_recomputations(tensors, TensorProducers(tensors))
        chains = find_chains(tensors)
        if self._programme is PoetProgramme.CHAINS and len(chains) > MANY_RECOMPUTATIONS:
            raise PolicyError(
                f"{self.name}: {len(chains)} recomputations at moments are too many for its integer programme",
                policy=self.name,
            )
        return chains


@dataclass(frozen=True, slots=True, kw_only=True)
class PoetChoice:
    """Of least energy."""

    moved: NDArray[np.bool_]
    """Periods that are paged, to their end or to a moment."""
    runs: NDArray[np.bool_]
    """Which of the possible recomputations do."""


def _solve(
    tensors: Tensors,
    possible: list[TensorRecomputation],
    *,
    all_run: bool = False,
    integral: bool = True,
    name: str,
) -> PoetChoice:
    """Return the choice of least energy, with integers or rounded; `all_run`: the recomputations are chosen already."""
    timeline, machine = tensors.timeline, tensors.machine
    page, watts = timeline.page_bytes, power_w(machine, fast_bytes=timeline.fast_bytes)
    programme = Programme()
    read_cost = page * (machine.read_j_per_byte + watts / machine.read_bytes_per_s)
    placement = add_placement(
        programme,
        tensors,
        read_cost=read_cost,
        write_cost=page * (machine.write_j_per_byte + watts / machine.write_bytes_per_s),
    )
    joules = work_energy_j(timeline.slices, machine=machine) + watts * timeline.slices.duration_s
    chains = _PoetChains(
        programme, placement, tensors, possible, all_run=all_run, read_cost=read_cost, joules=joules
    )
    columns = np.concatenate([placement.moved, chains.runs, chains.early])
    x = solve_placement(programme, columns if integral else None, name=name)
    moved = x[placement.moved] > 0.5
    moved[chains.early_period[x[chains.early] > 0.5]] = True
    return PoetChoice(moved=moved, runs=x[chains.runs] > 0.5)


def _running(possible: list[TensorRecomputation], choice: PoetChoice) -> list[TensorRecomputation]:
    return [possible[k] for k in np.flatnonzero(choice.runs).tolist()]


class _PoetChains:
    """What the programme has beside a placement.

    Legend
        k, R_k       recomputation; 1 if it runs
        p, m, y_pm   period and a moment inside of it; 1 if the tensor is paged from the beginning of p to m
    """

    def __init__(
        self,
        programme: Programme,
        placement: TensorPlacement,
        tensors: Tensors,
        possible: list[TensorRecomputation],
        *,
        all_run: bool,
        read_cost: float,
        joules: NDArray[np.float64],
    ) -> None:
        self._programme, self._placement, self._tensors = programme, placement, tensors
        self._at = np.array([each.before for each in possible], np.int64)
        cost, least = _joules_of(possible, joules, tensors), 1.0 if all_run else 0.0
        self.runs = programme.add_columns("recomputed", len(possible), lower=least, upper=1.0, cost=cost)
        self._producing, self._result_period = _pairs([each.makes for each in possible])
        self._reader, self._needed = _pairs([each.needs for each in possible])
        # Of a tensor that was last used in the step before, a moment lies a step further on.
        start, moment = tensors.periods.start[self._needed], self._at[self._reader]
        self._read_at = np.where(moment > start, moment, moment + tensors.num_slices)
        moments = np.unique(np.column_stack([self._needed, self._read_at]), axis=0)
        self.early_period, self._early_at = moments[:, 0], moments[:, 1]
        self.early = programme.add_columns(
            "paged early",
            len(moments),
            upper=1.0,
            cost=read_cost * tensors.periods.pages[self.early_period],
        )
        self._add_absences()
        self._add_fates()
        self._add_inputs()
        self._add_sources(possible)

    def _add_absences(self) -> None:
        """Rows [Balance], [Dirty]: who is away, until when, and written if paged."""
        programme, placement, tensors = self._programme, self._placement, self._tensors
        columns = np.concatenate([self.runs[self._producing], self.early])
        period = np.concatenate([self._result_period, self.early_period])
        at = np.concatenate([self._at[self._producing], self._early_at])
        leave_in(programme, placement, tensors, columns=columns, period=period)
        sooner = at < tensors.periods.end[period]
        return_at(
            programme, placement, tensors, columns=columns[sooner], period=period[sooner], at=at[sooner]
        )
        programme.put(placement.dirty[self.early_period], self.early, 1.0)

    def _add_fates(self) -> None:
        """Rows [Fates]: a tensor is paged, or recomputed, once at most."""
        programme, count = self._programme, len(self._tensors.periods)
        fates = programme.add_rows("fates", count, lower=-np.inf, upper=1.0)
        programme.put(fates, self._placement.moved, 1.0)
        programme.put(fates[self._result_period], self.runs[self._producing], 1.0)
        programme.put(fates[self.early_period], self.early, 1.0)

    def _add_inputs(self) -> None:
        """Rows [Inputs]: what is recomputed from at a moment is not away until later."""
        programme = self._programme
        columns = np.concatenate([self._placement.moved, self.runs[self._producing], self.early])
        period = np.concatenate(
            [np.arange(len(self._placement.moved)), self._result_period, self.early_period]
        )
        until = np.concatenate([self._tensors.periods.end, self._at[self._producing], self._early_at])
        rows = programme.add_rows("inputs", len(self._needed), lower=-np.inf, upper=1.0)
        programme.put(rows, self.runs[self._reader], 1.0)
        order = np.argsort(period, kind="stable")
        first, end = (np.searchsorted(period[order], self._needed, side=side) for side in ("left", "right"))
        row, offset = lay_flat(end - first)
        column = order[first[row] + offset]
        later = until[column] > self._read_at[row]
        programme.put(rows[row[later]], columns[column[later]], 1.0)

    def _add_sources(self, possible: list[TensorRecomputation]) -> None:
        """Rows [Sources]: what is dead is recomputed at the same moment."""
        number = {(each.producer, each.before): k for k, each in enumerate(possible)}
        pairs = [
            (k, number[source, each.before]) for k, each in enumerate(possible) for source in each.sources
        ]
        reader, source = np.array(pairs, np.int64).reshape(-1, 2).T
        rows = self._programme.add_rows("sources", len(pairs), lower=-np.inf, upper=0.0)
        self._programme.put(rows, self.runs[reader], 1.0)
        self._programme.put(rows, self.runs[source], -1.0)


def _joules_of(
    possible: list[TensorRecomputation], joules: NDArray[np.float64], tensors: Tensors
) -> NDArray[np.float64]:
    return sum_over_producers(joules, [each.producer for each in possible], tensors.timeline)


def _pairs(lists: list[tuple[int, ...]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the number of the list, and the item, for each item of all lists."""
    number = np.repeat(np.arange(len(lists)), [len(items) for items in lists])
    return number.astype(np.int64), np.array([item for items in lists for item in items], np.int64)
