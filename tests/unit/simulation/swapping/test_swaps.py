"""What a step asks of the flash: every byte has an address, is there when it is fetched, and dies after the last fetch."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.instances import middle_timeline
from tests.support.simulated import PAGE, decided, pages_per_second, simulated, step

from tmtrain.deciding import Knowledge
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine
from tmtrain.simulation import Result, simulate
from tmtrain.simulation.result import Traffic
from tmtrain.simulation.swapping import Swaps, death_groups, swaps_of

MACHINE = pages_per_second()
# Seconds:          0        1      2      3        4      5
TIMELINE = step(["a:new", "b:rw", "a:r", "a:new", "b:r", "a:r"], pages={"a": 4, "b": 2}, fast_pages=6)
A, B = 0, 1


def _result(rows: list[tuple[float, bool, int, int]]) -> Result:
    """Return a result of a step of six seconds with these chunks: start, is it a write, pages, extent; a second each."""
    base = simulated("lru", TIMELINE, MACHINE)
    start = np.array([row[0] for row in rows])
    ends = np.arange(1.0, 7.0)
    return replace(
        base,
        step_time_s=6.0,
        series=replace(base.series, start_s=ends - 1, end_s=ends),
        traffic=Traffic(
            start_s=start,
            end_s=start + 1,
            is_write=np.array([row[1] for row in rows]),
            bytes=np.array([row[2] for row in rows]) * PAGE,
            extent=np.array([row[3] for row in rows], np.int32),
        ),
    )


def test_places_copies_and_deaths_by_hand() -> None:
    # a is written (2 pages, then 1 more), fetched for slice 2; its second content is written once and fetched for slice 5.
    # b is written after slice 1 changed it, fetched for slice 4, and again for slice 1 of the next step.
    rows = [
        (0.0, False, 2, B),
        (1.0, True, 2, A),
        (1.5, True, 1, A),
        (1.9, False, 3, A),
        (2.0, True, 2, B),
        (3.0, False, 2, B),
        (4.0, True, 1, A),
        (4.5, False, 1, A),
    ]
    swaps = swaps_of(TIMELINE, _result(rows))
    assert (swaps.first_byte // PAGE).tolist() == [3, 0, 2, 0, 3, 3, 0, 0]
    assert swaps.space_bytes == 5 * PAGE
    copies = swaps.copies
    assert copies.extent.tolist() == [A, A, B]
    assert (copies.bytes // PAGE).tolist() == [3, 1, 2]
    assert copies.born_s.tolist() == [1.0, 4.0, 2.0]
    # b's content of slice 1 is fetched for the last time in the next step: 6 + 0 + 1.
    assert copies.dies_s.tolist() == [2.9, 5.5, 7.0]
    assert copies.is_there_at_start.tolist() == [False, False, True]
    # b lives but for the second from 1 to 2; a's three pages live from 1.0 to 2.9, beside b's from 2.0 on.
    assert swaps.peak_bytes == 5 * PAGE
    assert (swaps.read_bytes, swaps.write_bytes) == (8 * PAGE, 6 * PAGE)


def test_what_is_only_fetched_never_dies() -> None:
    swaps = swaps_of(TIMELINE, _result([(0.0, False, 2, B)]))
    assert np.isnan(swaps.copies.dies_s).tolist() == [True]
    assert swaps.copies.is_there_at_start.tolist() == [True]
    assert swaps.peak_bytes == 2 * PAGE


def test_a_chunk_belongs_to_the_content_that_was_final_when_it_began() -> None:
    # Slice 3 makes new content of a, which is final at 4: the write at 3.9 is still of the first, the one at 4.0 is not.
    swaps = swaps_of(TIMELINE, _result([(3.9, True, 1, A), (4.0, True, 1, A)]))
    assert swaps.copy.tolist() == [0, 1]


def test_groups_are_of_copies_that_die_one_after_another() -> None:
    rows = [
        (1.0, True, 2, A),
        (1.9, False, 2, A),
        (2.0, True, 2, B),
        (3.0, False, 2, B),
        (4.0, True, 2, A),
        (4.5, False, 2, A),
    ]
    copies = swaps_of(TIMELINE, _result(rows)).copies
    assert copies.dies_s.tolist() == [2.9, 5.5, 4.0]
    assert death_groups(copies, most=8, least_bytes=2 * PAGE).tolist() == [1, 3, 2]
    assert death_groups(copies, most=1, least_bytes=0).tolist() == [1, 1, 1]
    assert death_groups(copies, most=8, least_bytes=100 * PAGE).tolist() == [1, 1, 1]


class _Flash:
    """Flash addresses, byte by byte of a page, with the number of the copy that lies there."""

    def __init__(self) -> None:
        self.at: dict[int, int] = {}

    def write(self, first: int, size: int, copy: int) -> None:
        self.at |= dict.fromkeys(range(first, first + size, PAGE), copy)

    def read(self, first: int, size: int, copy: int) -> None:
        assert {self.at.get(byte) for byte in range(first, first + size, PAGE)} == {copy}

    def discard(self, first: int, size: int, copy: int) -> None:
        for byte in range(first, first + size, PAGE):
            if self.at.get(byte) == copy:
                del self.at[byte]


def _recomputation(swaps: Swaps, steps: int) -> int:
    """Run steps on a flash of addresses, in which a fetch must find its own copy; return the most pages that were there."""
    flash, copies, most = _Flash(), swaps.copies, 0
    for copy in np.flatnonzero(copies.is_there_at_start).tolist():
        flash.write(int(copies.first_byte[copy]), int(copies.bytes[copy]), copy)
    events = [
        (time, order, row)
        for order, times in ((1, swaps.start_s), (0, copies.dies_s % swaps.step_s))
        for row, time in enumerate(times.tolist())
        if not np.isnan(time)
    ]
    for _ in range(steps):
        for _, is_chunk, row in sorted(events):
            if is_chunk:
                does = flash.write if swaps.is_write[row] else flash.read
                does(int(swaps.first_byte[row]), int(swaps.bytes[row]), int(swaps.copy[row]))
            else:
                flash.discard(int(copies.first_byte[row]), int(copies.bytes[row]), row)
            most = max(most, len(flash.at))
    return most


def _swaps(policy: str, timeline: Timeline, machine: Machine) -> Swaps:
    decision = decided(policy, timeline, machine)
    result = simulate(decision, machine=machine, policy=policy)
    return swaps_of(decision.timeline, result, discards=decision.knowledge is not Knowledge.NEVER)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("policy", ["tmtrain-move", "largest-first", "lru"])
def test_every_fetch_finds_what_was_written_for_it(policy: str, seed: int) -> None:
    timeline = middle_timeline(seed)
    timeline = replace(timeline, page_bytes=PAGE, fast_bytes=timeline.fast_pages * PAGE)
    swaps = _swaps(policy, timeline, pages_per_second(read=50.0, write=40.0))
    assert len(swaps) > 50
    assert _recomputation(swaps, steps=3) * PAGE <= swaps.space_bytes
