"""Small runs of a flash device, worked out by hand: see `example_device` for its round numbers."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tmtrain.simulation.flash import (
    Commands,
    FlashDevice,
    FlashOutcome,
    HostLink,
    RequestKind,
    Requests,
    Translation,
    concatenate,
    make_requests,
    simulate_flash,
)
from tmtrain.simulation.flash.example import example_device

PAGE = 4096
DEVICE = example_device()
READ, WRITE, DISCARD = RequestKind
GROUPED = example_device(
    translation=Translation(layout="grouped", over_provisioning=0.0, reserve_blocks=0, collect_below_blocks=2)
)


def _pages(
    kind: RequestKind, *pages: int, at_us: float = 0, num_pages: int = 1, group: int | NDArray[np.int32] = 0
) -> Requests:
    first = np.array(pages, np.int64) * PAGE
    return make_requests(kind, first, size_bytes=num_pages * PAGE, arrival_s=at_us * 1e-6, group=group)


def _us(
    device: FlashDevice, requests: Requests, *, queue_depth: int = 32, filled_pages: int = 768
) -> list[float]:
    """Return when each request ended."""
    result = simulate_flash(device, requests, queue_depth=queue_depth, filled_bytes=filled_pages * PAGE)
    assert result.outcome is FlashOutcome.DONE, result.message
    return np.round(result.completed_s * 1e6, 3).tolist()


def test_one_read() -> None:
    # tR 10, channel 10, link 1.
    assert _us(DEVICE, _pages(READ, 0)) == [21]


def test_part_of_a_page_crosses_the_channel_alone() -> None:
    part = make_requests(READ, np.array([PAGE + 1024]), size_bytes=1024)
    assert _us(DEVICE, part) == [10 + 2.5 + 0.25]


def test_one_write() -> None:
    # Data over the link 1, channel 10, tPROG 100.
    assert _us(DEVICE, _pages(WRITE, 0), filled_pages=0) == [111]


def test_commands_take_the_channel() -> None:
    commands = Commands(read_s=2e-6, read_further_s=1e-6, program_s=3e-6, program_further_s=1e-6)
    device = replace(DEVICE, timing=replace(DEVICE.timing, commands=commands))
    assert _us(device, _pages(READ, 0)) == [23]
    assert _us(device, _pages(WRITE, 0), filled_pages=0) == [114]
    # Pages 0 and 4 are on the two planes of one die. The data of 4 come too late to join; of one request they go together.
    assert _us(device, _pages(WRITE, 0, 4), filled_pages=0) == [114, 114 + 113]
    assert _us(device, _pages(READ, 0, num_pages=8)) == [3 + 10 + 2 * 20 + 8]


def test_pages_go_to_channels_then_dies_then_planes() -> None:
    # 0 and 1: two channels; 0 and 2: two dies of a channel; 0 and 4: two planes of a die; 0 and 8: one plane.
    assert _us(DEVICE, _pages(READ, 0, 1)) == [21, 22]  # the link is shared
    assert _us(DEVICE, _pages(READ, 0, 2)) == [21, 31]  # the channel is shared
    assert _us(DEVICE, _pages(READ, 0, 8)) == [21, 41]  # another page of the plane: a command of its own
    together = simulate_flash(DEVICE, _pages(READ, 0, 4, 0), filled_bytes=16 * PAGE)
    assert together.operations.read_commands == (
        1,
        1,
    )  # the first went out at once, the others found each other


def test_planes_join_where_their_offsets_agree() -> None:
    # While die 0 is busy with page 8 (offset 1), pages 0 and 4 (offset 0) and page 12 (offset 1) queue up.
    result = simulate_flash(DEVICE, _pages(READ, 8, 0, 4, 12), filled_bytes=16 * PAGE)
    assert result.operations.read_commands == (2, 1)


def test_reads_go_before_writes_and_data_out_before_commands() -> None:
    # Die 0 is busy with a write; a write and a read for it wait: the read is first.
    requests = concatenate(_pages(WRITE, 0), _pages(WRITE, 8), _pages(READ, 16, at_us=50))
    assert _us(DEVICE, requests, filled_pages=24) == [111, 111 + 20 + 110, 111 + 20 + 1]


def test_the_queue_depth_admits_in_order() -> None:
    reads = _pages(READ, 0, 1, 2, 3)
    assert _us(DEVICE, reads, queue_depth=1) == [
        21,
        42,
        63,
        84,
    ]  # the next command is fetched behind the data
    result = simulate_flash(DEVICE, reads, queue_depth=2, filled_bytes=8 * PAGE)
    assert np.round(result.queueing_s * 1e6, 3).tolist() == [0, 0, 20, 20]


def test_the_link_has_a_protocol() -> None:
    # A packet of 128 bytes carries 28 more; 1 ns a byte.
    link = HostLink(
        bytes_per_s=1e9,
        packet_bytes=128,
        packet_overhead_bytes=28,
        doorbell_bytes=4,
        fetch_bytes=4,
        command_bytes=72,
        completion_bytes=16,
    )
    device = replace(DEVICE, link=link)
    ns = 32 + 32 + 100 + 20_000 + 32 * 156 + 44
    assert _us(device, _pages(READ, 0)) == [pytest.approx(ns / 1000)]
    ns = 32 + 32 + 100 + 32 + 32 * 156 + 110_000 + 44
    assert _us(device, _pages(WRITE, 0), filled_pages=0) == [pytest.approx(ns / 1000)]


def test_energy_is_counted_by_operation() -> None:
    result = simulate_flash(DEVICE, concatenate(_pages(WRITE, 0), _pages(READ, 1, 2)), filled_bytes=8 * PAGE)
    assert result.energy_by_operation_j == pytest.approx(
        {"read": 2e-6, "program": 10e-6, "erase": 0.0, "idle": result.end_s * 1.0}
    )


def test_the_emptiest_block_is_erased() -> None:
    # 8 pages fill a block of the first plane, then 7 of them are written 40 times: page 7 keeps its block from being
    # chosen, as there is always one without any valid page. 36 blocks fill in all; from the 12th on fewer than 3 of the 16
    # are free (2 more are open), and each costs an erase.
    one_plane = np.tile(np.arange(7) * 8 * PAGE, 40)
    result = simulate_flash(
        DEVICE, make_requests(WRITE, one_plane, size_bytes=PAGE), queue_depth=1, filled_bytes=64 * PAGE
    )
    assert result.outcome is FlashOutcome.DONE
    assert (result.operations.copy_programs, result.operations.erases) == (0, 36 - 11)
    assert (
        result.erase_counts[:16].tolist() == [0, 0] + [2] * 11 + [1] * 3
    )  # block 0 has page 7, 1 waits for copies


def test_overwriting_all_blocks_in_order_copies_nothing() -> None:
    sequential = np.tile(np.arange(0, 768, 64) * PAGE, 5)
    result = simulate_flash(DEVICE, make_requests(WRITE, sequential, size_bytes=64 * PAGE))
    assert (result.outcome, result.write_amplification) == (FlashOutcome.DONE, 1.0)
    assert result.operations.erases > 0


def _random_overwrites(n: int) -> Requests:
    pages = np.random.default_rng(1).integers(0, 768, n)
    return make_requests(WRITE, pages * PAGE, size_bytes=PAGE)


def test_a_worn_out_device_says_so() -> None:
    device = example_device(cycles=3)
    result = simulate_flash(device, _random_overwrites(20_000), filled_bytes=768 * PAGE)
    assert result.outcome is FlashOutcome.WORN_OUT
    assert result.message.startswith(f"worn out after {result.operations.erases} erases and ")
    assert "erased 3 times, and survives 3" in result.message
    assert result.erase_counts.max() == 3
    done = ~np.isnan(result.completed_s)
    assert 0 < done.sum() < 20_000
    durable = replace(device, endurance=replace(device.endurance, retention_factor=2))
    longer_run = simulate_flash(durable, _random_overwrites(20_000), filled_bytes=768 * PAGE)
    assert longer_run.operations.host_programs > 1.5 * result.operations.host_programs


def test_a_request_beyond_the_capacity_ends_the_run() -> None:
    result = simulate_flash(DEVICE, _pages(WRITE, 0, 767, 768))
    assert result.outcome is FlashOutcome.BEYOND_CAPACITY
    assert "request 2 ends at byte 3149824, example has 3145728" in result.message


def test_reading_what_nobody_wrote_ends_the_run() -> None:
    result = simulate_flash(DEVICE, concatenate(_pages(WRITE, 0), _pages(READ, 1)))
    assert result.outcome is FlashOutcome.NEVER_WRITTEN
    assert "request 1 reads from byte 4096" in result.message


def _steps(steps: int, discard: bool) -> Requests:
    """Three tensors of 256, 128 and 64 pages, written, read and dead again, each in its turn of a step."""
    parts: list[Requests] = []
    for k in range(steps):
        for first, pages, group, late in ((0, 256, 0, 0), (256, 128, 1, 10), (384, 64, 2, 20)):
            at = (3 * k + late / 10) * 1e5
            each = np.arange(first, first + pages, 8)
            parts += [_pages(WRITE, *each.tolist(), at_us=at, num_pages=8, group=group)]
            parts += [_pages(READ, *each.tolist(), at_us=at + 5e4, num_pages=8, group=group)]
            if discard:
                parts += [_pages(DISCARD, first, at_us=at + 9e4, num_pages=pages, group=group)]
    return concatenate(*parts)


@pytest.mark.parametrize("discard", [True, False])
def test_blocks_of_groups_that_die_are_erased_without_copies(discard: bool) -> None:
    result = simulate_flash(GROUPED, _steps(30, discard))
    assert result.outcome is FlashOutcome.DONE, result.message
    assert result.write_amplification == 1.0
    assert result.operations.copy_reads == 0
    assert result.operations.erases > 3 * 128 // 2


def test_a_group_that_never_dies_fills_the_device() -> None:
    # Pages of both groups die at random: no block ever dies as a whole.
    pages = np.random.default_rng(2).integers(0, 900, 6000)
    requests = make_requests(WRITE, pages * PAGE, size_bytes=PAGE, group=(pages % 2).astype(np.int32))
    result = simulate_flash(GROUPED, requests)
    assert result.outcome is FlashOutcome.FULL
    assert result.message.startswith("full: writes wait for a free block")


def test_a_run_repeats_exactly() -> None:
    one, two = (simulate_flash(DEVICE, _random_overwrites(3000), filled_bytes=768 * PAGE) for _ in range(2))
    assert np.array_equal(one.completed_s, two.completed_s, equal_nan=True)
    assert one.operations == two.operations


def test_latency_and_bandwidth_are_of_a_kind_and_of_rows() -> None:
    requests = concatenate(_pages(READ, 0, 1), _pages(WRITE, 2, at_us=1000))
    result = simulate_flash(DEVICE, requests, filled_bytes=8 * PAGE)
    reads = result.latency(READ)
    assert (reads.min_s, reads.p50_s, reads.p99_s, reads.max_s) == pytest.approx((21e-6, 21e-6, 22e-6, 22e-6))
    assert result.bandwidth_bytes_per_s(READ, slice(0, 2)) == pytest.approx(2 * PAGE / 22e-6)
    assert result.bandwidth_bytes_per_s(WRITE, slice(0, 2)) == 0
    with pytest.raises(ValueError, match="no write was completed"):
        result.latency(WRITE, slice(0, 2))
