"""The step as planners of whole tensors see it: which storage is inactive when, and what that would free.

Published planners decide for a whole tensor and one *inactive period*, between an operator that uses it and the next one.
Here such a period is a set of gaps of the planning problem: those of one storage between the same two operators. Three
things are in the rival's favour:

* Operators that are larger than fast memory are cut into slices, for rivals as for us. Each extent of a tensor leaves after
  the last slice that touches it and is due at the first one, and time runs in slices.
* What operators use in parts (views) is so many tensors; between slices of one operator each extent is a tensor by itself.
* Dead content takes no room: a tensor that is written before it is read again has no period.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import Problem, build_problem, cover
from tmtrain.ragged import lay_flat
from tmtrain.trace import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """One row per inactive period. Slices run on into the next step: ``start < end <= start + slices``."""

    storage: NDArray[np.int32]
    role: NDArray[np.int8]
    """A `tmtrain.trace.Role`."""
    persistent: NDArray[np.bool_]
    pages: NDArray[np.int64]
    start: NDArray[np.int64]
    """Last slice that touches the tensor before; from the one after on all of it is inactive."""
    end: NDArray[np.int64]
    """First slice that touches it again."""
    is_dirty: NDArray[np.bool_]
    """The step writes it: flash has a copy only if an earlier period of the same content has moved it."""

    def __len__(self) -> int:
        return len(self.storage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensors:
    """A step, its inactive periods, and the gaps that they consist of."""

    timeline: Timeline
    machine: Machine
    problem: Problem
    periods: Periods
    period_of_gap: NDArray[np.int64]
    """Shape (gaps,)."""
    content: NDArray[np.int64]
    """Shape (periods,): periods with the same number hold the same content, which need be written once; -1: clean."""

    @property
    def num_slices(self) -> int:
        """Slices of the step."""
        return self.problem.num_slices

    def saved_activations(self) -> NDArray[np.bool_]:
        """Return which periods are those of activations between their last use in forward and their first in backward."""
        phase, T, periods = self.timeline.slices.phase, self.num_slices, self.periods
        before, after = phase[periods.start], phase[periods.end % T]
        saved = np.isin(before, (Phase.FORWARD, Phase.LOSS)) & (after == Phase.BACKWARD)
        return saved & ~periods.persistent & (periods.end < T)

    def clock_s(self) -> NDArray[np.float64]:
        """Return when each slice of two steps starts, and the end, were everything resident; shape (2 slices + 1,)."""
        return np.concatenate([[0.0], np.cumsum(np.tile(self.timeline.slices.duration_s, 2))])

    def length_s(self) -> NDArray[np.float64]:
        """Return the seconds for which each period lasts, shape (periods,)."""
        clock = self.clock_s()
        return clock[self.periods.end] - clock[self.periods.start + 1]

    def moved_pages(self, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the pages that each gap moves if the chosen periods are spent on flash, shape (gaps,)."""
        return np.where(chosen[self.period_of_gap], self.problem.gaps.pages, 0)

    def room(self, chosen: NDArray[np.bool_], fetch: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
        """Return the pages free at each slice, negative where some lack, shape (slices,).

        Args:
            chosen: The periods spent on flash, shape (periods,).
            fetch: Slice from which on each of them is on its way back, ``start < fetch <= end``; by default the end.
        """
        gaps, T = self.problem.gaps, self.num_slices
        back = gaps.end.astype(np.int64)
        if fetch is not None:
            leave, due = self.span_of_gaps()
            back = np.clip(fetch[self.period_of_gap], leave, due) % T
        absent = cover(gaps.start, back.astype(np.int32), self.moved_pages(chosen), num_slices=T)
        return absent - self.problem.over_pages

    def gaps_of(self, period: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the gaps of all of the periods, and for each gap the position of its period among them."""
        order = np.argsort(self.period_of_gap, kind="stable")
        bounds = np.searchsorted(self.period_of_gap[order], np.arange(len(self.periods) + 1))
        which, offset = lay_flat(np.diff(bounds)[period])
        return order[bounds[period][which] + offset], which

    def span_of_gaps(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the first slice of each gap and the one at which it ends, counted like those of its period."""
        gaps = self.problem.gaps
        start, end = gaps.start.astype(np.int64), gaps.end.astype(np.int64)
        return start + 1, np.where(end > start, end, end + self.num_slices)


_last: Tensors | None = None
"""Of the step that was asked for last: a rival's variants, and most rivals, ask for the same one."""


def find_tensors(timeline: Timeline, *, machine: Machine) -> Tensors:
    """Group the gaps of a step into inactive periods of whole tensors, which nobody may change.

    Raises:
        InfeasibleError: a slice touches more than the fast tier holds.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.planning.example import example_timeline
    >>> tensors = find_tensors(example_timeline(), machine=load_machine("v4-slc"))
    >>> bool((tensors.room(np.ones(len(tensors.periods), bool)) >= 0).all())
    True
    """
    global _last
    last = _last
    if last is None or last.timeline is not timeline or last.machine is not machine:
        last = _find_tensors(timeline, machine)
        _last = last
    return last


def _find_tensors(timeline: Timeline, machine: Machine) -> Tensors:
    problem = build_problem(timeline)
    gaps, period = problem.gaps, _group(problem, timeline)
    count = int(period.max(initial=-1)) + 1
    first = np.zeros(count, np.int64)
    first[period[::-1]] = np.arange(len(gaps))[::-1]
    start, end = np.full(count, -1, np.int64), np.full(count, 2 * problem.num_slices, np.int64)
    np.maximum.at(start, period, gaps.start)
    np.minimum.at(end, period, np.where(gaps.end > gaps.start, gaps.end, gaps.end + problem.num_slices))
    extent = gaps.extent[first]
    periods = Periods(
        storage=timeline.extents.storage[extent],
        role=timeline.extents.role[extent],
        persistent=timeline.extents.persistent[extent],
        pages=np.bincount(period, weights=gaps.pages, minlength=count).astype(np.int64),
        start=start,
        end=end,
        is_dirty=gaps.epoch[first] >= 0,
    )
    return Tensors(
        timeline=timeline,
        machine=machine,
        problem=problem,
        periods=periods,
        period_of_gap=period,
        content=gaps.epoch[first].astype(np.int64),
    )


def _group(problem: Problem, timeline: Timeline) -> NDArray[np.int64]:
    """Number the periods; shape (gaps,)."""
    gaps, op = problem.gaps, timeline.slices.op
    wraps = gaps.end <= gaps.start
    inside = (op[gaps.start] == op[gaps.end]) & ~wraps
    alone = np.where(inside, np.arange(len(gaps)), -1)
    storage = timeline.extents.storage[gaps.extent]
    keys = np.column_stack([storage, op[gaps.start], op[gaps.end], wraps, alone])
    return np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
