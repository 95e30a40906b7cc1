"""Compiled: the translation layer. Where pages of the host are put, and how blocks are freed.

Pages are striped over channels, dies and planes by their number, so the host's order is the device's parallelism.

Note [Collection]
    When a block fills and its plane has fewer free blocks than the threshold, one victim is chosen: the full block with
    the most dead pages. In the grouped layout it is one without any valid ones; an open one if no full one is dead, so
    that blocks are filled up while there is room. Blocks with operations under way are no victims. Its valid pages are
    locked, read and written within the plane; then it is erased. A host request that meets a locked page waits until its
    copy is programmed. Below the reserve host writes wait, and each erase starts another one.

Note [Room to copy]
    A victim is taken only if its pages, and those of the victims under way, find room in the open block for copies and in
    as many free blocks as host writes must leave: one less than the reserve, as a host write may take a block when
    exactly the reserve is free.
"""

from tmtrain.simulation.flash.compiled import compiled
from tmtrain.simulation.flash.host import end_page
from tmtrain.simulation.flash.lists import append, free_op, new_op, unlink
from tmtrain.simulation.flash.state import (
    COLLECTING,
    COPY_READ,
    COPY_WRITE,
    DISCARD,
    ERASE,
    FREE,
    FULL,
    HOST_READ,
    LISTS_PER_DIE,
    NEVER_WRITTEN,
    OPEN,
    WORN_OUT,
    FlashState,
)

_FOR_BLOCKS, _FOR_COPIES = range(2)  # what operations wait for


@compiled
def plane_of(s: FlashState, lpage: int) -> int:
    """Return the plane of a host page: channels first, then dies, then planes."""
    setup = s.setup
    channel, rest = lpage % setup.channels, lpage // setup.channels
    die, rest = rest % setup.dies_per_channel, rest // setup.dies_per_channel
    return (channel * setup.dies_per_channel + die) * setup.planes_per_die + rest % setup.planes_per_die


@compiled
def fill(s: FlashState, num_pages: int) -> None:
    """Have the first pages written, in order, before time begins."""
    for lpage in range(num_pages):
        _write_page(s, plane_of(s, lpage), 0, lpage, 0)


@compiled
def open_all(s: FlashState) -> None:
    """Set the table's blocks aside; the log, moreover, always has a block at hand, for the host and for copies."""
    for plane in range(len(s.planes)):
        for _ in range(s.setup.table_blocks):
            _open_block(s, plane)
        if not s.setup.is_grouped:
            s.open_blocks[plane, 0] = _open_block(s, plane)
            s.planes[plane].copies = _open_block(s, plane)


@compiled
def dispatch(s: FlashState, op: int, now: int) -> None:
    """Find a host operation's page and queue it at the die; or let it wait for what it needs."""
    lpage, kind = s.ops[op].lpage, s.ops[op].kind
    if s.host_pages[lpage].locked:
        s.count[0].lock_hits += 1
        append(s, _wait_list(s, op, _FOR_COPIES), op)
    elif kind == HOST_READ:
        _queue_read(s, op, now)
    elif kind == DISCARD:
        _discard(s, op, now)
    elif _has_room(s, op):
        _queue_write(s, op, now)
    else:
        append(s, _wait_list(s, op, _FOR_BLOCKS), op)
        if s.planes[s.ops[op].plane].collecting == 0:
            _collect(s, s.ops[op].plane, now)


@compiled
def _wait_list(s: FlashState, op: int, what: int) -> int:
    return s.setup.first_wait_list + 2 * s.ops[op].plane + what


@compiled
def _queue_read(s: FlashState, op: int, now: int) -> None:
    page = s.host_pages[s.ops[op].lpage].at - 1
    request = s.ops[op].request
    if page < 0:
        s.count[0].outcome, s.count[0].culprit = NEVER_WRITTEN, request
        return
    if s.ops[op].lpage == s.requests[request].first_byte // s.setup.page_bytes:
        s.requests[request].origin = s.device_pages[page].writer - 1
    s.blocks[page // s.setup.pages_per_block].pending += 1
    s.ops[op].page = page
    _queue(s, op, now)


@compiled
def _queue_write(s: FlashState, op: int, now: int) -> None:
    plane = s.ops[op].plane
    page = _write_page(s, plane, _group_of(s, op), s.ops[op].lpage, s.ops[op].request + 1)
    block = page // s.setup.pages_per_block
    s.blocks[block].pending += 1
    s.ops[op].page = page
    _queue(s, op, now)
    if s.blocks[block].state == FULL:
        _collect(s, plane, now)


@compiled
def _queue(s: FlashState, op: int, now: int) -> None:
    s.ops[op].offset = s.ops[op].page % s.setup.pages_per_block
    s.ops[op].since = now
    die = s.ops[op].plane // s.setup.planes_per_die
    append(s, die * LISTS_PER_DIE + s.ops[op].kind, op)


@compiled
def _discard(s: FlashState, op: int, now: int) -> None:
    plane, request = s.ops[op].plane, s.ops[op].request
    page = s.host_pages[s.ops[op].lpage].at - 1
    if page >= 0:
        s.host_pages[s.ops[op].lpage].at = 0
        _invalidate(s, page)
        if s.setup.is_grouped and s.blocks[page // s.setup.pages_per_block].valid == 0:
            _collect(s, plane, now)
    free_op(s, op)
    end_page(s, request, now)


@compiled
def _group_of(s: FlashState, op: int) -> int:
    return s.requests[s.ops[op].request].group if s.setup.is_grouped else 0


@compiled
def _has_room(s: FlashState, op: int) -> bool:
    plane = s.ops[op].plane
    free = s.planes[plane].free
    return free >= s.setup.reserve and (free > 0 or s.open_blocks[plane, _group_of(s, op)] >= 0)


@compiled
def _write_page(s: FlashState, plane: int, group: int, lpage: int, writer: int) -> int:
    """Give a host page the next page of the plane's open block."""
    if s.open_blocks[plane, group] < 0:
        s.open_blocks[plane, group] = _open_block(s, plane)
    block = s.open_blocks[plane, group]
    page = _append_page(s, block, lpage, writer)
    if s.blocks[block].state == FULL:
        s.open_blocks[plane, group] = -1 if s.setup.is_grouped else _open_block(s, plane)
    return page


@compiled
def _append_page(s: FlashState, block: int, lpage: int, writer: int) -> int:
    blocks, size = s.blocks, s.setup.pages_per_block
    old = s.host_pages[lpage].at - 1
    if old >= 0:
        _invalidate(s, old)
    page = block * size + blocks[block].written
    blocks[block].written += 1
    blocks[block].valid += 1
    if blocks[block].written == size:
        blocks[block].state = FULL
    s.host_pages[lpage].at = page + 1
    s.device_pages[page].holds = lpage + 1
    s.device_pages[page].writer = writer
    return page


@compiled
def _invalidate(s: FlashState, page: int) -> None:
    s.device_pages[page].holds = 0
    s.blocks[page // s.setup.pages_per_block].valid -= 1


@compiled
def _open_block(s: FlashState, plane: int) -> int:
    """Take the least worn of the free blocks, of several the one that has been free for longest."""
    blocks, first = s.blocks, plane * s.setup.blocks_per_plane
    best = -1
    for block in range(first, first + s.setup.blocks_per_plane):
        if blocks[block].state != FREE:
            continue
        if (
            best < 0
            or blocks[block].erases < blocks[best].erases
            or (blocks[block].erases == blocks[best].erases and blocks[block].freed < blocks[best].freed)
        ):
            best = block
    if best >= 0:
        blocks[best].state = OPEN
        s.planes[plane].free -= 1
    return best


@compiled
def _victim(s: FlashState, plane: int) -> int:
    """Return the block to collect, -1: none."""
    blocks, first = s.blocks, plane * s.setup.blocks_per_plane
    best, most = -1, 0
    for block in range(first, first + s.setup.blocks_per_plane):
        dead = blocks[block].written - blocks[block].valid
        if dead == 0 or dead < most or not _is_written(s, block) or blocks[block].pending > 0:
            continue
        if s.setup.is_grouped and blocks[block].valid > 0:
            continue
        less_worn = s.setup.levels_wear and blocks[block].erases < blocks[best].erases
        if dead > most or less_worn:
            best, most = block, dead
    return best


@compiled
def _is_written(s: FlashState, block: int) -> bool:
    """Whether a block may be a victim: it is full, or open in the grouped layout, where it need not be filled up."""
    state = s.blocks[block].state
    return state == FULL or (s.setup.is_grouped and state == OPEN)


@compiled
def _close(s: FlashState, plane: int, block: int) -> None:
    for group in range(s.open_blocks.shape[1]):
        if s.open_blocks[plane, group] == block:
            s.open_blocks[plane, group] = -1


@compiled
def _collect(s: FlashState, plane: int, now: int) -> None:
    """Start to free a block of the plane, if it has few and one is worth it: Note [Collection]."""
    setup, blocks = s.setup, s.blocks
    if s.planes[plane].free >= setup.collect_below or s.planes[plane].collecting >= max(setup.reserve, 1):
        return
    block = _victim(s, plane)
    if block < 0 or blocks[block].valid > _room_to_copy(s, plane):
        return
    if blocks[block].erases >= setup.endurance:
        s.count[0].outcome, s.count[0].culprit = WORN_OUT, block
        return
    if blocks[block].state == OPEN:
        _close(s, plane, block)
    blocks[block].state = COLLECTING
    blocks[block].to_move = blocks[block].valid
    s.planes[plane].collecting += 1
    s.planes[plane].to_copy += blocks[block].valid
    first = block * setup.pages_per_block
    for page in range(first, first + blocks[block].written):
        if s.device_pages[page].holds:
            lpage = s.device_pages[page].holds - 1
            s.host_pages[lpage].locked = 1
            _queue_own(s, COPY_READ, block, plane, lpage, page, now)
    _queue_own(s, ERASE, block, plane, 0, first, now)


@compiled
def _room_to_copy(s: FlashState, plane: int) -> int:
    """Return for how many more pages there is room: Note [Room to copy]."""
    copies = s.planes[plane].copies
    if copies < 0:
        return 0
    blocks = min(s.planes[plane].free, s.setup.reserve - 1)
    in_open = s.setup.pages_per_block - s.blocks[copies].written
    return blocks * s.setup.pages_per_block + in_open - s.planes[plane].to_copy


@compiled
def _queue_own(s: FlashState, kind: int, block: int, plane: int, lpage: int, page: int, now: int) -> None:
    """Queue an operation of the device's own."""
    op = new_op(s)
    s.ops[op].kind = kind
    s.ops[op].request = block
    s.ops[op].lpage = lpage
    s.ops[op].page = page
    s.ops[op].plane = plane
    s.ops[op].num_bytes = s.setup.page_bytes
    _queue(s, op, now)


@compiled
def queue_copy(s: FlashState, op: int, now: int) -> None:
    """A page of a victim has been read: write it to the plane's block for copies."""
    plane = s.ops[op].plane
    block = s.planes[plane].copies
    s.planes[plane].to_copy -= 1
    page = _append_page(s, block, s.ops[op].lpage, s.device_pages[s.ops[op].page].writer)
    s.blocks[block].pending += 1
    s.ops[op].kind = COPY_WRITE
    s.ops[op].page = page
    _queue(s, op, now)
    if s.blocks[block].state == FULL:
        s.planes[plane].copies = _open_block(s, plane)
        _collect(s, plane, now)


@compiled
def end_copy(s: FlashState, op: int, now: int) -> None:
    """A copy is programmed: its page is unlocked, and those who waited for it go on."""
    lpage, at = s.ops[op].lpage, _wait_list(s, op, _FOR_COPIES)
    s.blocks[s.ops[op].request].to_move -= 1
    s.host_pages[lpage].locked = 0
    before, waiting = -1, s.lists[at].head
    while waiting >= 0:
        following = s.ops[waiting].next
        if s.ops[waiting].lpage == lpage:
            unlink(s, at, before, waiting)
            dispatch(s, waiting, now)
        else:
            before = waiting
        waiting = following


@compiled
def end_pending(s: FlashState, op: int, now: int) -> None:
    """An operation on a block has ended, which may make it a victim for writes that wait for one."""
    s.blocks[s.ops[op].page // s.setup.pages_per_block].pending -= 1
    plane = s.ops[op].plane
    if s.lists[_wait_list(s, op, _FOR_BLOCKS)].head >= 0 and s.planes[plane].collecting == 0:
        _collect(s, plane, now)


@compiled
def end_erase(s: FlashState, op: int, now: int) -> None:
    """A block is free: writes that waited for one go on."""
    blocks, plane = s.blocks, s.ops[op].plane
    block = s.ops[op].request
    blocks[block].state = FREE
    blocks[block].written = 0
    blocks[block].erases += 1
    blocks[block].freed = s.count[0].blocks_freed
    s.count[0].blocks_freed += 1
    s.planes[plane].free += 1
    s.planes[plane].collecting -= 1
    if not s.setup.is_grouped and s.planes[plane].copies < 0:  # the last one filled when no block was free
        s.planes[plane].copies = _open_block(s, plane)
    at = _wait_list(s, op, _FOR_BLOCKS)
    while s.lists[at].head >= 0 and _has_room(s, s.lists[at].head):
        waiting = s.lists[at].head
        unlink(s, at, -1, waiting)
        dispatch(s, waiting, now)
    if s.planes[plane].free < s.setup.reserve or s.lists[at].head >= 0:
        _collect(s, plane, now)
