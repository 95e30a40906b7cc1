"""Schedules that move extents by intervals: each comes in the one before it is needed, and leaves when it is done."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.shared.scheduled import FetchSchedule, empty_schedule


def interval_schedule(
    timeline: Timeline, interval: NDArray[np.int64], *, stays: NDArray[np.bool_]
) -> FetchSchedule:
    """Return the schedule in which what the next interval needs is fetched from the beginning of this one on.

    An extent leaves after its last use in an interval, unless the next interval uses it too. Fetches are in decreasing
    order of use counts and leave the room that the rest of the interval will need.

    Args:
        timeline: The step.
        interval: Number of the interval of each slice, shape (T,), never decreasing; the first follows the last.
        stays: Extents that are not moved, shape (extents,).
    """
    schedule = empty_schedule(len(interval))
    _fill(schedule, timeline, interval, stays)
    schedule.reserve[:] = _growth(_made_less_left(timeline, schedule), interval).tolist()
    return schedule


def _fill(
    schedule: FetchSchedule, timeline: Timeline, interval: NDArray[np.int64], stays: NDArray[np.bool_]
) -> None:
    access, at = timeline.accesses, slice_of_access(timeline).astype(np.int64)
    T, count = len(interval), int(interval[-1]) + 1
    begins = np.searchsorted(interval, np.arange(count))
    uses = np.bincount(access.extent, minlength=len(timeline.extents))
    wanted: list[tuple[int, int, int, int]] = []
    order = np.lexsort((at, access.extent))
    for row, extent in zip(order.tolist(), access.extent[order].tolist(), strict=True):
        t, following = int(at[row]), int(access.next_slice[row])
        if stays[extent] or following < 0:
            continue
        ahead = (following - t - 1) % T + 1
        here, there = int(interval[t]), int(interval[following])
        apart = count if there == here and following <= t else (there - here) % count
        if apart > 1:
            schedule.leave[t].append(extent)
            start = int(begins[(there - 1) % count])
            wanted.append((start, -int(uses[extent]), (following - start - 1) % T + 1, extent))
    for start, _, ahead, extent in sorted(wanted):
        schedule.ahead[start].append((extent, ahead))


def _made_less_left(timeline: Timeline, schedule: FetchSchedule) -> NDArray[np.int64]:
    """Pages that have been made up to each slice, less those that have died or left before it, shape (T,)."""
    access, at = timeline.accesses, slice_of_access(timeline)
    change = np.zeros(len(timeline.slices) + 1, np.int64)
    made, dies = ~access.needs_content, access.next_slice < 0
    np.add.at(change, at[made], timeline.extents.pages[access.extent[made]])
    np.subtract.at(change, at[dies] + 1, timeline.extents.pages[access.extent[dies]])
    for t, leaving in enumerate(schedule.leave):
        change[t + 1] -= int(timeline.extents.pages[leaving].sum())
    return np.cumsum(change)[:-1]


def _growth(level: NDArray[np.int64], interval: NDArray[np.int64]) -> NDArray[np.int64]:
    """How far above its present value the level will rise in the rest of the interval, shape (T,)."""
    growth = np.zeros(len(level), np.int64)
    most = 0
    for t in range(len(level) - 1, -1, -1):
        ends = t + 1 == len(level) or interval[t + 1] != interval[t]
        most = int(level[t]) if ends else max(most, int(level[t]))
        growth[t] = most - level[t]
    return growth
