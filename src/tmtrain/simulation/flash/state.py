"""All that changes while a device works: tables of records that the compiled loop writes in place.

Times are whole picoseconds, so that equal times are equal and a run repeats exactly. Tables of the size of the device are
zero where nothing has happened: the system hands out their memory only as they are touched, so a large device with
little traffic is cheap.
"""

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tmtrain.simulation.flash.device import FlashDevice
from tmtrain.simulation.flash.requests import Requests

PS = 1e12

Table: TypeAlias = Any
"""A `numpy.recarray`; numpy has no static type for its columns."""

# Kinds of page operations; those up to ERASE also number a die's lists, in this order.
HOST_READ, HOST_WRITE, COPY_READ, COPY_WRITE, ERASE, DISCARD = range(6)
LISTS_PER_DIE = 5
# States of a block.
FREE, OPEN, FULL, COLLECTING = range(4)
# Outcomes, as in `result.Outcome`.
DONE, BEYOND_CAPACITY, NEVER_WRITTEN, WORN_OUT, FULL_UP = range(5)

_Columns: TypeAlias = list[tuple[str, type]]

_REQUESTS: _Columns = [
    ("arrival", np.int64),
    ("doorbell", np.int64),
    ("admitted", np.int64),
    ("done", np.int64),
    ("first_byte", np.int64),
    ("num_bytes", np.int64),
    ("copies_by_then", np.int64),
    ("erases_by_then", np.int64),
    ("pages_left", np.int32),
    ("group", np.int32),
    ("origin", np.int32),  # the request that wrote what the first page read holds
    ("kind", np.int32),
]
_OPS: _Columns = [
    ("since", np.int64),
    ("kind", np.int32),
    ("request", np.int32),  # that it belongs to; of the device's own: the block that is collected
    ("lpage", np.int32),  # the host's page
    ("page", np.int32),  # the device's page; of an erase, the block's first
    ("plane", np.int32),
    ("offset", np.int32),  # of the page in its block
    ("num_bytes", np.int32),  # bytes that cross the channel
    ("next", np.int32),  # in its list
]
_LISTS: _Columns = [("head", np.int32), ("tail", np.int32)]  # -1: empty
_DIES: _Columns = [
    ("busy_ps", np.int64),
    ("since", np.int64),
    ("busy", np.int32),
    ("kind", np.int32),  # of its command, and on how many planes
    ("planes", np.int32),
    ("left_out", np.int32),  # pages that still have to leave over the channel
]
_CHANNELS: _Columns = [
    ("busy_ps", np.int64),
    ("busy", np.int32),
    ("die", np.int32),
    ("op", np.int32),  # the page that leaves; -1: a command goes in
    ("turn", np.int32),  # the die that is asked first
]
_BLOCKS: _Columns = [
    ("freed", np.int64),  # in which order blocks fell free
    ("state", np.int32),
    ("written", np.int32),
    ("valid", np.int32),
    ("pending", np.int32),  # reads and programs of it that are under way
    ("to_move", np.int32),  # pages that must have left before it can be erased
    ("erases", np.int32),
]
_PLANES: _Columns = [
    ("free", np.int32),
    ("collecting", np.int32),
    ("copies", np.int32),  # the open block for copies; -1: none
    ("to_copy", np.int32),  # pages that will need room there
]
# The mapping. Page numbers are one more than they are, 0 is none; the writer is one more than its request, too.
_HOST_PAGES: _Columns = [("at", np.int32), ("locked", np.int32)]
_DEVICE_PAGES: _Columns = [("holds", np.int32), ("writer", np.int32)]
_HEAP: _Columns = [("time", np.int64), ("order", np.int64), ("event", np.int64)]
_COUNT: _Columns = [
    (name, np.int64)
    for name in (
        *("outcome", "culprit", "clock"),  # culprit: the request, or the block, that the outcome is about
        *("heap_size", "heap_pushed", "ops_free", "ops_used", "blocks_freed"),
        *("arrived", "rung", "admitted", "inside", "finished"),  # of requests; rung: their doorbells
        *("up_free", "down_free"),  # when the link to the host, and from it, falls idle
        *("host_reads", "host_programs", "copy_reads", "copy_programs", "erases", "lock_hits"),
    )
]


class Setup(NamedTuple):
    """The device in numbers."""

    channels: int
    dies_per_channel: int
    planes_per_die: int
    blocks_per_plane: int
    pages_per_block: int
    page_bytes: int
    host_pages: int
    channel_ps_per_byte: float
    link_ps_per_byte: float
    packet_bytes: int
    packet_overhead_bytes: int
    doorbell_bytes: int
    fetch_bytes: int
    command_bytes: int
    completion_bytes: int
    is_grouped: bool
    collect_below: int
    reserve: int
    levels_wear: bool
    table_blocks: int
    endurance: int
    queue_depth: int
    first_out_list: int
    """Lists of pages that were read: per channel, of the host and of collection. Those of the dies come before."""
    first_wait_list: int
    """Lists of those who wait: per plane, for free blocks and for copies to end."""


class FlashState(NamedTuple):
    """Everything. The columns of the tables stand above."""

    setup: Setup
    times_ps: NDArray[np.int64]
    """Of reads, programs and erases: first the array, then the command by number of planes; shape (3, planes + 1)."""
    requests: Table
    """The requests and what became of them; times are -1 where nothing did."""
    ops: Table
    """Page operations under way; rows are reused."""
    lists: Table
    """Of operations."""
    dies: Table
    slots: NDArray[np.int32]
    """Operations of each die's command, shape (dies, planes)."""
    channels: Table
    blocks: Table
    """Plane by plane."""
    planes: Table
    open_blocks: NDArray[np.int32]
    """By plane and death group; -1: none."""
    host_pages: Table
    device_pages: Table
    heap: Table
    """Events to come."""
    count: Table
    """One row: everything of which there is one."""
    commands: NDArray[np.int64]
    """Commands given, shape (3, planes + 1): reads, programs, erases by number of planes."""
    wait_ps: NDArray[np.int64]
    """Sums over operations, shape (2, kinds): until their command, and for the channel to read out."""


def new_state(device: FlashDevice, requests: Requests, *, queue_depth: int) -> FlashState:
    """Return a device on which nothing was written, and the requests that will come."""
    setup, g = _setup(device, queue_depth), device.geometry
    num_groups = int(requests.group.max(initial=0)) + 1 if setup.is_grouped else 1
    inside = min(queue_depth, len(requests))
    lists = _table(setup.first_wait_list + 2 * g.planes, _LISTS)
    lists.head, lists.tail = -1, -1
    planes = _table(g.planes, _PLANES)
    planes.free, planes.copies = g.blocks_per_plane, -1
    count = _table(1, _COUNT)
    count.ops_free = -1
    return FlashState(
        setup=setup,
        times_ps=_times(device),
        requests=_request_table(requests),
        ops=_table(_most_ops(device, requests, inside), _OPS),
        lists=lists,
        dies=_table(g.dies, _DIES),
        slots=np.zeros((g.dies, g.planes_per_die), np.int32),
        channels=_table(g.channels, _CHANNELS),
        blocks=_table(g.planes * g.blocks_per_plane, _BLOCKS),
        planes=planes,
        open_blocks=np.full((g.planes, num_groups), -1, np.int32),
        host_pages=_table(device.host_pages, _HOST_PAGES),
        device_pages=_table(g.pages, _DEVICE_PAGES),
        heap=_table(inside + g.channels + g.dies + 2, _HEAP),  # one event each, an arrival and a doorbell
        count=count,
        commands=np.zeros((3, g.planes_per_die + 1), np.int64),
        wait_ps=np.zeros((2, LISTS_PER_DIE), np.int64),
    )


def _table(rows: int, columns: _Columns) -> Table:
    return np.zeros(rows, np.dtype(columns, align=True)).view(np.recarray)


def _setup(device: FlashDevice, queue_depth: int) -> Setup:
    g, link, layer = device.geometry, device.link, device.translation
    first_out_list = g.dies * LISTS_PER_DIE
    return Setup(
        channels=g.channels,
        dies_per_channel=g.dies_per_channel,
        planes_per_die=g.planes_per_die,
        blocks_per_plane=g.blocks_per_plane,
        pages_per_block=g.pages_per_block,
        page_bytes=g.page_bytes,
        host_pages=device.host_pages,
        channel_ps_per_byte=PS / device.timing.channel_bytes_per_s,
        link_ps_per_byte=PS / link.bytes_per_s,
        packet_bytes=link.packet_bytes,
        packet_overhead_bytes=link.packet_overhead_bytes,
        doorbell_bytes=link.doorbell_bytes,
        fetch_bytes=link.fetch_bytes,
        command_bytes=link.command_bytes,
        completion_bytes=link.completion_bytes,
        is_grouped=layer.layout == "grouped",
        collect_below=layer.collect_below_blocks,
        reserve=layer.reserve_blocks,
        levels_wear=layer.levels_wear,
        table_blocks=layer.table_blocks,
        endurance=device.endurance.erases,
        queue_depth=queue_depth,
        first_out_list=first_out_list,
        first_wait_list=first_out_list + 2 * g.channels,
    )


def _times(device: FlashDevice) -> NDArray[np.int64]:
    t, c = device.timing, device.timing.commands
    further = np.arange(device.geometry.planes_per_die)
    rows = (
        (t.read_s, c.read_s, c.read_further_s),
        (t.program_s, c.program_s, c.program_further_s),
        (t.erase_s, c.erase_s, c.erase_further_s),
    )
    return _to_ps(np.array([[array, *(first + more * further)] for array, first, more in rows]))


def _to_ps(seconds: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.round(seconds * PS).astype(np.int64)


def _request_table(requests: Requests) -> Table:
    table = _table(len(requests), _REQUESTS)
    table.arrival = _to_ps(requests.arrival_s)
    table.first_byte, table.num_bytes = requests.first_byte, requests.size_bytes
    table.group, table.kind = requests.group, requests.kind
    table.admitted, table.done, table.origin = -1, -1, -1
    return table


def _most_ops(device: FlashDevice, requests: Requests, inside: int) -> int:
    """Return how many page operations there can be at once: of the requests inside, and of collections."""
    g = device.geometry
    largest = -(-int(requests.size_bytes.max(initial=0)) // g.page_bytes) + 1
    collections = g.planes * max(device.translation.reserve_blocks, 1)
    return inside * largest + collections * (g.pages_per_block + 1)
