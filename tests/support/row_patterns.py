"""The joint problem by complete enumeration: every way to keep, move or recompute one row, and any mixture of them.

A *pattern* gives every storage of forward that backward (or a recomputation) wants again one fate, and says which operators
run again at their recompute point. A pattern is allowed if every recomputation finds its inputs. The rows of the batch may
follow different patterns in any proportion: a linear programme over all allowed patterns and the pages that move in other
gaps, under the capacity at each slice. Nothing in it knows nested shares. It takes the class of plans from the certificate:
the cuts and the recompute points are given.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from tests.support.gaps import lacking, walk_gaps
from tests.support.row_steps import RowStep
from tests.support.solver import Oracle
from tmtrain.lowering.energy import work_energy_j
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.objective import Objective
from tmtrain.planning.recomputation.blocks import RecomputeBlocks
from tmtrain.trace import Phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """Of one storage in one row."""

    there: frozenset[int]
    """Slices after its last use in forward, before its first need, at which the row takes room."""
    at: frozenset[int]
    """Moments at which a recomputation finds it."""
    fetched: bool = False
    recomputed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Wanted:
    name: str
    maker: int | None
    """Producer that makes it again; None: kept or moved."""
    fates: tuple[Fate, ...]
    gap: tuple[int, int] | None
    """Start and end in the step; None: nobody but recomputations wants it."""


def producers_of(step: RowStep) -> list[tuple[int, ...]]:
    """Return the operators of each producer: those that make or work on the same storages."""
    groups: list[tuple[set[str], list[int]]] = []
    for i, op in enumerate(step.ops):
        if op.phase == Phase.BACKWARD:
            continue
        mine = set(op.makes) | set(op.updates)
        for names, ops in groups:
            if names & mine:
                names |= mine
                ops.append(i)
                break
        else:
            groups.append((mine, [i]))
    return [tuple(ops) for _, ops in sorted(groups, key=lambda g: g[1][-1])]


class Patterns:
    """The joint problem of one step, whole operators for slices."""

    def __init__(self, step: RowStep, timeline: Timeline, blocks: RecomputeBlocks) -> None:
        self._step, self._timeline = step, timeline
        self._T = len(step.ops)
        assert len(timeline.slices) == self._T
        self._cuts, self._point = blocks.cuts.tolist(), blocks.point.tolist()
        self.producers = producers_of(step)
        self._block = [self._block_of(ops) for ops in self.producers]
        self.wanted = [w for name in step.pages if (w := self._want(name)) is not None]

    def _block_of(self, ops: tuple[int, ...]) -> int:
        """The block in which a producer and all uses in forward of its results lie, if it has a moment; else -1."""
        made = {name for i in ops for name in self._step.ops[i].makes}
        last = max([ops[-1], *(t for name in made for t in self._forward_uses(name))])
        for b, (first, end) in enumerate(zip(self._cuts[:-1], self._cuts[1:], strict=True)):
            if first <= ops[0] and last < end:
                return b if self._point[b] >= 0 else -1
        return -1

    def _results(self, producer: int) -> set[str]:
        return {n for i in self.producers[producer] for n in (*self._step.ops[i].makes,)}

    def _inputs(self, producer: int) -> set[str]:
        return {n for i in self.producers[producer] for n in self._step.ops[i].reads} - self._results(
            producer
        )

    def _maker(self, name: str) -> int | None:
        return next((r for r in range(len(self.producers)) if name in self._results(r)), None)

    def _forward_uses(self, name: str) -> list[int]:
        return [t for t in self._step.uses(name) if self._step.ops[t].phase != Phase.BACKWARD]

    def _need(self, name: str) -> int | None:
        return next((t for t in self._step.uses(name) if self._step.ops[t].phase == Phase.BACKWARD), None)

    def _home(self, name: str) -> int | None:
        """The block in which a storage is made and used up; None if it crosses a cut or comes from outside."""
        maker, uses = self._maker(name), self._forward_uses(name)
        if maker is None or name not in {n for op in self._step.ops for n in op.makes}:
            return None
        for b, (first, end) in enumerate(zip(self._cuts[:-1], self._cuts[1:], strict=True)):
            if first <= uses[0] and uses[-1] < end:
                return b
        return None

    def _want(self, name: str) -> "_Wanted | None":
        uses, need = self._forward_uses(name), self._need(name)
        if not uses or (name in self._step.inputs and self._need(name) is None):
            return None  # what survives the step is taken to be there for recomputations, like weights
        start, home = uses[-1], self._home(name)
        if home is not None and self._point[home] >= 0 and need is not None:
            points = [self._point[home]]
            maker = self._maker(name)
            maker = maker if maker is not None and self._block[maker] == home else None
        else:
            readers = {
                b for r, b in enumerate(self._block) if b >= 0 and name in self._inputs(r) and b != home
            }
            points, maker = sorted(self._point[b] for b in readers), None
        last = need if need is not None else max(points, default=-1)
        points = [m for m in points if start < m <= last]
        if not points or (home is not None and need is None):
            return None
        all_slices = range(start + 1, last)
        fates = [Fate(there=frozenset(all_slices), at=frozenset(points))]
        for i, m in enumerate(points):
            there = frozenset(t for t in all_slices if t >= m)
            fates.append(Fate(there=there, at=frozenset(points[i:]), fetched=True))
            if maker is not None:
                fates.append(Fate(there=there, at=frozenset(points[i:]), recomputed=True))
        fates.append(Fate(there=frozenset(), at=frozenset(), fetched=need is not None))
        return _Wanted(
            name=name, maker=maker, fates=tuple(fates), gap=None if need is None else (start, need)
        )

    def allowed(self) -> list[tuple[dict[str, Fate], frozenset[int]]]:
        """Return every pattern in which each recomputation finds its inputs: fates, and the producers that run again."""
        found: list[tuple[dict[str, Fate], frozenset[int]]] = []
        for choice in product(*(w.fates for w in self.wanted)):
            fates = {w.name: fate for w, fate in zip(self.wanted, choice, strict=True)}
            running = self._runs(fates)
            if running is not None:
                found.append((fates, running))
        return found

    def _runs(self, fates: dict[str, Fate]) -> frozenset[int] | None:
        """The producers that have to run again, None if one of them cannot."""
        pending = [w.maker for w in self.wanted if fates[w.name].recomputed and w.maker is not None]
        running: set[int] = set()
        while pending:
            producer = pending.pop()
            if producer in running:
                continue
            running.add(producer)
            # Rule 3c of the class: all that comes out of a recomputation stays, what else it makes as well.
            if any(w.maker == producer and not fates[w.name].recomputed for w in self.wanted):
                return None
            block = self._block[producer]
            point = self._point[block]
            for name in self._inputs(producer):
                if name in fates:
                    fate, late = fates[name], self._need(name)
                    is_over = late is not None and point > late
                    if point not in fate.at and not is_over:
                        return None
                elif self._home(name) == block and self._need(name) is None:
                    maker = self._maker(name)
                    if maker is None or self._block[maker] != block:
                        return None
                    pending.append(maker)
        return frozenset(running)

    def optimum(self, *, machine: Machine, objective: Objective) -> float:
        """Return the least objective of any mixture of patterns, the link being infinitely fast."""
        timeline, step = self._timeline, self._step
        names, lp, page = list(step.pages), Oracle(), timeline.page_bytes
        storage = timeline.extents.storage
        wanted = {w.name: w for w in self.wanted}
        gaps = walk_gaps(timeline)
        name_of = [names[storage[gap.extent]] for gap in gaps]
        lacks = lacking(timeline, gaps).astype(float)
        absent: list[dict[int, float]] = [{} for _ in range(self._T)]
        written = {name: lp.column(objective.per_byte_out * page) for name in names}
        for gap, name in zip(gaps, name_of, strict=True):
            w = wanted.get(name)
            if w is not None and w.gap == (gap.start, gap.end):
                continue
            moved = lp.column(objective.per_byte_in * page, most=gap.pages)
            for t in gap.inside:
                absent[t][moved] = 1.0
            if gap.made_by is not None:
                lp.at_least({written[name]: 1.0, moved: -1.0}, 0.0)
        seconds = timeline.slices.duration_s
        joules = work_energy_j(timeline.slices, machine=machine)
        again = [
            sum(float(objective.per_second * seconds[i] + objective.per_joule * joules[i]) for i in ops)
            for ops in self.producers
        ]
        shares: dict[int, float] = {}
        leaves: dict[str, dict[int, float]] = {w.name: {} for w in self.wanted}
        seen: set[tuple[object, ...]] = set()
        for fates, running in self.allowed():
            key = (tuple((f.there, f.fetched) for f in fates.values()), running)
            if key in seen:
                continue
            seen.add(key)
            fetched = [name for name, fate in fates.items() if fate.fetched]
            cost = sum(again[r] for r in running) + sum(
                objective.per_byte_in * page * step.pages[n] for n in fetched
            )
            share = lp.column(cost)
            shares[share] = 1.0
            for name, fate in fates.items():
                w = wanted[name]
                if fate.fetched:
                    leaves[name][share] = float(step.pages[name])
                span = range(w.gap[0] + 1, w.gap[1]) if w.gap else fate.there
                for t in span:
                    # What only recomputations want is not in `lacks`: there it takes room that nobody has counted yet.
                    change = (t not in fate.there) if w.gap else -1
                    if change:
                        absent[t][share] = absent[t].get(share, 0.0) + change * step.pages[name]
        for name, moved in leaves.items():
            if moved and name not in step.inputs:
                lp.at_least({written[name]: 1.0} | {c: -size for c, size in moved.items()}, 0.0)
        lp.equal(shares, 1.0)
        for t in range(self._T):
            if absent[t] or lacks[t] > 0:
                lp.at_least(absent[t], float(lacks[t]))
        fixed = objective.constant + objective.per_second * timeline.compute_s
        return fixed + lp.optimum()


def count_patterns(patterns: Patterns) -> int:
    """Return how many ways there are for a row."""
    return int(np.prod([len(w.fates) for w in patterns.wanted])) if patterns.wanted else 1
