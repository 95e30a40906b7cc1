"""Compiled: requests on the link, and how many of them are inside the device.

The host rings for each request; the device fetches commands in that order while fewer than the queue depth are inside,
fetches the data of writes, sends those of reads, and fetches the next command as soon as one is done.
"""

from tmtrain.simulation.flash.compiled import compiled
from tmtrain.simulation.flash.heap import push_event
from tmtrain.simulation.flash.requests import RequestKind
from tmtrain.simulation.flash.state import (
    FlashState,
    Setup,
)

# Kinds of events; the rest of the number says of which request, channel or die.
ARRIVAL, DOORBELL, FETCH_SENT, COMMAND_CAME, ASK_SENT, DATA_CAME, CHANNEL_FREE, DIE_DONE = range(8)
KINDS = 8

READ, WRITE = int(RequestKind.READ), int(RequestKind.WRITE)


@compiled
def _message_ps(setup: Setup, data_bytes: int) -> int:
    packets = (data_bytes + setup.packet_bytes - 1) // setup.packet_bytes
    return int((data_bytes + packets * setup.packet_overhead_bytes) * setup.link_ps_per_byte)


@compiled
def _send_up(s: FlashState, data_bytes: int, now: int) -> int:
    """Send a message to the host; return when it arrives."""
    arrives = max(now, s.count[0].up_free) + _message_ps(s.setup, data_bytes)
    s.count[0].up_free = arrives
    return arrives


@compiled
def _send_down(s: FlashState, data_bytes: int, now: int) -> int:
    """Send a message to the device; return when it arrives."""
    arrives = max(now, s.count[0].down_free) + _message_ps(s.setup, data_bytes)
    s.count[0].down_free = arrives
    return arrives


@compiled
def arrive(s: FlashState, now: int) -> None:
    """Ring for all requests that are due by now, and wait for the next."""
    requests = s.requests
    i = s.count[0].arrived
    first = i if s.count[0].rung == i else -1  # -1: a doorbell is on its way
    while i < len(requests) and requests[i].arrival <= now:
        requests[i].doorbell = _send_down(s, s.setup.doorbell_bytes, now)
        i += 1
    s.count[0].arrived = i
    if first >= 0:
        push_event(s, requests[first].doorbell, DOORBELL)
    if i < len(requests):
        push_event(s, requests[i].arrival, ARRIVAL)


@compiled
def hear_doorbell(s: FlashState, now: int) -> None:
    """Know of one more request."""
    s.count[0].rung += 1
    if s.count[0].rung < s.count[0].arrived:
        push_event(s, s.requests[s.count[0].rung].doorbell, DOORBELL)
    admit(s, now)


@compiled
def admit(s: FlashState, now: int) -> None:
    """Fetch the commands for which there is room."""
    while s.count[0].admitted < s.count[0].rung and s.count[0].inside < s.setup.queue_depth:
        request = s.count[0].admitted
        s.count[0].admitted += 1
        s.count[0].inside += 1
        s.requests[request].admitted = now
        _ask_host(s, request, FETCH_SENT, now)


@compiled
def _ask_host(s: FlashState, request: int, event: int, now: int) -> None:
    push_event(s, _send_up(s, s.setup.fetch_bytes, now), request * KINDS + event)


@compiled
def ask_for_data(s: FlashState, request: int, now: int) -> None:
    """The command was a write: fetch what it writes."""
    _ask_host(s, request, ASK_SENT, now)


@compiled
def answer(s: FlashState, request: int, event: int, now: int) -> None:
    """The host sends what it was asked for: a command or data."""
    if event == FETCH_SENT:
        arrives = _send_down(s, s.setup.command_bytes, now)
        push_event(s, arrives, request * KINDS + COMMAND_CAME)
    else:
        arrives = _send_down(s, s.requests[request].num_bytes, now)
        push_event(s, arrives, request * KINDS + DATA_CAME)


@compiled
def end_page(s: FlashState, request: int, now: int) -> None:
    """One page of a request is done; after the last, the host is told and the next command fetched."""
    requests = s.requests
    requests[request].pages_left -= 1
    if requests[request].pages_left > 0:
        return
    if requests[request].kind == READ:
        _send_up(s, requests[request].num_bytes, now)
    s.count[0].inside -= 1
    s.count[0].finished += 1
    admit(s, now)
    requests[request].done = _send_up(s, s.setup.completion_bytes, now)
    requests[request].copies_by_then = s.count[0].copy_programs
    requests[request].erases_by_then = s.count[0].erases
