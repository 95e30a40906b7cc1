"""On-demand paging as hardware does it: LRU over pages of an address space, without knowledge of tensors.

Source: unified virtual memory (NVIDIA UVM) and operating-system paging, as modelled by DeepUM (ASPLOS'23) and G10
(MICRO'23) for their baselines: a fault brings pages in, the least recently used pages leave, written if dirty. The pager
does not know that freed memory is dead: it writes it out and, when the allocator hands the addresses out again, faults
the stale bytes in before they are overwritten. Faults cost `tmtrain.machine.Paging` per batch of pages: in our machines 45
us per 50 pages of 4 KiB, as in G10's artifact, which allows 4.6 GB/s at most.

In the rival's favour: the framework's caching allocator is modelled at its best (best fit, with splitting and merging), so
that freed pages that are still in memory are reused first; and the granularity is one page, evicted exactly as needed.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tmtrain.deciding.policy import Decision, Knowledge, Policy
from tmtrain.lowering.timeline import Accesses, Extents, Frees, Timeline
from tmtrain.machine import Machine
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.pagers.lru import LruPager
from tmtrain.policies.shared.best_fit import BestFit
from tmtrain.ragged import lay_flat


class HardwarePaging(Policy):
    """Hardware demand paging with LRU."""

    name = "paging"

    def decide(self, timeline: Timeline, *, machine: Machine) -> Decision:
        """Manage the step's addresses by recency."""
        del machine
        return Decision(
            timeline=by_address(timeline), knowledge=Knowledge.NEVER, pager=LruPager(), faults=True
        )


def by_address(timeline: Timeline) -> Timeline:
    """Return the same step with runs of addresses instead of extents, all alive all the time.

    The allocator starts with everything that outlives the step in place and serves one step, whose addresses repeat.
    """
    first = _addresses(timeline)
    pages = timeline.extents.pages
    edges = np.unique(np.concatenate([first, first + pages]))
    lowest, beyond = np.searchsorted(edges, first), np.searchsorted(edges, first + pages)
    runs = np.diff(edges)
    used = np.zeros(len(runs) + 1, np.int64)
    np.add.at(used, lowest, 1)
    np.subtract.at(used, beyond, 1)
    return replace(
        timeline,
        extents=Extents(
            storage=np.arange(len(runs), dtype=np.int32),
            first_page=np.zeros(len(runs), np.int64),
            pages=runs.astype(np.int64),
            role=_last_owner_role(timeline, lowest, beyond, len(runs)),
            persistent=np.ones(len(runs), bool),
        ),
        accesses=_accesses(timeline, lowest, beyond),
        frees=Frees(ptr=np.zeros(len(timeline.slices) + 1, np.int64), extent=np.zeros(0, np.int32)),
    )


def _addresses(timeline: Timeline) -> NDArray[np.int64]:
    """First page of every extent: extents of one storage are allocated together and lie side by side."""
    storage = timeline.extents.storage
    heads = np.flatnonzero(np.concatenate([[True], storage[1:] != storage[:-1]]))
    sizes = np.add.reduceat(timeline.extents.pages, heads)
    group = np.cumsum(np.concatenate([[True], storage[1:] != storage[:-1]])) - 1
    born, died = _lifetimes(timeline, group, len(heads))
    start = np.full(len(heads), -1, np.int64)
    space = BestFit()
    before_step = np.flatnonzero(born < 0)
    for g in before_step[np.argsort(-sizes[before_step], kind="stable")].tolist():
        start[g] = space.take(int(sizes[g]))
    events = [(int(t), 1, g) for g, t in enumerate(born.tolist()) if t >= 0]
    events += [(int(t) + 1, 0, g) for g, t in enumerate(died.tolist()) if t >= 0 and born[g] >= 0]
    for _, is_birth, g in sorted(events):
        if is_birth:
            start[g] = space.take(int(sizes[g]))
        else:
            space.give(int(start[g]), int(sizes[g]))
    return start[group] + timeline.extents.first_page - timeline.extents.first_page[heads][group]


def _lifetimes(
    timeline: Timeline, group: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Slices of the first access and of the free of each storage; born = -1 for what outlives the step."""
    born, died = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, np.int64)
    np.minimum.at(born, group[timeline.accesses.extent], slice_of_access(timeline))
    freed_at = np.repeat(np.arange(len(timeline.slices)), np.diff(timeline.frees.ptr))
    np.maximum.at(died, group[timeline.frees.extent], freed_at)
    outlives = np.zeros(count, bool)
    np.logical_or.at(outlives, group, timeline.extents.persistent)
    return np.where(outlives, -1, born), died


def _last_owner_role(
    timeline: Timeline, lowest: NDArray[np.int64], beyond: NDArray[np.int64], count: int
) -> NDArray[np.int8]:
    role = np.zeros(count, np.int8)
    for extent in np.argsort(timeline.extents.persistent, kind="stable").tolist():
        role[lowest[extent] : beyond[extent]] = timeline.extents.role[extent]
    return role


def _accesses(timeline: Timeline, lowest: NDArray[np.int64], beyond: NDArray[np.int64]) -> Accesses:
    access = timeline.accesses
    row, offset = lay_flat((beyond - lowest)[access.extent])
    run = lowest[access.extent][row] + offset
    at = slice_of_access(timeline)[row]
    count = np.bincount(at, minlength=len(timeline.slices))
    return Accesses(
        ptr=np.concatenate([[0], np.cumsum(count)]),
        extent=run.astype(np.int32),
        needs_content=np.ones(len(run), bool),  # a fault brings the page in, whatever will be done with it
        writes=access.writes[row],
        next_slice=_next_slices(run, at),
    )


def _next_slices(run: NDArray[np.int64], at: NDArray[np.int32]) -> NDArray[np.int32]:
    order = np.lexsort((at, run))
    r, t = run[order], at[order]
    following = np.empty(len(r), np.int32)
    last = np.concatenate([r[1:] != r[:-1], [True]])
    heads = np.flatnonzero(np.concatenate([[True], r[1:] != r[:-1]]))
    following[:-1] = t[1:]
    following[last] = t[heads]
    result = np.empty(len(r), np.int32)
    result[order] = following
    return result
