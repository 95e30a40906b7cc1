"""Compiled: commands of dies over a shared channel.

Note [Order of service]
    A channel carries one thing at a time: the command of a die (with the data, if it programs) or a page that was read.
    Pages that were read go first, those of the host before those of collection; then the dies are asked in turn. A die
    has one command at a time, reads before programs before erases, collection before the host within each kind; while a
    block waits to be erased, the host waits. A command takes operations of as many planes as have one at the same offset
    in their blocks, also such of the host beside those of collection.
"""

from tmtrain.simulation.flash.compiled import compiled
from tmtrain.simulation.flash.heap import push_event
from tmtrain.simulation.flash.host import CHANNEL_FREE, DIE_DONE, KINDS, end_page
from tmtrain.simulation.flash.lists import append, free_op, unlink
from tmtrain.simulation.flash.state import (
    COPY_READ,
    COPY_WRITE,
    ERASE,
    HOST_READ,
    HOST_WRITE,
    LISTS_PER_DIE,
    FlashState,
)
from tmtrain.simulation.flash.translation import end_copy, end_erase, end_pending, queue_copy

_READ, _PROGRAM, _ERASE = range(3)  # kinds of commands


@compiled
def serve_channel(s: FlashState, channel: int, now: int) -> None:
    """Give an idle channel its next work: Note [Order of service]."""
    if s.channels[channel].busy:
        return
    for source in range(2):
        at = s.setup.first_out_list + 2 * channel + source
        op = s.lists[at].head
        if op >= 0:
            unlink(s, at, -1, op)
            _read_out(s, channel, op, now)
            return
    dies = s.setup.dies_per_channel
    turn = s.channels[channel].turn
    for _ in range(dies):
        die = channel * dies + turn
        turn = turn + 1 if turn + 1 < dies else 0
        if not s.dies[die].busy and _start_command(s, channel, die, now):
            break
    s.channels[channel].turn = turn


@compiled
def _start_command(s: FlashState, channel: int, die: int, now: int) -> bool:
    """Send an idle die a command; return whether there was one."""
    lists, first = s.lists, die * LISTS_PER_DIE
    if lists[first + COPY_READ].head >= 0:
        n = _take(s, die, COPY_READ, HOST_READ, now)
        kind = _READ
    elif lists[first + COPY_WRITE].head >= 0:
        n = _take(s, die, COPY_WRITE, HOST_WRITE, now)
        kind = _PROGRAM
    elif lists[first + ERASE].head >= 0:
        n = _take(s, die, ERASE, ERASE, now)
        kind = _ERASE
    elif lists[first + HOST_READ].head >= 0:
        n = _take(s, die, HOST_READ, HOST_READ, now)
        kind = _READ
    elif lists[first + HOST_WRITE].head >= 0:
        n = _take(s, die, HOST_WRITE, HOST_WRITE, now)
        kind = _PROGRAM
    else:
        return False
    if n == 0:
        return False
    lasts = s.times_ps[kind, n]
    if kind == _PROGRAM:
        lasts += int(n * s.setup.page_bytes * s.setup.channel_ps_per_byte)
    s.commands[kind, n] += 1
    s.dies[die].busy, s.dies[die].since = 1, now
    s.dies[die].kind, s.dies[die].planes = kind, n
    _occupy(s, channel, die, -1, lasts, now)
    return True


@compiled
def _take(s: FlashState, die: int, first: int, second: int, now: int) -> int:
    """Move operations of different planes and one offset to the die's slots; return how many."""
    planes_per_die = s.setup.planes_per_die
    offset, taken, planes = -1, 0, 0
    for kind in (first, second):
        at = die * LISTS_PER_DIE + kind
        before, op = -1, s.lists[at].head
        while op >= 0 and taken < planes_per_die:
            following = s.ops[op].next
            plane = 1 << (s.ops[op].plane % planes_per_die)
            ready = kind != ERASE or s.blocks[s.ops[op].request].to_move == 0
            if ready and not planes & plane and (taken == 0 or s.ops[op].offset == offset):
                unlink(s, at, before, op)
                s.slots[die, taken] = op
                s.wait_ps[0, kind] += now - s.ops[op].since
                offset, taken, planes = s.ops[op].offset, taken + 1, planes | plane
            else:
                before = op
            op = following
        if taken == 0 or first == second:
            break
    return taken


@compiled
def _occupy(s: FlashState, channel: int, die: int, op: int, lasts: int, now: int) -> None:
    channels = s.channels
    channels[channel].busy, channels[channel].die, channels[channel].op = 1, die, op
    channels[channel].busy_ps += lasts
    push_event(s, now + lasts, channel * KINDS + CHANNEL_FREE)


@compiled
def _read_out(s: FlashState, channel: int, op: int, now: int) -> None:
    s.wait_ps[1, s.ops[op].kind] += now - s.ops[op].since
    die = s.ops[op].plane // s.setup.planes_per_die
    _occupy(s, channel, die, op, int(s.ops[op].num_bytes * s.setup.channel_ps_per_byte), now)


@compiled
def free_channel(s: FlashState, channel: int, now: int) -> None:
    """A command or a page has passed."""
    die, op = s.channels[channel].die, s.channels[channel].op
    if op < 0:
        push_event(s, now + s.times_ps[s.dies[die].kind, 0], die * KINDS + DIE_DONE)
    else:
        s.dies[die].left_out -= 1
        if s.dies[die].left_out == 0:
            _rest(s, die, now)
        _end_read(s, op, now)
    s.channels[channel].busy = 0
    serve_channel(s, channel, now)


@compiled
def _rest(s: FlashState, die: int, now: int) -> None:
    s.dies[die].busy = 0
    s.dies[die].busy_ps += now - s.dies[die].since


@compiled
def _end_read(s: FlashState, op: int, now: int) -> None:
    if s.ops[op].kind == COPY_READ:
        s.count[0].copy_reads += 1
        queue_copy(s, op, now)
        return
    s.count[0].host_reads += 1
    end_pending(s, op, now)
    _end_host(s, op, now)


@compiled
def end_array(s: FlashState, die: int, now: int) -> None:
    """A die has read, programmed or erased."""
    channel, kind, n = die // s.setup.dies_per_channel, s.dies[die].kind, s.dies[die].planes
    if kind == _READ:
        s.dies[die].left_out = n
        for slot in range(n):
            op = s.slots[die, slot]
            s.ops[op].since = now
            is_copy = s.ops[op].kind == COPY_READ
            append(s, s.setup.first_out_list + 2 * channel + is_copy, op)
    else:
        for slot in range(n):
            if kind == _PROGRAM:
                _end_program(s, s.slots[die, slot], now)
            else:
                s.count[0].erases += 1
                end_erase(s, s.slots[die, slot], now)
                free_op(s, s.slots[die, slot])
        _rest(s, die, now)
    serve_channel(s, channel, now)


@compiled
def _end_program(s: FlashState, op: int, now: int) -> None:
    end_pending(s, op, now)
    if s.ops[op].kind == HOST_WRITE:
        s.count[0].host_programs += 1
        _end_host(s, op, now)
        return
    s.count[0].copy_programs += 1
    end_copy(s, op, now)
    free_op(s, op)


@compiled
def _end_host(s: FlashState, op: int, now: int) -> None:
    request = s.ops[op].request
    free_op(s, op)
    end_page(s, request, now)
