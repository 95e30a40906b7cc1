"""Random steps for the engine: pages of a real size, and frees by the framework at or after the last use."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from tests.support.instances import tiny_timelines
from tests.support.machines import toy_machine
from tmtrain.lowering.timeline import Frees, Timeline
from tmtrain.machine import Machine, Paging

PAGE = 4096


@st.composite
def steps(
    draw: st.DrawFn, *, max_slices: int = 10, max_extents: int = 6, max_pages: int = 5, unit: int = 1
) -> Timeline:
    """Draw a step whose framework frees some extents between their last use and their next birth.

    Sizes are multiples of `unit` pages.
    """
    small = draw(
        tiny_timelines(max_slices=max_slices, max_extents=max_extents, max_pages=max_pages, unit=unit)
    )
    freed: list[list[int]] = [[] for _ in range(len(small.slices))]
    for extent, survives in enumerate(small.extents.persistent.tolist()):
        points = _points(small, extent)
        if points and (not survives or draw(st.booleans())):
            freed[draw(st.sampled_from(points))].append(extent)
    return replace(
        small,
        page_bytes=PAGE,
        fast_bytes=small.fast_pages * PAGE,
        frees=Frees(
            ptr=np.concatenate([[0], np.cumsum([len(row) for row in freed])]).astype(np.int64),
            extent=np.array([extent for row in freed for extent in row], np.int32),
        ),
    )


def _points(timeline: Timeline, extent: int) -> list[int]:
    """Slices after which the framework may free `extent`, which is born once in a step.

    What does not outlive the step is freed after its last access; what does, between its last use and its birth.
    """
    access, last_slice = timeline.accesses, len(timeline.slices)
    at = np.repeat(np.arange(last_slice), np.diff(access.ptr))
    mine = access.extent == extent
    used, dead = at[mine].tolist(), (access.next_slice[mine] < 0).tolist()
    if not used:
        return []
    if not timeline.extents.persistent[extent]:
        return list(range(used[-1], last_slice))
    return [t for a, b, gone in zip(used, used[1:], dead, strict=False) if gone for t in range(a, b)]


@st.composite
def links(draw: st.DrawFn) -> Machine:
    """Draw a machine that moves some pages per second, with or without latencies, sharing its channel or not."""
    read, write = (PAGE * draw(st.sampled_from([0.5, 1.0, 3.0, 8.0])) for _ in range(2))
    both = draw(st.sampled_from([max(read, write), read + write]))
    latency = draw(st.sampled_from([0.0, 0.25]))
    machine = toy_machine(
        read_bytes_per_s=read,
        write_bytes_per_s=write,
        shared_bytes_per_s=both,
        page_bytes=PAGE,
        read_j_per_byte=0.5,
        write_j_per_byte=2.0,
        static_power_w=30.0,
        read_latency_s=latency,
        write_latency_s=2 * latency,
    )
    return replace(machine, paging=Paging(fault_latency_s=latency, fault_batch_pages=2))
