"""Layers of a step, and schedules by intervals of layers, for rivals that decide layer by layer."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.problem.problem import slice_of_access
from tmtrain.policies.shared.schedules import FetchSchedule, empty_schedule
from tmtrain.trace import Phase


def layer_of_slice(timeline: Timeline) -> NDArray[np.int64]:
    """Return the number of the layer that each slice belongs to, shape (T,).

    Users of the papers' systems mark their layers. A timeline has no marks: here a layer is a matrix product or
    convolution (or a slice of one) and all that follows it up to the next; phases begin new ones, and in the optimizer,
    which has no products, each slice is a layer.

    >>> from tmtrain.planning.example import example_timeline
    >>> layer_of_slice(example_timeline()).tolist()
    [0, 0, 1, 2, 2, 3, 4, 5, 6]
    """
    slices = timeline.slices
    begins = (slices.matrix_flops > 0) | (slices.phase == Phase.OPTIMIZER)
    begins[1:] |= slices.phase[1:] != slices.phase[:-1]
    begins[:1] = False
    return np.cumsum(begins)


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
    schedule.reserve[:] = _growth(_new_less_gone(timeline, schedule), interval).tolist()
    return schedule


def _fill(
    schedule: FetchSchedule, timeline: Timeline, interval: NDArray[np.int64], stays: NDArray[np.bool_]
) -> None:
    """Enter who leaves after its last use in an interval, and from where on it is fetched for the next one."""
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
        # The same interval again is a whole step away, unless the next use comes later in it.
        apart = count if there == here and following <= t else (there - here) % count
        if apart > 1:
            schedule.leave[t].append(extent)
            start = int(begins[(there - 1) % count])
            wanted.append((start, -int(uses[extent]), (following - start - 1) % T + 1, extent))
    for start, _, ahead, extent in sorted(wanted):
        schedule.ahead[start].append((extent, ahead))


def _new_less_gone(timeline: Timeline, schedule: FetchSchedule) -> NDArray[np.int64]:
    """Return the pages that came into being up to each slice, less those that died or left before it, shape (T,)."""
    access, at = timeline.accesses, slice_of_access(timeline)
    change = np.zeros(len(timeline.slices) + 1, np.int64)
    is_new, dies = ~access.needs_content, access.next_slice < 0
    np.add.at(change, at[is_new], timeline.extents.pages[access.extent[is_new]])
    np.subtract.at(change, at[dies] + 1, timeline.extents.pages[access.extent[dies]])
    for t, leaving in enumerate(schedule.leave):
        change[t + 1] -= int(timeline.extents.pages[leaving].sum())
    return np.cumsum(change)[:-1]


def _growth(level: NDArray[np.int64], interval: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how far above its present value the level will rise in the rest of the interval, shape (T,)."""
    growth = np.zeros(len(level), np.int64)
    most = 0
    for t in range(len(level) - 1, -1, -1):
        ends = t + 1 == len(level) or interval[t + 1] != interval[t]
        most = int(level[t]) if ends else max(most, int(level[t]))
        growth[t] = most - level[t]
    return growth
