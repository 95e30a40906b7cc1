"""Compiled: the loop over events."""

from tmtrain.simulation.flash.compiled import compiled, entry
from tmtrain.simulation.flash.dies import end_array, free_channel, serve_channel
from tmtrain.simulation.flash.heap import pop_event, push_event
from tmtrain.simulation.flash.host import (
    ARRIVAL,
    ASK_SENT,
    CHANNEL_FREE,
    COMMAND_CAME,
    DATA_CAME,
    DIE_DONE,
    DOORBELL,
    FETCH_SENT,
    KINDS,
    READ,
    WRITE,
    answer,
    arrive,
    ask_for_data,
    hear_doorbell,
)
from tmtrain.simulation.flash.lists import new_op
from tmtrain.simulation.flash.state import (
    BEYOND_CAPACITY,
    DISCARD,
    DONE,
    FULL_UP,
    HOST_READ,
    HOST_WRITE,
    FlashState,
)
from tmtrain.simulation.flash.translation import dispatch, fill, open_all, plane_of


@entry
def run(s: FlashState, filled_pages: int) -> None:
    """Work through all requests, or until one cannot be served."""
    open_all(s)
    fill(s, filled_pages)
    if len(s.requests):
        push_event(s, s.requests[0].arrival, ARRIVAL)
    while s.count[0].heap_size > 0 and s.count[0].outcome == DONE:
        now, event = pop_event(s)
        s.count[0].clock = now
        _handle(s, event % KINDS, event // KINDS, now)
    if s.count[0].outcome == DONE and s.count[0].finished < len(s.requests):
        s.count[0].outcome = FULL_UP


@compiled
def _handle(s: FlashState, kind: int, of: int, now: int) -> None:
    if kind == CHANNEL_FREE:
        free_channel(s, of, now)
    elif kind == DIE_DONE:
        end_array(s, of, now)
    elif kind == ARRIVAL:
        arrive(s, now)
    elif kind == DOORBELL:
        hear_doorbell(s, now)
    elif kind in (FETCH_SENT, ASK_SENT):
        answer(s, of, kind, now)
    elif kind == COMMAND_CAME and s.requests[of].kind == WRITE:
        ask_for_data(s, of, now)
    elif kind in (COMMAND_CAME, DATA_CAME):
        _submit(s, of, now)


@compiled
def _submit(s: FlashState, request: int, now: int) -> None:
    """Cut a request into pages and hand them to the dies."""
    requests, page_bytes = s.requests, s.setup.page_bytes
    begin, end = requests[request].first_byte, requests[request].first_byte + requests[request].num_bytes
    first, last = begin // page_bytes, (end - 1) // page_bytes
    if last >= s.setup.host_pages:
        s.count[0].outcome, s.count[0].culprit = BEYOND_CAPACITY, request
        return
    requests[request].pages_left = last - first + 1
    for lpage in range(first, last + 1):
        op = new_op(s)
        s.ops[op].kind = _kind_of(requests[request].kind)
        s.ops[op].request = request
        s.ops[op].lpage = lpage
        s.ops[op].plane = plane_of(s, lpage)
        s.ops[op].num_bytes = min(end, (lpage + 1) * page_bytes) - max(begin, lpage * page_bytes)
        dispatch(s, op, now)
    for lpage in range(first, min(last + 1, first + s.setup.channels)):
        serve_channel(s, lpage % s.setup.channels, now)


@compiled
def _kind_of(request_kind: int) -> int:
    if request_kind == READ:
        return HOST_READ
    return HOST_WRITE if request_kind == WRITE else DISCARD
