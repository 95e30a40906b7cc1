"""The Ledger: what a plan does with each storage, in the units in which every export speaks of it.

A storage has as many access gaps as the step has stretches without it. Most programs know one decision per tensor, so the
ledger also names its *long gap*. That is, for each extent, the gap that lasts longest, in seconds of computation. An extent
without any gap is kept: the step never goes a whole slice without it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InputError
from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.monitor.steering import moved_pages
from tmtrain.planning.problem.problem import Problem, build_problem
from tmtrain.plans import Plan, check_plan_fits, check_transfers_fit
from tmtrain.questions.fates import Fates, find_fates
from tmtrain.trace import Phase, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Pages of each storage by fate, shape (storages,)."""

    kept: NDArray[np.int64]
    moved: NDArray[np.int64]
    recomputed: NDArray[np.int64]

    @property
    def pages(self) -> NDArray[np.int64]:
        """Return the pages that the three fates share."""
        return self.kept + self.moved + self.recomputed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """A plan, the step it is for, and what becomes of each gap and each storage."""

    plan: Plan
    trace: Trace
    timeline: Timeline
    """The step without recomputations."""
    longer_step: Timeline
    """The step with the recomputations of the plan in it: what its transfers speak of."""
    machine: Machine
    problem: Problem
    """Gaps of `timeline`."""
    fates: Fates
    storage_of_gap: NDArray[np.int32]
    gap_s: NDArray[np.float64]
    """Seconds of computation that each gap lasts."""
    bytes_in: NDArray[np.int64]
    """Of each storage in a steady step; sums to the plan's prediction, as does `bytes_out`."""
    bytes_out: NDArray[np.int64]

    @property
    def storages(self) -> int:
        """Return the number of storages."""
        return len(self.trace.storages)

    def pages(self) -> NDArray[np.int64]:
        """Return the pages of each storage; 0 where no slice touches it."""
        return self._per_storage(self.timeline.extents.storage, self.timeline.extents.pages)

    def long_gap_of_extent(self) -> NDArray[np.int64]:
        """Return the longest gap of each extent, -1 where it has none."""
        gaps = self.problem.gaps
        # Of equals the first one wins: it is written last.
        order = np.lexsort((-np.arange(len(gaps)), self.gap_s))
        longest = np.full(len(self.timeline.extents), -1, np.int64)
        longest[gaps.extent[order]] = order
        return longest

    def over_long_gaps(self) -> Split:
        """Split the pages of each storage over the long gaps of its extents; sums to `pages`."""
        longest = self.long_gap_of_extent()
        split = self.over(longest[longest >= 0])
        idle = longest < 0
        alone = self._per_storage(self.timeline.extents.storage[idle], self.timeline.extents.pages[idle])
        return Split(kept=split.kept + alone, moved=split.moved, recomputed=split.recomputed)

    def over(self, gaps: NDArray[np.int64]) -> Split:
        """Split the pages of each storage over these gaps only."""
        owner, fates = self.storage_of_gap[gaps], self.fates
        return Split(
            kept=self._per_storage(owner, fates.kept[gaps]),
            moved=self._per_storage(owner, fates.moved[gaps]),
            recomputed=self._per_storage(owner, fates.recomputed[gaps]),
        )

    def ever_moved(self) -> NDArray[np.int64]:
        """Return the pages of each storage that leave at some moment of the step: of each extent the most of any gap.

        Whoever keeps a tensor in one place for good must hold these elsewhere, or have more memory than the plan needs.
        """
        most = np.zeros(len(self.timeline.extents), np.int64)
        np.maximum.at(most, self.problem.gaps.extent, self.fates.moved)
        return self._per_storage(self.timeline.extents.storage, most)

    def gaps_between(self, before: tuple[Phase, ...], after: tuple[Phase, ...]) -> NDArray[np.int64]:
        """Return the gaps that begin with an access in one of the phases `before` and end with one in `after`."""
        gaps, phase = self.problem.gaps, self.timeline.slices.phase
        return np.flatnonzero(np.isin(phase[gaps.start], before) & np.isin(phase[gaps.end], after))

    def _per_storage(self, storage: NDArray[np.int32], amount: NDArray[np.int64]) -> NDArray[np.int64]:
        total = np.zeros(self.storages, np.int64)
        np.add.at(total, storage, amount)
        return total


def open_ledger(plan: Plan, *, trace: Trace, timeline: Timeline, machine: Machine) -> Ledger:
    """Work out what a plan does with each storage.

    Args:
        plan: Made for `timeline`.
        trace: The step.
        timeline: The step on `machine`, without recomputations.
        machine: As planned for.

    Raises:
        InputError: plan, trace and timeline are not of one step, machine and capacity.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_plan, example_timeline
    >>> from tmtrain.trace import example_trace
    >>> plan, machine = example_plan(), load_machine("v4-slc")
    >>> ledger = open_ledger(plan, trace=example_trace(), timeline=example_timeline(), machine=machine)
    >>> int(ledger.bytes_in.sum()) == plan.prediction.bytes_in
    True
    """
    check_plan_fits(plan, timeline)
    if trace.operators.name != timeline.operator_names:
        raise InputError("the timeline was not lowered from this trace: lower it anew")
    longer_step = insert_recomputations(timeline, plan.recomputations, machine=machine)
    check_transfers_fit(plan, longer_step)
    problem = build_problem(timeline)
    bytes_in, bytes_out = _traffic(plan, longer_step, storages=len(trace.storages))
    return Ledger(
        plan=plan,
        trace=trace,
        timeline=timeline,
        longer_step=longer_step,
        machine=machine,
        problem=problem,
        fates=find_fates(plan, timeline, problem, machine=machine),
        storage_of_gap=timeline.extents.storage[problem.gaps.extent],
        gap_s=_seconds(problem, timeline),
        bytes_in=bytes_in,
        bytes_out=bytes_out,
    )


def _seconds(problem: Problem, timeline: Timeline) -> NDArray[np.float64]:
    # From the end of the slice before the gap to the start of the slice after it; round the end of the step where it wraps.
    gaps = problem.gaps
    clock = np.concatenate([[0.0], np.cumsum(timeline.slices.duration_s)])
    return clock[gaps.end] - clock[gaps.start + 1] + np.where(gaps.end <= gaps.start, clock[-1], 0.0)


def _traffic(
    plan: Plan, longer_step: Timeline, *, storages: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the bytes that each storage brings in and takes out in a steady step: one write per epoch, as predicted."""
    problem = build_problem(longer_step)
    gaps, moved = problem.gaps, moved_pages(problem, plan.transfers)
    owner = longer_step.extents.storage[gaps.extent]
    written = np.zeros(problem.num_epochs, np.int64)
    owner_of_epoch = np.zeros(problem.num_epochs, np.int32)
    # One copy serves a whole epoch: of its gaps the one that moves most decides what is written.
    dirty = gaps.epoch >= 0
    np.maximum.at(written, gaps.epoch[dirty], moved[dirty])
    owner_of_epoch[gaps.epoch[dirty]] = owner[dirty]
    bytes_in, bytes_out = np.zeros(storages, np.int64), np.zeros(storages, np.int64)
    np.add.at(bytes_in, owner, moved * longer_step.page_bytes)
    np.add.at(bytes_out, owner_of_epoch, written * longer_step.page_bytes)
    return bytes_in, bytes_out
