"""Compiled: what happens next."""

from tmtrain.simulation.flash.compiled import compiled
from tmtrain.simulation.flash.state import FlashState


@compiled
def push_event(s: FlashState, time: int, event: int) -> None:
    """Add an event; among events of one time, the first to be pushed is the first to come."""
    i = s.count[0].heap_size
    order = s.count[0].heap_pushed
    s.count[0].heap_size = i + 1
    s.count[0].heap_pushed = order + 1
    while i > 0:
        parent = (i - 1) >> 1
        if s.heap[parent].time <= time:  # earlier pushes go first, so equal times stay
            break
        s.heap[i].time = s.heap[parent].time
        s.heap[i].order = s.heap[parent].order
        s.heap[i].event = s.heap[parent].event
        i = parent
    s.heap[i].time = time
    s.heap[i].order = order
    s.heap[i].event = event


@compiled
def pop_event(s: FlashState) -> tuple[int, int]:
    """Remove the next event; return its time and itself."""
    first_time, first_event = s.heap[0].time, s.heap[0].event
    last = s.count[0].heap_size - 1
    s.count[0].heap_size = last
    time, order, event = s.heap[last].time, s.heap[last].order, s.heap[last].event
    i = 0
    while True:
        child = 2 * i + 1
        if child >= last:
            break
        if child + 1 < last and _is_before(s, child + 1, s.heap[child].time, s.heap[child].order):
            child += 1
        if not _is_before(s, child, time, order):
            break
        s.heap[i].time = s.heap[child].time
        s.heap[i].order = s.heap[child].order
        s.heap[i].event = s.heap[child].event
        i = child
    s.heap[i].time = time
    s.heap[i].order = order
    s.heap[i].event = event
    return first_time, first_event


@compiled
def _is_before(s: FlashState, i: int, time: int, order: int) -> bool:
    return s.heap[i].time < time or (s.heap[i].time == time and s.heap[i].order < order)
