"""The numbers of the programme that do not depend on multipliers: sizes in its units, bins, what each slice lacks.

Legend
    t, T      slice, their number; cyclic
    b, B      bin of slices over which the link is accounted for, their number
    unit      pages are counted in 256ths of the fast tier, stalls in the mean compute time of a bin
    lacks_t   pages that must be away while slice t runs if all other content that is needed again were kept
"""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from tmtrain.checking.bound.prices import Prices
from tmtrain.checking.bound.units import Reuse
from tmtrain.checking.walk import Walk
from tmtrain.lowering.cost import slice_work
from tmtrain.lowering.energy import work_energy_j
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine

PARTS_OF_FAST = 256
PATIENCE = (0.01, 0.1)
"""Shares of the step that part pages by how long they stay between their last write and their departure."""
NUM_CLASSES = len(PATIENCE) + 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A gap whose pages flash may lack when they leave."""

    gap: int
    previous: int | None
    """Index of the gap before in the same epoch: what it has written is written."""
    is_last: bool
    """Of its epoch: what is written by then is all that the epoch writes."""
    final: int
    """Slice of the last write."""
    gone: int
    """First slice at which it may be away; beyond the step where that lies in the next one."""
    patience: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgrammeFacts:
    """See the legend."""

    T: int
    B: int
    edges: list[int]
    page_unit: float
    unit_bytes: float
    second: float
    """Seconds per unit of stall."""
    total: float
    """More units of pages than can be away at once."""
    compute_s: float
    clock: list[float]
    """Seconds of compute before each slice, and of the step."""
    walked: Walk
    reuse: Reuse
    unit_size: list[float]
    chosen: list[int]
    """Gaps about which the programme decides page by page: not those that units stand for, nor those during which no
    slice lacks memory: keeping them is no dearer."""
    lacks: list[float]
    """What columns must free at each slice, shape (T,): of units that may leave, all is taken to be away."""
    due_whole: list[float]
    """What would be due at each slice, were all units away."""
    written: list[Written]
    recompute_s: list[float]
    recompute_j: list[float]
    read_rate: float
    """Units of pages per second."""
    write_rate: float
    shared_rate: float
    prices: Prices

    @property
    def in_time_scale(self) -> float:
        """Rows of "in time" count seconds of bins where the link is fast, pages where it is slow."""
        return 1 / max(min(self.read_rate, self.shared_rate) * self.second, 1.0)

    def bin_of(self, t: int) -> int:
        """Return the bin of slice `t`, taken modulo the step."""
        return bisect_right(self.edges, t % self.T) - 1


def gather_facts(
    timeline: Timeline, walked: Walk, reuse: Reuse, *, edges: list[int], machine: Machine, prices: Prices
) -> ProgrammeFacts:
    """Work the facts out."""
    T, B = walked.num_slices, len(edges) - 1
    per = max(timeline.fast_pages / PARTS_OF_FAST, 1.0)
    unit_bytes = per * timeline.page_bytes
    over = _over(timeline, walked)
    chosen = _chosen(walked, reuse, over)
    sizes = [unit.pages / per for unit in reuse.units]
    seconds, joules = _recompute_costs(timeline, reuse, machine)
    away = _away(walked, reuse, sizes, per=per)
    return ProgrammeFacts(
        T=T,
        B=B,
        edges=edges,
        page_unit=per,
        unit_bytes=unit_bytes,
        second=max(timeline.compute_s / B, 1e-12),
        total=float(sum(g.pages for g in walked.gaps) + sum(u.pages for u in reuse.units)) / per,
        compute_s=timeline.compute_s,
        clock=[0.0, *accumulate(timeline.slices.duration_s.tolist())],
        walked=walked,
        reuse=reuse,
        unit_size=sizes,
        chosen=chosen,
        lacks=[pages / per - gone for pages, gone in zip(over, away, strict=True)],
        due_whole=_units_due(reuse, sizes, T),
        written=_written(walked, reuse, chosen, edges),
        recompute_s=seconds,
        recompute_j=joules,
        read_rate=machine.read_bytes_per_s / unit_bytes,
        write_rate=machine.write_bytes_per_s / unit_bytes,
        shared_rate=machine.shared_bytes_per_s / unit_bytes,
        prices=prices,
    )


def patience_of(final: int, leaves: int, edges: list[int]) -> int:
    """Return the class of pages final after slice `final` that leave after slice `leaves`, both may lie beyond the step."""
    T, B = edges[-1], len(edges) - 1

    def bins_passed(t: int) -> int:
        return t // T * B + bisect_right(edges, t % T) - 1

    return sum(bins_passed(leaves) - bins_passed(final) > share * B for share in PATIENCE)


def _over(timeline: Timeline, walked: Walk) -> list[int]:
    """Pages beyond the capacity at each slice if every gap kept everything."""
    pages = timeline.extents.pages.tolist()
    change = [0] * (walked.num_slices + 1)
    for gap in walked.gaps:
        change[gap.start + 1] += gap.pages
        change[gap.end] -= gap.pages
        change[0] += gap.pages if gap.end <= gap.start else 0
    kept = list(accumulate(change))
    return [
        kept[t] + sum(pages[extent] for extent, _ in touched) - timeline.fast_pages
        for t, touched in enumerate(walked.touched)
    ]


def _chosen(walked: Walk, reuse: Reuse, over: list[int]) -> list[int]:
    lacking = [0, *accumulate(int(pages > 0) for pages in over)]
    replaced = reuse.free | {g for unit in reuse.units for g in unit.gaps}

    def lacks(start: int, end: int) -> bool:
        if start < end:
            return lacking[end] > lacking[start + 1]
        return lacking[-1] > lacking[start + 1] or lacking[end] > 0

    return [g for g, gap in enumerate(walked.gaps) if g not in replaced and lacks(gap.start, gap.end)]


def _away(walked: Walk, reuse: Reuse, sizes: list[float], *, per: float) -> list[float]:
    """Units and small results, all of them away."""
    change = [0.0] * (walked.num_slices + 1)
    for gap in (walked.gaps[g] for g in reuse.free):
        change[gap.start + 1] += gap.pages / per
        change[gap.end] -= gap.pages / per
    for unit, size in zip(reuse.units, sizes, strict=True):
        if unit.end is not None:
            change[unit.start + 1] += size
            change[unit.end] -= size
    return list(accumulate(change))[: walked.num_slices]


def _units_due(reuse: Reuse, sizes: list[float], T: int) -> list[float]:
    due = [0.0] * T
    for unit, size in zip(reuse.units, sizes, strict=True):
        if unit.end is not None:
            due[unit.end] += size
    return due


def _written(walked: Walk, reuse: Reuse, chosen: list[int], edges: list[int]) -> list[Written]:
    """List the gaps that may have to write: epoch by epoch (extent, then write), each in order of departure."""
    T, gaps = walked.num_slices, walked.gaps
    dirty = {*chosen, *(g for unit in reuse.units for g in unit.gaps)}

    def key(g: int) -> tuple[int, int, int]:
        return gaps[g].extent, gaps[g].last_write, (gaps[g].start - gaps[g].last_write) % T

    order = sorted((g for g in dirty if gaps[g].last_write >= 0), key=key)
    rows: list[Written] = []
    for number, g in enumerate(order):
        final, since = gaps[g].last_write, key(g)[2]
        epoch = key(g)[:2]
        rows.append(
            Written(
                gap=g,
                previous=number - 1 if number and key(order[number - 1])[:2] == epoch else None,
                is_last=number + 1 == len(order) or key(order[number + 1])[:2] != epoch,
                final=final,
                gone=final + since + 1,
                patience=patience_of(final, final + since, edges),
            )
        )
    return rows


def _recompute_costs(timeline: Timeline, reuse: Reuse, machine: Machine) -> tuple[list[float], list[float]]:
    """Seconds and joules of each recomputation, as a share of its producer's operators run whole."""
    producers, count = timeline.producers, len(timeline.producers.op)
    work = slice_work(producers.loads, machine, share=np.ones(count), dims=np.ones((count, 4)))
    seconds, joules = work.duration_s.tolist(), work_energy_j(work, machine=machine).tolist()
    bounds = producers.op_ptr.tolist()
    shares = [(r.producer, (r.end - r.first) / r.rows) for r in reuse.recomputations]
    return (
        [sum(seconds[bounds[r] : bounds[r + 1]]) * share for r, share in shares],
        [sum(joules[bounds[r] : bounds[r + 1]]) * share for r, share in shares],
    )
