"""The link by itself: rates, sharing, latency, faults, order, room. One page is a byte rate of one page per second."""

import pytest
from tests.support.simulated import PAGE, pages_per_second
from tests.support.timelines import make_timeline

from tmtrain.machine import Machine
from tmtrain.simulation.link import LinkQueues
from tmtrain.simulation.memory import Memory

FAR = 99
"""A deadline that nothing else has."""


def _link(
    machine: Machine, *, fast_pages: int = 20, chunk_pages: int = 1, faults: bool = False
) -> LinkQueues:
    """A link to 8 pages each of a, on flash, b, on flash, and d, dirty in fast memory."""
    timeline = make_timeline(["a:r b:r d:new"], pages={"a": 8, "b": 8, "d": 8}, fast_pages=fast_pages)
    memory = Memory(timeline)
    memory.grow(2)
    memory.overwrite(2)
    return LinkQueues(machine, memory=memory, page_bytes=PAGE, chunk_pages=chunk_pages, faults=faults)


def _memory(link: LinkQueues) -> Memory:
    return link._memory


def _fetch(link: LinkQueues, extent: int, pages: int, *, deadline: int = FAR) -> None:
    link.fetch(extent, pages, deadline=deadline)


def _write(link: LinkQueues, pages: int) -> None:
    link.write(2, _memory(link).clean_up_to(2, pages), deadline=FAR)


def _run(link: LinkQueues) -> list[tuple[str, int, float, float]]:
    """Let everything arrive; return (direction, pages, start, end) of every stretch."""
    while link.step():
        pass
    log = link.log
    rows = zip(log.is_write, log.pages, log.start_s, log.end_s, strict=True)
    return [("w" if out else "r", pages, round(a, 9), round(b, 9)) for out, pages, a, b in rows]


def test_one_direction_alone_has_its_own_rate() -> None:
    link = _link(pages_per_second(read=2, write=0.5, shared=2))
    _fetch(link, 0, 2)
    assert _run(link) == [("r", 1, 0, 0.5), ("r", 1, 0.5, 1)]
    link = _link(pages_per_second(read=2, write=0.5, shared=2))
    _write(link, 2)
    assert _run(link) == [("w", 1, 0, 2), ("w", 1, 2, 4)]


def test_separate_channels_do_not_slow_each_other() -> None:
    link = _link(pages_per_second(read=2, write=0.5))
    _fetch(link, 0, 2)
    _write(link, 1)
    assert _run(link) == [("r", 1, 0, 0.5), ("r", 1, 0.5, 1), ("w", 1, 0, 2)]


def test_on_a_shared_channel_each_direction_gets_half() -> None:
    link = _link(pages_per_second(shared=1))
    _fetch(link, 0, 1)
    _write(link, 1)
    assert _run(link) == [("r", 1, 0, 2), ("w", 1, 0, 2)]


def test_what_is_left_over_speeds_up_when_the_other_ends() -> None:
    # Half rate until the read ends after 2 s, with 1 of 2 pages written; the other page at full rate.
    link = _link(pages_per_second(shared=1), chunk_pages=2)
    _fetch(link, 0, 1)
    _write(link, 2)
    assert _run(link) == [("r", 1, 0, 2), ("w", 2, 0, 3)]


@pytest.mark.parametrize(
    ("read", "write", "shared", "read_rate", "write_rate"),
    [
        pytest.param(3, 1, 3, 2, 1, id="slow writes take what they can, reads the rest"),
        pytest.param(1, 3, 3, 1, 2, id="slow reads likewise"),
        pytest.param(4, 3, 4, 2, 2, id="both could take more than half: half each"),
        pytest.param(4, 3, 6, 3, 3, id="the sum is not quite reached"),
        pytest.param(2, 1, 3, 2, 1, id="nothing to share"),
    ],
)
def test_what_one_direction_cannot_use_goes_to_the_other(
    read: float, write: float, shared: float, read_rate: float, write_rate: float
) -> None:
    link = _link(pages_per_second(read=read, write=write, shared=shared), chunk_pages=8)
    _fetch(link, 0, 8)
    _write(link, 8)
    link.advance(1.0)
    assert link._reads.left_bytes == pytest.approx((8 - read_rate) * PAGE)
    assert link._writes.left_bytes == pytest.approx((8 - write_rate) * PAGE)


def test_the_latency_is_paid_once_while_the_lane_is_busy() -> None:
    link = _link(pages_per_second(read_latency_s=0.25))
    _fetch(link, 0, 2)
    assert _run(link) == [("r", 1, 0, 1.25), ("r", 1, 1.25, 2.25)]
    link.advance(1.0)  # the lane falls idle
    _fetch(link, 1, 1)
    assert _run(link)[-1] == ("r", 1, 3.25, 4.5)


def test_reads_and_writes_have_latencies_of_their_own() -> None:
    link = _link(pages_per_second(read_latency_s=0.25, write_latency_s=0.5))
    _fetch(link, 0, 1)
    _write(link, 1)
    assert _run(link) == [("r", 1, 0, 1.25), ("w", 1, 0, 1.5)]


def test_a_lane_that_waits_for_the_device_leaves_the_channel_to_the_other() -> None:
    # The write starts to flow after 1 s; until then the read has the whole channel, and is done.
    link = _link(pages_per_second(shared=1, write_latency_s=1))
    _fetch(link, 0, 1)
    _write(link, 1)
    assert _run(link) == [("r", 1, 0, 1), ("w", 1, 0, 2)]


@pytest.mark.parametrize(("pages", "batch", "faults"), [(3, 2, 2), (4, 2, 2), (1, 2, 1), (5, 50, 1)])
def test_faults_cost_their_handler_by_the_batch(pages: int, batch: int, faults: int) -> None:
    machine = pages_per_second(fault_latency_s=10, fault_batch_pages=batch)
    link = _link(machine, chunk_pages=8, faults=True)
    _fetch(link, 0, pages)
    assert _run(link) == [("r", pages, 0, 10 * faults + pages)]
    # Writes are no faults, and without paging nothing is.
    _write(link, 1)
    assert _run(link)[-1][3] - _run(link)[-1][2] == 1
    link = _link(machine, chunk_pages=8)
    _fetch(link, 0, pages)
    assert _run(link) == [("r", pages, 0, pages)]


def test_the_earliest_deadline_goes_first_after_the_chunk_under_way() -> None:
    link = _link(pages_per_second())
    _fetch(link, 0, 3, deadline=9)
    link.advance(0.5)
    _fetch(link, 1, 2, deadline=2)
    _run(link)
    assert link.log.extent == [0, 1, 1, 0, 0]
    assert link.log.end_s == [1, 2, 3, 4, 5]


def test_equal_deadlines_keep_their_order() -> None:
    link = _link(pages_per_second())
    for extent in (1, 0):
        _fetch(link, extent, 2)
    _run(link)
    assert link.log.extent == [1, 1, 0, 0]


def test_a_read_waits_until_its_chunk_has_room() -> None:
    link = _link(pages_per_second(), fast_pages=9, chunk_pages=2)  # d holds 8 of 9 pages
    _fetch(link, 0, 2)
    assert not link.step()
    assert _memory(link).reserved == 0
    _memory(link).free_content(2)
    assert _run(link) == [("r", 2, 0, 2)]


def test_room_is_reserved_while_the_bytes_are_under_way() -> None:
    link = _link(pages_per_second(), chunk_pages=2)
    _fetch(link, 0, 4)
    link.advance(1.0)
    memory = _memory(link)
    assert (memory.free, memory.reserved, memory.held[0]) == (10, 2, 0)
    link.advance(2.0)
    assert (memory.free, memory.reserved, memory.held[0]) == (8, 2, 2)


def test_content_that_changed_is_not_written_any_more() -> None:
    link = _link(pages_per_second())
    _write(link, 3)
    link.advance(0.5)
    _memory(link).overwrite(2)
    assert _run(link) == [("w", 1, 0, 1)]  # the page that was under way; it makes nothing clean
    assert (_memory(link).clean[2], _memory(link).books.written) == (0, 1)


def test_time_passes_without_traffic() -> None:
    link = _link(pages_per_second())
    link.advance(3.0)
    assert (link.now_s, link.step(), link.log.end_s) == (3.0, False, [])


def test_what_ends_with_the_slice_has_ended() -> None:
    # A third of a second, three times, is not quite one on the clock.
    link = _link(pages_per_second(read=3))
    _fetch(link, 0, 3)
    for _ in range(10):
        link.advance(0.1)
    assert _memory(link).held[0] == 3


def test_a_link_faster_than_the_clock_can_tell_still_ends() -> None:
    # After a day the clock ticks in 1e-11 s: at 1e18 B/s a tick is far more than a page.
    link = _link(pages_per_second(read=1e18 / PAGE))
    link.advance(86400.0)
    _fetch(link, 0, 8)
    link.advance(1.0)
    assert _memory(link).held[0] == 8


def test_a_prefetch_under_way_is_as_urgent_as_the_read_behind_it() -> None:
    link = _link(pages_per_second(read=1, write=1, shared=1), chunk_pages=2)
    link.fetch(0, 2, deadline=50)
    link.write(2, _memory(link).clean_up_to(2, 2), deadline=10)
    link.advance(0.0)
    link.fetch(1, 2, deadline=5)
    assert _run(link) == [("r", 2, 0, 2), ("r", 2, 2, 4), ("w", 2, 0, 6)]


def test_but_without_room_it_is_not() -> None:
    link = _link(pages_per_second(read=1, write=1, shared=1), chunk_pages=2, fast_pages=11)
    link.fetch(0, 2, deadline=50)
    link.write(2, _memory(link).clean_up_to(2, 2), deadline=10)
    link.advance(0.0)
    link.fetch(1, 2, deadline=5)  # 8 pages of d and 2 under way: room for 1
    link.advance(2.0)
    assert list(link.log.is_write) == [True]


def test_a_write_under_way_is_no_more_urgent_than_it_says() -> None:
    link = _link(pages_per_second(read=1, write=1, shared=1), chunk_pages=2)
    memory = _memory(link)
    link.write(2, memory.clean_up_to(2, 2), deadline=50)
    link.fetch(0, 2, deadline=10)
    link.advance(0.0)
    link.write(2, memory.clean_up_to(2, 4), deadline=5)
    assert _run(link) == [("r", 2, 0, 2), ("w", 2, 0, 4), ("w", 2, 4, 6)]
