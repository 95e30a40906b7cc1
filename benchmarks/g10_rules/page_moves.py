"""Compiled: pages entering and leaving the GPU, who has to go, and what one tick does.

Compiled functions know no arguments by keyword alone.
"""

from g10_rules.page_state import (
    ALLOC,
    AWAITED,
    EVICT_HOST,
    EVICT_SSD,
    FAULT_ALLOC,
    FAULT_HOST,
    FAULT_SSD,
    FETCH_HOST,
    FETCH_SSD,
    FIRST,
    GPU,
    GPU_PAGES,
    GPU_ROOM,
    HOST,
    HOST_IN,
    HOST_OUT,
    HOST_PAGES,
    HOST_ROOM,
    IN,
    IN_SSD,
    IS_DEEPUM,
    KERNEL,
    LAST,
    MOST_ALLOC,
    MOST_MOVES,
    MOST_SSD,
    NONE,
    OUT,
    OUT_SSD,
    POINTER,
    PREALLOC,
    QUEUES,
    SSD,
    SSD_IN,
    SSD_OUT,
    State,
)
from tmtrain.simulation.flash.compiled import compiled


@compiled
def push(s: State, queue: int, page: int) -> None:
    """Put a page at the end of a queue; it is busy from then on."""
    s.queued_next[page] = -1
    if s.head[queue] < 0:
        s.head[queue] = page
    else:
        s.queued_next[s.tail[queue]] = page
    s.tail[queue] = page
    s.busy[page] = True


@compiled
def pop(s: State, queue: int) -> int:
    """Take the first page out of a queue that is not empty."""
    page = s.head[queue]
    s.head[queue] = s.queued_next[page]
    s.busy[page] = False
    return page


@compiled
def push_fault(s: State, page: int) -> None:
    """Queue a page that the current kernel misses, by where it is."""
    if s.place[page] == SSD:
        push(s, FAULT_SSD, page)
    elif s.place[page] == HOST:
        push(s, FAULT_HOST, page)
    else:
        push(s, FAULT_ALLOC, page)


@compiled
def wait_for(s: State, page: int) -> None:
    """Put a page into W."""
    if not s.awaited[page]:
        s.awaited[page] = True
        s.count[AWAITED] += 1


@compiled
def enter(s: State, page: int) -> None:
    """Put a page into the GPU, at the end of L."""
    if s.place[page] == SSD:
        s.count[IN] += 1
        s.count[IN_SSD] += 1
        s.count[SSD_IN] += 1
    elif s.place[page] == HOST:
        s.count[IN] += 1
        s.count[HOST_IN] += 1
        s.count[HOST_PAGES] -= 1
    s.count[ALLOC] += 1
    s.count[GPU_PAGES] += 1
    s.place[page] = GPU
    s.before[page] = s.count[LAST]
    s.after[page] = -1
    if s.count[LAST] < 0:
        s.count[FIRST] = page
    else:
        s.after[s.count[LAST]] = page
    s.count[LAST] = page
    if s.awaited[page]:
        s.awaited[page] = False
        s.count[AWAITED] -= 1


@compiled
def unlink(s: State, page: int) -> None:
    """Take a page out of L."""
    if s.before[page] < 0:
        s.count[FIRST] = s.after[page]
    else:
        s.after[s.before[page]] = s.after[page]
    if s.after[page] < 0:
        s.count[LAST] = s.before[page]
    else:
        s.before[s.after[page]] = s.before[page]
    if s.count[POINTER] == page:
        s.count[POINTER] = s.count[FIRST]
    s.count[GPU_PAGES] -= 1


@compiled
def leave(s: State, page: int, place: int) -> None:
    """Move a page out of the GPU; if the current kernel needs it, it faults at once."""
    unlink(s, page)
    if place == SSD:
        s.count[OUT] += 1
        s.count[OUT_SSD] += 1
        s.count[SSD_OUT] += 1
    elif place == HOST:
        s.count[OUT] += 1
        s.count[HOST_OUT] += 1
        s.count[HOST_PAGES] += 1
    s.place[page] = place
    if s.is_current[s.tensor[page]]:
        push_fault(s, page)
        wait_for(s, page)


@compiled
def is_host_full(s: State) -> bool:
    """Whether the host has no room."""
    return s.count[HOST_PAGES] >= s.count[HOST_ROOM]


@compiled
def has_room(s: State) -> bool:
    """Whether a page may enter: there is space, or one may still leave in this tick."""
    if s.count[GPU_PAGES] < s.count[GPU_ROOM]:
        return True
    return s.count[OUT] < s.count[MOST_MOVES] and (
        not is_host_full(s) or s.count[OUT_SSD] < s.count[MOST_SSD]
    )


@compiled
def is_passed_over(s: State, page: int) -> bool:
    """Whether the scan over L takes no victim here."""
    return s.busy[page] or (s.count[IS_DEEPUM] == 1 and s.is_near[s.tensor[page]])


@compiled
def set_pointer(s: State) -> None:
    """Begin the scan at the first page of L that may be a victim."""
    page = s.count[FIRST]
    while page >= 0 and is_passed_over(s, page):
        page = s.after[page]
    s.count[POINTER] = page


@compiled
def find_victim(s: State, page: int, is_fault: bool) -> int:
    """Return the page that leaves for `page`, or -1."""
    if s.count[IS_DEEPUM] == 1 and (is_fault or s.is_current[s.tensor[page]]):
        victim = s.count[FIRST]
        while victim >= 0 and s.busy[victim]:
            victim = s.after[victim]
        return victim
    victim = s.count[POINTER]
    while victim >= 0 and is_passed_over(s, victim):
        victim = s.after[victim]
    if victim < 0 and s.count[IS_DEEPUM] == 0:
        victim = s.count[FIRST]
        while victim >= 0 and is_passed_over(s, victim):
            victim = s.after[victim]
    s.count[POINTER] = -1 if victim < 0 else s.after[victim]
    return victim


@compiled
def make_room(s: State, page: int, is_fault: bool) -> bool:
    """Evict a page for `page` if the GPU is full; False if none may go."""
    if s.count[GPU_PAGES] < s.count[GPU_ROOM]:
        return True
    victim = find_victim(s, page, is_fault)
    if victim < 0:
        return False
    tensor, kernel = s.tensor[victim], s.count[KERNEL]
    is_dead = not s.birth[tensor] <= kernel < s.death[tensor]
    if s.count[IS_DEEPUM] == 1 and is_dead:
        leave(s, victim, NONE)
    else:
        leave(s, victim, SSD if is_host_full(s) else HOST)
    return True


@compiled
def serve(s: State, queue: int, place: int, is_fault: bool) -> bool:
    """Let pages of a queue in; False if a victim was wanted and none may go."""
    while s.head[queue] >= 0 and has_room(s):
        if place != NONE and s.count[IN] >= s.count[MOST_MOVES]:
            break
        if place == SSD and s.count[IN_SSD] >= s.count[MOST_SSD]:
            break
        if (is_fault or place == NONE) and s.count[ALLOC] >= s.count[MOST_ALLOC]:
            break
        page = s.head[queue]
        if not make_room(s, page, is_fault):
            return False
        enter(s, pop(s, queue))
    return True


@compiled
def evict_as_planned(s: State) -> None:
    """Let pages of the eviction queues out."""
    while (
        s.head[EVICT_SSD] >= 0 and s.count[OUT_SSD] < s.count[MOST_SSD] and s.count[OUT] < s.count[MOST_MOVES]
    ):
        leave(s, pop(s, EVICT_SSD), SSD)
    while s.head[EVICT_HOST] >= 0 and s.count[OUT] < s.count[MOST_MOVES]:
        if not is_host_full(s):
            leave(s, pop(s, EVICT_HOST), HOST)
        elif s.count[OUT_SSD] < s.count[MOST_SSD]:
            leave(s, pop(s, EVICT_HOST), SSD)
        else:
            break


@compiled
def move_pages(s: State, is_waiting: bool) -> None:
    """Do what one tick does (rules a to f of the page level)."""
    is_idle = True
    for queue in range(QUEUES):
        is_idle = is_idle and s.head[queue] < 0
    if is_idle:
        return
    for counter in (IN, IN_SSD, OUT, OUT_SSD, ALLOC):
        s.count[counter] = 0
    evict_as_planned(s)
    serve(s, FAULT_SSD, SSD, True)
    serve(s, FAULT_HOST, HOST, True)
    serve(s, FAULT_ALLOC, NONE, True)
    if serve(s, FETCH_SSD, SSD, False):
        serve(s, FETCH_HOST, HOST, False)
    serve(s, PREALLOC, NONE, False)
    if s.count[IS_DEEPUM] == 1 and is_waiting and s.count[AWAITED] > 0 and s.count[IN] + s.count[OUT] == 0:
        serve(s, FETCH_SSD, SSD, True)
        serve(s, FETCH_HOST, HOST, True)
        serve(s, PREALLOC, NONE, True)
