"""Swap the tensors with the most time between two uses, triggered by accesses, and recompute what is dearer to swap.

Source: Capuchin (Peng et al., ASPLOS 2020). A first, passive iteration swaps on demand and measures when each tensor is
accessed. Of every pair of consecutive accesses of a tensor, the free time FT runs from the end of a swap-out begun at
the first (evicted-access) to the start of a swap-in that ends at the second (back-access). Pairs that span the peak of
memory are swapped by decreasing FT, those without overhead first, until enough is saved. For the rest the overhead of
the swap is compared with that of recomputation, by MSPS, the bytes saved per second of recomputation, and the smaller
one is taken. A tensor leaves after its evicted-access; its swap-in is triggered by the access (in-trigger) just before
the swap-in has to start, and 5 % of its time earlier in each iteration in which it came late. One swap at a time per
direction. What is recomputed is recomputed at its back-access, by its operators.

Read so: as a direction carries one swap at a time, swaps count as free of overhead, by decreasing FT, up to a multiple
of the step's time in transfers (`LINK_STEPS`). Beyond, a swap costs the time of its transfers; what takes less time to
recompute is recomputed, by decreasing MSPS, and the rest is swapped. What a recomputation reads comes back for it, if it is
away: from flash, or recomputed with it, earlier than at its own back-access (the lineage); it then stays, which costs
room instead of time, so MSPS is not corrected. Simplified: instead of tensor by tensor, triggers are moved for all
alike, by the multiples of the swap time in `LEADS`, and instead of being kept out of the peak by rule, swap-ins wait
for room. In its favour: the fastest of these settings counts; enough is saved when every slice fits; what is swapped on
demand all the same, as in the passive iteration, is what is used furthest in the future; dead tensors leave for free.
Granularity: extents for swaps, tensors for recomputation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Knowledge, Policy
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import Gaps
from tmtrain.policies.shared.schedules import FetchSchedule, ScheduledPager, empty_schedule
from tmtrain.policies.shared.tensor_recomputation import (
    TensorProducers,
    TensorRecomputation,
    find_recomputations,
    recompute_tensors,
    sum_over_producers,
)
from tmtrain.policies.shared.tensors import Tensors, find_tensors

LEADS = (1.0, 2.0, 4.0, 16.0)
"""Swap-ins are triggered so many times their own time ahead."""
LINK_STEPS = (np.inf, 1.0, 0.0)
"""Steps of transfers, in either direction, that are taken to be hidden. Infinitely many: swaps alone. None: every swap is
compared with recomputation."""


_Offer = TypeVar("_Offer", int, TensorRecomputation)


class Capuchin(Policy):
    """Swap by free time, recompute by MSPS."""

    name = "capuchin"

    def __init__(
        self,
        *,
        lead: float = LEADS[0],
        link_steps: float = LINK_STEPS[0],
        choices: "CapuchinChoices | None" = None,
    ) -> None:
        self._lead = lead
        self._link_steps = link_steps
        self._choices = CapuchinChoices() if choices is None else choices

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Choose the pairs, put the recomputations into the step, and schedule the swaps."""
        tensors = find_tensors(timeline, machine=machine)
        choice = self._choices.of(tensors, link_steps=self._link_steps)
        swapped = choice.swapped
        if choice.recomputed:
            recomputed_step = recompute_tensors(tensors, swapped, choice.recomputed)
            tensors, swapped = recomputed_step.tensors, recomputed_step.moved
        step, gaps = tensors.timeline, tensors.problem.gaps.of(swapped)
        lead_s = self._lead * np.asarray(gaps.pages * step.page_bytes / machine.read_bytes_per_s, np.float64)
        pager = ScheduledPager(step, schedule=_schedule(gaps, lead_s, tensors.clock_s()))
        return Decision(
            timeline=step,
            knowledge=Knowledge.LAST_USE,
            pager=pager,
            recompute_s=step.compute_s - timeline.compute_s,
        )

    def variants(self) -> tuple[Policy, ...]:
        """Where its feedback may end: how far ahead swap-ins are triggered, and what is hidden."""
        choices = CapuchinChoices()
        ahead = tuple(Capuchin(lead=lead, choices=choices) for lead in LEADS)
        return ahead + tuple(
            Capuchin(lead=LEADS[-1], link_steps=steps, choices=choices) for steps in LINK_STEPS[1:]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CapuchinChoice:
    """What becomes of the pairs of accesses."""

    swapped: NDArray[np.bool_]
    """Shape (gaps,)."""
    recomputed: list[TensorRecomputation]
    """In order of the slices that they run before."""


class CapuchinChoices:
    """What variants share of the step that they decide for: its producers, and choices, in which triggers play no part."""

    def __init__(self) -> None:
        self._tensors: Tensors | None = None
        self._producers: TensorProducers | None = None
        self._by_link_steps: dict[float, CapuchinChoice] = {}

    def of(self, tensors: Tensors, *, link_steps: float) -> CapuchinChoice:
        """Return the choice of `choose`, made once."""
        if self._producers is None or self._tensors is not tensors:
            self._tensors, self._producers, self._by_link_steps = tensors, TensorProducers(tensors), {}
        if link_steps not in self._by_link_steps:
            self._by_link_steps[link_steps] = choose(
                tensors, link_steps=link_steps, producers=self._producers
            )
        return self._by_link_steps[link_steps]


def choose(
    tensors: Tensors, *, link_steps: float, producers: TensorProducers | None = None
) -> CapuchinChoice:
    """Return which pairs are swapped and which tensors are recomputed, as few as let every slice fit.

    Args:
        tensors: The step.
        link_steps: So many steps of transfers in a direction are hidden.
        producers: Those of the step, if they are known.
    """
    producers = TensorProducers(tensors) if producers is None else producers
    pick = _Pick(tensors, producers)
    spans, free_s, lane_s = _spans_peak(tensors), _free_s(tensors), _lane_s(tensors)
    order = np.argsort(-free_s, kind="stable")
    order = order[spans[order]]
    busy_s = np.cumsum(lane_s[order], axis=0).max(axis=1, initial=0.0)
    hidden = (free_s[order] >= 0) & (busy_s <= link_steps * tensors.timeline.compute_s)
    pick.until_it_fits(pick.swap, order[hidden].tolist())
    if link_steps < np.inf and not pick.fits():
        pick.until_it_fits(pick.recompute, _cheaper_recomputations(tensors, producers))
    pick.until_it_fits(pick.swap, order[~hidden].tolist())
    return pick.choice()


def _cheaper_recomputations(tensors: Tensors, producers: TensorProducers) -> list[TensorRecomputation]:
    """Return what takes less time to recompute than to swap, by decreasing MSPS."""
    recomputations = find_recomputations(tensors, producers)
    results = [list(recomputation.makes) for recomputation in recomputations]
    saved = np.array([tensors.periods.pages[periods].sum() for periods in results], np.float64)
    seconds = sum_over_producers(
        tensors.timeline.slices.duration_s, [each.producer for each in recomputations], tensors.timeline
    )
    machine, page = tensors.machine, tensors.timeline.page_bytes
    swap_s = saved * page * (1 / machine.write_bytes_per_s + 1 / machine.read_bytes_per_s)
    order = np.argsort(seconds / saved, kind="stable")
    return [recomputations[r] for r in order[seconds[order] < swap_s[order]].tolist()]


class _Pick:
    """What has been chosen so far, and what is still too much at each slice."""

    def __init__(self, tensors: Tensors, producers: TensorProducers) -> None:
        self._tensors, self._producers = tensors, producers
        self._excess = tensors.problem.over_pages.astype(np.int64)
        self._pages: list[int] = tensors.problem.gaps.pages.tolist()
        leave, due = tensors.span_of_gaps()
        self._leave: list[int] = leave.tolist()
        self._due: list[int] = due.tolist()
        """Slice at which each gap ends, or at which the first recomputation reads its extent."""
        self._swapped = np.zeros(len(self._pages), bool)
        self._recomputed: dict[int, TensorRecomputation] = {}
        """By the period that it ends."""
        self._gaps_of = _gaps_of_periods(tensors)

    def fits(self) -> bool:
        """Whether every slice does."""
        return bool((self._excess <= 0).all())

    def until_it_fits(self, take: Callable[[_Offer], None], offers: list[_Offer]) -> None:
        """Take one after the other until every slice fits."""
        for offer in offers:
            if self.fits():
                return
            take(offer)

    def swap(self, gap: int) -> None:
        """Swap an extent over a gap, unless it is recomputed at its end."""
        if not self._swapped[gap] and int(self._tensors.period_of_gap[gap]) not in self._recomputed:
            self._swapped[gap] = True
            self._change(gap, self._leave[gap], self._due[gap], -1)

    def recompute(self, recomputation: TensorRecomputation) -> None:
        """Recompute tensors, unless some are taken; what the operators read is there by then."""
        taken = [gap for period in recomputation.makes for gap in self._gaps_of[period]]
        if self._swapped[taken].any() or any(period in self._recomputed for period in recomputation.makes):
            return
        # Another recomputation may read one of the results before their own next use.
        due = min(self._due[gap] for gap in taken)
        timely = recomputation if due >= recomputation.before else self._producers.earlier(recomputation, due)
        if timely is None or not self._can_read(timely):
            return
        self._note(timely)
        for gap in taken:
            self._change(gap, self._leave[gap], self._due[gap], -1)
        self._read(timely)

    def choice(self) -> CapuchinChoice:
        """Return what was chosen."""
        # One recomputation stands under each of its periods.
        recomputed = {(each.before, each.producer): each for each in self._recomputed.values()}
        return CapuchinChoice(
            swapped=self._swapped, recomputed=[recomputed[key] for key in sorted(recomputed)]
        )

    def _can_read(self, recomputation: TensorRecomputation) -> bool:
        """Whether what it reads and is recomputed itself can be recomputed early enough, and so on up the lineage."""
        sources = [self._recomputed[p] for p in recomputation.needs if p in self._recomputed]
        later = [source for source in sources if source.before > recomputation.before]
        earlier = [self._producers.earlier(source, recomputation.before) for source in later]
        return all(source is not None and self._can_read(source) for source in earlier)

    def _read(self, recomputation: TensorRecomputation) -> None:
        """What the recomputation reads is back by then: if it is recomputed itself, then by then, too."""
        for period in recomputation.needs:
            source = self._recomputed.get(period)
            if source is not None and source.before > recomputation.before:
                earlier = self._producers.earlier(source, recomputation.before)
                assert earlier is not None, "_can_read has asked"
                self._note(earlier)
                for result in earlier.makes:
                    self._return(result, recomputation.before)
                self._read(earlier)
            self._return(period, recomputation.before)

    def _note(self, recomputation: TensorRecomputation) -> None:
        for period in recomputation.makes:
            self._recomputed[period] = recomputation

    def _return(self, period: int, before: int) -> None:
        """What is away over `period` is back at slice `before`."""
        for gap in self._gaps_of[period]:
            at = before if before > self._leave[gap] else before + self._tensors.num_slices
            if self._leave[gap] < at < self._due[gap]:
                if self._swapped[gap] or period in self._recomputed:
                    self._change(gap, at, self._due[gap], 1)
                self._due[gap] = at

    def _change(self, gap: int, first: int, end: int, sign: int) -> None:
        """Add to the excess of slices ``first .. end - 1``, which run on into the next step."""
        T, pages = self._tensors.num_slices, sign * self._pages[gap]
        self._excess[first : min(end, T)] += pages
        self._excess[max(first - T, 0) : max(end - T, 0)] += pages


def _gaps_of_periods(tensors: Tensors) -> list[list[int]]:
    gaps: list[list[int]] = [[] for _ in range(len(tensors.periods))]
    for gap, period in enumerate(tensors.period_of_gap.tolist()):
        gaps[period].append(gap)
    return gaps


def _lane_s(tensors: Tensors) -> NDArray[np.float64]:
    """Return the seconds of each gap's swap-out and swap-in, shape (gaps, 2)."""
    size, machine = tensors.problem.gaps.pages * tensors.timeline.page_bytes, tensors.machine
    return np.column_stack([size / machine.write_bytes_per_s, size / machine.read_bytes_per_s])


def _free_s(tensors: Tensors) -> NDArray[np.float64]:
    """Return FT of each gap; negative where its swap has an overhead."""
    clock, (leave, due) = tensors.clock_s(), tensors.span_of_gaps()
    return clock[due] - clock[leave] - _lane_s(tensors).sum(axis=1)


def _spans_peak(tensors: Tensors) -> NDArray[np.bool_]:
    """Return which gaps contain a slice that does not fit."""
    over = np.concatenate([[0], np.cumsum(np.tile(tensors.problem.over_pages > 0, 2))])
    leave, due = tensors.span_of_gaps()
    return over[due] > over[leave]


def _schedule(gaps: Gaps, lead_s: NDArray[np.float64], clock: NDArray[np.float64]) -> FetchSchedule:
    T = len(clock) // 2
    back = np.where(gaps.end > gaps.start, gaps.end, gaps.end + T).astype(np.int64)
    trigger = np.searchsorted(clock, clock[back] - lead_s, side="right") - 1
    trigger = np.clip(trigger, gaps.start + 1, back - 1)
    schedule = empty_schedule(T)
    order = np.argsort(back, kind="stable")
    for row in order.tolist():
        extent, start, at = int(gaps.extent[row]), int(gaps.start[row]), int(trigger[row])
        schedule.leave[start].append(extent)
        schedule.ahead[at % T].append((extent, int(back[row]) - at))
    return schedule
