"""Which tensors can be recomputed at the end of an inactive period, and the step in which they are.

Planners of whole tensors with recomputation share this. A producer (`tmtrain.lowering.producers`) runs again right before a
tensor's next use in backward. What it reads has to be there.
"""

from bisect import bisect_left
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering import insert_recomputations
from tmtrain.lowering.recomputation import Recomputations, positions_of_slices
from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.shared.tensors import Tensors, find_tensors
from tmtrain.trace import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorRecomputation:
    """A producer that runs again before a slice."""

    producer: int
    before: int
    makes: tuple[int, ...]
    """Periods of its results that end there, or are cut short there."""
    needs: tuple[int, ...]
    """Periods of its inputs that last longer: there, what is read must not be away."""
    sources: tuple[int, ...] = ()
    """Producers of inputs that are dead by then, which have to run again before the same slice."""


def find_recomputations(tensors: Tensors, producers: "TensorProducers") -> list[TensorRecomputation]:
    """Return which producers can run again at the end of an inactive period in backward, in order of those ends."""
    periods, T = tensors.periods, tensors.num_slices
    possible: dict[tuple[int, int], TensorRecomputation] = {}
    in_backward = (periods.end < T) & (tensors.timeline.slices.phase[periods.end % T] == Phase.BACKWARD)
    for p in np.flatnonzero(in_backward).tolist():
        producer, before = producers.of_storage.get(int(periods.storage[p])), int(periods.end[p])
        # One run gives all results back, so their periods lead to the same recomputation.
        if producer is not None and (producer, before) not in possible:
            recomputation = producers.recompute(producer, before)
            if recomputation is not None:
                possible[producer, before] = recomputation
    return sorted(possible.values(), key=lambda each: (each.before, each.producer))


class TensorProducers:
    """The producers of a step, and what is there when one of them is to run again."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._producers = tensors.timeline.producers
        self._contents = _Contents(tensors.timeline)
        self._periods_of: dict[int, list[int]] = {}
        for p, storage in enumerate(tensors.periods.storage.tolist()):
            self._periods_of.setdefault(storage, []).append(p)
        self.of_storage = {
            storage: producer
            for producer in range(len(self._producers))
            for storage in self._touched(producer, writes=True)
        }
        """The producer of each storage that has one."""

    def recompute(self, producer: int, before: int) -> TensorRecomputation | None:
        """Return the run of `producer` before that slice; None where inputs are gone or results are still in use."""
        if self._producers.valid_until_op[producer] <= self._tensors.timeline.slices.op[before]:
            return None
        results = self._touched(producer, writes=True)
        inputs = self._touched(producer, writes=False) - results
        if not all(self._contents.are_whole(storage, before) for storage in inputs):
            return None
        periods = self._tensors.periods
        makes = [p for storage in results for p in self._periods_at(storage, before, ends=True)]
        # The run overwrites all of its results: what of them is alive has to be inactive until this slice.
        alive = sum(self._contents.pages_at(storage, before) for storage in results)
        if sum(int(periods.pages[p]) for p in makes) != alive:
            return None
        whole = {int(periods.storage[p]) for p in makes}
        if not all(self._contents.are_whole(storage, before) for storage in whole):
            return None
        return TensorRecomputation(
            producer=producer, before=before, makes=tuple(makes), needs=self._needs(inputs, before)
        )

    def earlier(self, recomputation: TensorRecomputation, before: int) -> TensorRecomputation | None:
        """Return the recomputation at an earlier slice, its results there from then on; None if they are in use then."""
        starts = self._tensors.periods.start[list(recomputation.makes)]
        if (starts >= before).any():
            return None
        results = self._touched(recomputation.producer, writes=True)
        inputs = self._touched(recomputation.producer, writes=False) - results
        return replace(recomputation, before=before, needs=self._needs(inputs, before))

    def recompute_in_chain(self, producer: int, before: int) -> TensorRecomputation | None:
        """Return the run of `producer` before that slice, also of dead inputs; None where anything is partly in use."""
        if self._producers.valid_until_op[producer] <= self._tensors.timeline.slices.op[before]:
            return None
        results = self._touched(producer, writes=True)
        inputs = self._touched(producer, writes=False) - results
        alive = {storage for storage in results | inputs if self._contents.pages_at(storage, before)}
        if not all(self._contents.are_whole(storage, before) for storage in alive):
            return None
        makes = self._inactive_at(results & alive, before)
        sources = {self.of_storage.get(storage) for storage in inputs - alive}
        if makes is None or None in sources:
            return None
        return TensorRecomputation(
            producer=producer,
            before=before,
            makes=makes,
            needs=self._needs(inputs & alive, before),
            sources=tuple(sorted(source for source in sources if source is not None)),
        )

    def _inactive_at(self, storages: set[int], t: int) -> tuple[int, ...] | None:
        """Return the periods of storages around slice t, or that end at it; None where one is in use, or began before."""
        periods = self._tensors.periods
        around = [p for s in storages for ends in (True, False) for p in self._periods_at(s, t, ends=ends)]
        alive = sum(self._contents.pages_at(storage, t) for storage in storages)
        if int(periods.pages[around].sum()) != alive or (periods.start[around] >= t).any():
            return None
        return tuple(around)

    def _needs(self, inputs: set[int], before: int) -> tuple[int, ...]:
        return tuple(p for storage in inputs for p in self._periods_at(storage, before, ends=False))

    def _periods_at(self, storage: int, t: int, *, ends: bool) -> list[int]:
        """Return the periods of a storage that end at slice t, or those that it lies inside of."""
        periods, T = self._tensors.periods, self._tensors.num_slices
        candidates = self._periods_of.get(storage, [])
        if ends:
            return [p for p in candidates if periods.end[p] == t]
        # A period that began in the step before counts its slices on from there, hence t + T.
        return [p for p in candidates if any(periods.start[p] < u < periods.end[p] for u in (t, t + T))]

    def _touched(self, producer: int, *, writes: bool) -> set[int]:
        """Return the storages that a producer makes, or reads."""
        producers = self._producers
        first, end = producers.op_ptr[producer], producers.op_ptr[producer + 1]
        rows = slice(int(producers.touch_ptr[first]), int(producers.touch_ptr[end]))
        flags = producers.touch_writes[rows] if writes else producers.touch_reads[rows]
        return set(producers.touch_storage[rows][flags].tolist())


class _Contents:
    """Which storages hold content that is used again, at any slice."""

    def __init__(self, timeline: Timeline) -> None:
        self._num_slices = len(timeline.slices)
        self._pages: list[int] = timeline.extents.pages.tolist()
        self._uses: list[list[tuple[int, int]]] = [[] for _ in self._pages]
        access = timeline.accesses
        for extent, t, following in zip(
            access.extent.tolist(),
            slice_of_access(timeline).tolist(),
            access.next_slice.tolist(),
            strict=True,
        ):
            self._uses[extent].append((t, following))
        self._extents: dict[int, list[int]] = {}
        for extent, storage in enumerate(timeline.extents.storage.tolist()):
            if self._uses[extent]:
                self._extents.setdefault(storage, []).append(extent)

    def pages_at(self, storage: int, t: int) -> int:
        """Return how many pages of `storage` hold content that was there before slice t and is used in it or later."""
        return sum(self._pages[e] for e in self._extents.get(storage, []) if self._is_alive(e, t))

    def are_whole(self, storage: int, t: int) -> bool:
        """Return whether all of its pages do."""
        extents = self._extents.get(storage, [])
        return bool(extents) and all(self._is_alive(e, t) for e in extents)

    def _is_alive(self, extent: int, t: int) -> bool:
        """Whether the last use before slice t, or before the end of the step before, has another one at t or later."""
        uses, T = self._uses[extent], self._num_slices
        before = bisect_left(uses, (t, -1)) - 1
        at, following = uses[before]
        if following < 0:
            return False
        lasts = following if following > at else following + T
        return lasts >= (t if before >= 0 else t + T)


def sum_over_producers(
    of_slice: NDArray[np.float64], chosen: list[int], timeline: Timeline
) -> NDArray[np.float64]:
    """Return what a run of each of the producers takes of something that slices take, say seconds; one per producer."""
    producers = timeline.producers
    of_operator = np.bincount(timeline.slices.op, weights=of_slice)
    ranges = [slice(producers.op_ptr[p], producers.op_ptr[p + 1]) for p in chosen]
    return np.array([of_operator[producers.op[ops]].sum() for ops in ranges], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecomputedStep:
    """The step with recomputations in it."""

    tensors: Tensors
    recomputations: Recomputations
    moved: NDArray[np.bool_]
    """Its access gaps that are spent on flash, shape (gaps,)."""


def recompute_tensors(
    tensors: Tensors, moved: NDArray[np.bool_], chosen: list[TensorRecomputation]
) -> RecomputedStep:
    """Put recomputations into the step, and find in it the access gaps that are spent on flash.

    An access gap in which a recomputation reads the tensor ends there.

    Args:
        tensors: The step without recomputations.
        moved: Its access gaps that are spent on flash, shape (gaps,).
        chosen: In order of `TensorRecomputation.before`.
    """
    timeline, machine = tensors.timeline, tensors.machine
    producer = [recomputation.producer for recomputation in chosen]
    rows = timeline.producers.rows[producer]
    recomputations = Recomputations(
        producer=np.array(producer, np.int32),
        before_slice=np.array([recomputation.before for recomputation in chosen], np.int32),
        first_row=np.zeros(len(chosen), np.int64),
        end_row=rows,
        rows=rows,
    )
    step = find_tensors(insert_recomputations(timeline, recomputations, machine=machine), machine=machine)
    # Slices are renumbered and extents are cut, but where a gap begins its extent was used in both steps.
    slices = positions_of_slices(step.timeline, of=timeline)
    gaps, longer_gaps = tensors.problem.gaps.of(moved), step.problem.gaps
    begun = set(zip(gaps.extent.tolist(), slices[gaps.start].tolist(), strict=True))
    parents = _parents(step.timeline, timeline)[longer_gaps.extent]
    keys = zip(parents.tolist(), longer_gaps.start.tolist(), strict=True)
    return RecomputedStep(
        tensors=step, recomputations=recomputations, moved=np.array([key in begun for key in keys], bool)
    )


def _parents(longer_step: Timeline, timeline: Timeline) -> NDArray[np.int64]:
    """Return the extent of `timeline` that each extent of `longer_step` is a part of."""
    old, new = timeline.extents, longer_step.extents
    stride = int((old.first_page + old.pages).max(initial=0)) + 1
    axis = old.storage.astype(np.int64) * stride + old.first_page
    return np.searchsorted(axis, new.storage.astype(np.int64) * stride + new.first_page, side="right") - 1
