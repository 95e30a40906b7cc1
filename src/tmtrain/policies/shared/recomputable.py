"""Which tensors can be recomputed at the end of an inactive period, and the step in which they are.

What planners of whole tensors with recomputation share: a producer (`tmtrain.lowering.producers`) runs again right before a
tensor's next use in backward, where what it reads is there.
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
class TensorRecompute:
    """A producer that can run again before a slice."""

    producer: int
    before: int
    makes: tuple[int, ...]
    """Periods of its results that end there, or are cut short there."""
    needs: tuple[int, ...]
    """Periods of its inputs that last longer: they must not be spent away."""


def find_recomputes(tensors: Tensors) -> list[TensorRecompute]:
    """Return which producers can make which results again at the end of an inactive period in backward."""
    periods, T = tensors.periods, tensors.num_slices
    kitchen = Kitchen(tensors)
    found: dict[tuple[int, int], TensorRecompute] = {}
    in_backward = (periods.end < T) & (tensors.timeline.slices.phase[periods.end % T] == Phase.BACKWARD)
    for p in np.flatnonzero(in_backward).tolist():
        producer, before = kitchen.maker.get(int(periods.storage[p]), -1), int(periods.end[p])
        if producer >= 0 and (producer, before) not in found:
            recompute = kitchen.recompute(producer, before)
            if recompute is not None:
                found[producer, before] = recompute
    return sorted(found.values(), key=lambda recompute: (recompute.before, recompute.producer))


class Kitchen:
    """Producers, and which storages are there when one is to run again."""

    def __init__(self, tensors: Tensors) -> None:
        self._tensors = tensors
        self._producers = tensors.timeline.producers
        self._contents = _Contents(tensors.timeline)
        self._periods_of: dict[int, list[int]] = {}
        for p, storage in enumerate(tensors.periods.storage.tolist()):
            self._periods_of.setdefault(storage, []).append(p)
        self.maker = {
            storage: producer
            for producer in range(len(self._producers))
            for storage in self._touched(producer, writes=True)
        }
        """The producer of each storage that has one."""

    def recompute(self, producer: int, before: int) -> TensorRecompute | None:
        """Return what running `producer` before that slice means; None where inputs are gone or results are still in use."""
        if self._producers.valid_until_op[producer] <= self._tensors.timeline.slices.op[before]:
            return None
        results = self._touched(producer, writes=True)
        inputs = self._touched(producer, writes=False) - results
        if not all(self._contents.are_whole(storage, before) for storage in inputs):
            return None
        periods = self._tensors.periods
        makes = [p for storage in results for p in self._periods_at(storage, before, ends=True)]
        alive = sum(self._contents.pages_at(storage, before) for storage in results)
        if sum(int(periods.pages[p]) for p in makes) != alive:
            return None
        whole = {int(periods.storage[p]) for p in makes}
        if not all(self._contents.are_whole(storage, before) for storage in whole):
            return None
        return TensorRecompute(
            producer=producer, before=before, makes=tuple(makes), needs=self._needs(inputs, before)
        )

    def earlier(self, recompute: TensorRecompute, before: int) -> TensorRecompute | None:
        """Return the recompute run at an earlier slice, its results being there from then on; None if they are in use then."""
        starts = self._tensors.periods.start[list(recompute.makes)]
        if (starts >= before).any():
            return None
        results = self._touched(recompute.producer, writes=True)
        inputs = self._touched(recompute.producer, writes=False) - results
        return replace(recompute, before=before, needs=self._needs(inputs, before))

    def _needs(self, inputs: set[int], before: int) -> tuple[int, ...]:
        return tuple(p for storage in inputs for p in self._periods_at(storage, before, ends=False))

    def _periods_at(self, storage: int, t: int, *, ends: bool) -> list[int]:
        """Return the periods of a storage that end at slice t, or those that it lies inside of."""
        periods, T = self._tensors.periods, self._tensors.num_slices
        mine = self._periods_of.get(storage, [])
        if ends:
            return [p for p in mine if periods.end[p] == t]
        return [p for p in mine if any(periods.start[p] < u < periods.end[p] for u in (t, t + T))]

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
        uses, T = self._uses[extent], self._num_slices
        before = bisect_left(uses, (t, -1)) - 1
        at, following = uses[before]
        if following < 0:
            return False
        lasts = following if following > at else following + T
        return lasts >= (t if before >= 0 else t + T)


def sum_over_producers(
    of_slice: NDArray[np.float64], recomputes: list[TensorRecompute], timeline: Timeline
) -> NDArray[np.float64]:
    """Return what each recompute takes of something that slices take, say seconds; shape (recomputes,)."""
    producers = timeline.producers
    of_operator = np.bincount(timeline.slices.op, weights=of_slice)
    ranges = [slice(producers.op_ptr[r.producer], producers.op_ptr[r.producer + 1]) for r in recomputes]
    return np.array([of_operator[producers.op[ops]].sum() for ops in ranges], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """The step with recomputations in it."""

    tensors: Tensors
    recomputations: Recomputations
    moved: NDArray[np.bool_]
    """Its gaps that are spent on flash, shape (gaps,)."""


def carry_out(tensors: Tensors, moved: NDArray[np.bool_], made: list[TensorRecompute]) -> Recomputed:
    """Put recomputations into the step and find the gaps that are spent on flash again in it.

    A gap in which a recomputation reads the tensor ends there.

    Args:
        tensors: The step without recomputations.
        moved: Its gaps that are spent on flash, shape (gaps,).
        made: In order of `TensorRecompute.before`.
    """
    timeline, machine = tensors.timeline, tensors.machine
    rows = timeline.producers.rows[[recompute.producer for recompute in made]]
    recomputations = Recomputations(
        producer=np.array([recompute.producer for recompute in made], np.int32),
        before_slice=np.array([recompute.before for recompute in made], np.int32),
        first_row=np.zeros(len(made), np.int64),
        end_row=rows,
        rows=rows,
    )
    longer = find_tensors(insert_recomputations(timeline, recomputations, machine=machine), machine=machine)
    place = positions_of_slices(longer.timeline, of=timeline)
    gaps, there = tensors.problem.gaps.of(moved), longer.problem.gaps
    wanted = set(zip(gaps.extent.tolist(), place[gaps.start].tolist(), strict=True))
    keys = zip(_parents(longer.timeline, timeline)[there.extent].tolist(), there.start.tolist(), strict=True)
    return Recomputed(
        tensors=longer, recomputations=recomputations, moved=np.array([key in wanted for key in keys], bool)
    )


def _parents(longer: Timeline, timeline: Timeline) -> NDArray[np.int64]:
    """Return the extent of `timeline` that each extent of `longer` is a piece of."""
    old, new = timeline.extents, longer.extents
    stride = int((old.first_page + old.pages).max(initial=0)) + 1
    axis = old.storage.astype(np.int64) * stride + old.first_page
    return np.searchsorted(axis, new.storage.astype(np.int64) * stride + new.first_page, side="right") - 1
