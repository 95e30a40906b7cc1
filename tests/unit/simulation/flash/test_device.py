"""A flash device refuses what no device can be, and says which numbers are at odds."""

from dataclasses import replace

import numpy as np
import pytest

from tmtrain.errors import InputError
from tmtrain.simulation.flash import (
    Commands,
    Endurance,
    FlashDevice,
    HostLink,
    RequestKind,
    Requests,
    Timing,
    Translation,
    make_requests,
    simulate_flash,
)
from tmtrain.simulation.flash.example import example_device

DEVICE = example_device()
GEOMETRY = DEVICE.geometry


def test_the_parts_multiply() -> None:
    assert (GEOMETRY.dies, GEOMETRY.planes, GEOMETRY.pages_per_block, GEOMETRY.pages) == (4, 8, 8, 1024)
    assert (DEVICE.host_pages, DEVICE.host_bytes) == (768, 768 * 4096)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "block_bytes",
            8 * 4096 + 512,
            r"geometry.block_bytes is 33280, not a multiple of .*page_bytes, 4096",
        ),
        (
            "capacity_bytes",
            2**22 + 4096,
            r"geometry.capacity_bytes is 4198400, but 2 channels .* are 4194304",
        ),
        ("channels", 3, r"geometry.capacity_bytes is 4194304, but 3 channels .* are 6291456"),
        ("channels", 0, r"geometry.channels is 0: must be more than zero"),
        ("page_bytes", -4096, r"geometry.page_bytes is -4096: must be more than zero"),
    ],
)
def test_a_geometry_that_does_not_multiply_is_refused(field: str, value: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        replace(GEOMETRY, **{field: value})


def test_more_pages_than_can_be_numbered_are_refused() -> None:
    with pytest.raises(InputError, match=r"are 2199023255552 pages, more than the 2147483646"):
        replace(GEOMETRY, channels=2**32, capacity_bytes=2**21 * 2**32)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_rates_must_be_positive_and_finite(rate: float) -> None:
    with pytest.raises(InputError, match=r"timing.channel_bytes_per_s is .*: must be more than zero"):
        replace(DEVICE.timing, channel_bytes_per_s=rate)
    with pytest.raises(InputError, match=r"link.bytes_per_s is"):
        HostLink(bytes_per_s=rate)


def test_other_impossible_numbers_are_refused() -> None:
    with pytest.raises(InputError, match=r"timing.erase_s is 0"):
        Timing(read_s=1e-6, program_s=1e-6, erase_s=0, channel_bytes_per_s=1e9)
    with pytest.raises(InputError, match=r"commands.read_s is -1e-07: must be zero or more than zero"):
        Commands(read_s=-1e-7)
    with pytest.raises(InputError, match=r"endurance.cycles is 0"):
        Endurance(cycles=0)
    with pytest.raises(InputError, match=r"link.command_bytes is -1"):
        HostLink(bytes_per_s=1e9, command_bytes=-1)


def test_a_promise_that_the_channels_cannot_carry_is_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"rated_read_bytes_per_s is 3 GB/s, but the channels of example carry at most 0.8192",
    ):
        replace(DEVICE, rated_read_bytes_per_s=3e9)
    slow_link = HostLink(bytes_per_s=1e8)
    with pytest.raises(
        InputError, match=r"rated_write_bytes_per_s is 0.5 GB/s, but the link of example carry at most 0.1"
    ):
        replace(DEVICE, link=slow_link, rated_write_bytes_per_s=5e8)


def test_the_layer_needs_room_to_collect() -> None:
    with pytest.raises(InputError, match=r"reserve_blocks is 1: the log layout needs 2"):
        Translation(reserve_blocks=1)
    with pytest.raises(
        InputError, match=r"collect_below_blocks is 2, less than translation.reserve_blocks, 5"
    ):
        Translation(collect_below_blocks=2, reserve_blocks=5)
    with pytest.raises(InputError, match=r"over_provisioning is 1: a share"):
        Translation(over_provisioning=1)
    with pytest.raises(
        InputError, match=r"the host fills 15 and the table 0. That leaves 1, but the log layout needs 4"
    ):
        example_device(translation=Translation(over_provisioning=0.07))


def test_requests_that_make_no_sense_are_refused() -> None:
    writes = make_requests(RequestKind.WRITE, np.array([0, 512]), size_bytes=4096)
    with pytest.raises(
        InputError, match=r"request 1 has 4096: writes and discards must be whole pages of 4096 bytes"
    ):
        simulate_flash(DEVICE, writes)
    with pytest.raises(InputError, match=r"arrival_s: request 1 arrives before"):
        make_requests(RequestKind.READ, np.arange(2) * 4096, size_bytes=4096, arrival_s=np.array([1.0, 0.0]))
    with pytest.raises(InputError, match=r"size_bytes: request 0 has 0"):
        make_requests(RequestKind.READ, np.zeros(1, np.int64), size_bytes=0)
    with pytest.raises(InputError, match=r"the columns differ in length"):
        Requests(**{name: getattr(writes, name)[: 1 + (name == "kind")] for name in Requests.__slots__})
    with pytest.raises(InputError, match=r"queue_depth is 0"):
        simulate_flash(
            DEVICE, make_requests(RequestKind.WRITE, np.zeros(1, np.int64), size_bytes=4096), queue_depth=0
        )
    with pytest.raises(InputError, match=r"filled_bytes is 4194304, but example has 3145728"):
        simulate_flash(DEVICE, writes, filled_bytes=2**22)


def test_a_device_is_a_value() -> None:
    assert example_device() == DEVICE
    assert isinstance(hash(DEVICE), int)
    assert isinstance(DEVICE, FlashDevice)


def test_the_table_takes_room_from_any_layout() -> None:
    with pytest.raises(
        InputError,
        match=r"the host fills 16 and the table 1. That leaves -1, but the grouped layout needs 0",
    ):
        example_device(
            translation=Translation(layout="grouped", over_provisioning=0, reserve_blocks=0, table_blocks=1)
        )
    with pytest.raises(InputError, match=r"geometry.planes_per_die is 64, more than 62"):
        replace(GEOMETRY, planes_per_die=64)
