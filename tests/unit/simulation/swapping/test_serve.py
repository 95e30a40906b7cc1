"""Steps on the flash device: wear, lifetime and time by hand; what is copied and what is not; what is refused."""

from dataclasses import replace

import numpy as np
import pytest

from tmtrain.errors import InputError
from tmtrain.machine import load_machine
from tmtrain.simulation.flash import FlashDevice, Translation
from tmtrain.simulation.flash.example import example_device
from tmtrain.simulation.swapping import (
    Copies,
    Swaps,
    flash_device,
    join,
    joinable,
    make_workload,
    serve_steps,
)
from tmtrain.simulation.swapping.workload import AT_START

PAGE = 4096
MACHINE = load_machine("v4-slc")
GROUPED = Translation(layout="grouped", over_provisioning=0.25, reserve_blocks=0, collect_below_blocks=2)
# 1024 pages, 768 of them for the host: 8 planes of 16 blocks of 8 pages.
LOG_DEVICE = example_device()
DEVICE = example_device(translation=GROUPED)


def _swaps(
    chunks: list[tuple[float, bool, int]],
    *,
    addresses: list[tuple[int, int]],
    pages: int = 8,
    step_s: float = 1.0,
) -> Swaps:
    """Return a step of chunks (start, is it a write, copy) of so many pages each, a hundredth of a second long.

    Chunks of a copy follow one another from its flash address (first page, pages) on, in either direction.
    """
    done = {(copy, way): 0 for _, way, copy in chunks}
    first = []
    for _, way, copy in chunks:
        first.append((addresses[copy][0] + done[copy, way]) * PAGE)
        done[copy, way] += pages
    start = np.array([chunk[0] for chunk in chunks])
    writes, copy = (
        np.array([chunk[1] for chunk in chunks]),
        np.array([chunk[2] for chunk in chunks], np.int32),
    )
    return Swaps(
        step_s=step_s,
        start_s=start,
        end_s=start + 0.01 * step_s,
        is_write=writes,
        first_byte=np.array(first),
        bytes=np.full(len(chunks), pages * PAGE),
        copy=copy,
        copies=Copies(
            extent=np.arange(len(addresses), dtype=np.int32),
            first_byte=np.array([address[0] for address in addresses]) * PAGE,
            bytes=np.array([address[1] for address in addresses]) * PAGE,
            write_bytes=np.array([address[1] for address in addresses]) * PAGE,
            born_s=np.array([start[writes & (copy == i)].min() for i in range(len(addresses))]),
            dies_s=np.array(
                [start[~writes & (copy == i)].max() + 0.01 * step_s for i in range(len(addresses))]
            ),
            is_there_at_start=np.zeros(len(addresses), bool),
        ),
        space_bytes=max(sum(address) for address in addresses) * PAGE,
        peak_bytes=0,
        discards=True,
    )


def _one_copy() -> Swaps:
    """Write 512 pages in 64 chunks, fetch them: half of the device in each step."""
    writes = [(0.002 * i, True, 0) for i in range(64)]
    return _swaps(writes + [(0.5 + 0.002 * i, False, 0) for i in range(64)], addresses=[(0, 512)])


def _short_and_long_lived() -> Swaps:
    """Write copies of 320 pages by turns: one dies at once and is followed by another at its address, the other lasts."""
    turns = [(0.002 * i, True, i % 2) for i in range(80)]
    read = [(0.30 + 0.002 * i, False, 0) for i in range(40)]
    again = [(0.50 + 0.002 * i, True, 2) for i in range(40)] + [
        (0.70 + 0.002 * i, False, 2) for i in range(40)
    ]
    last = [(0.85 + 0.002 * i, False, 1) for i in range(40)]
    return _swaps(turns + read + again + last, addresses=[(0, 320), (320, 320), (0, 320)])


def test_cycles_lifetime_and_energy_by_hand() -> None:
    served = serve_steps(_one_copy(), machine=MACHINE, device=DEVICE, steps=10, joined_pages=1)
    # Half of all pages per step: half a cycle of every block, of which each has 1000.
    assert (served.outcome, served.steps_done, served.message) == ("done", 10, "10 steps done")
    assert served.wear.write_amplification == served.wear.whole_write_amplification == 1.0
    assert served.wear.cycles_per_step == 0.5
    assert served.wear.life_steps == 2000
    assert served.wear.life_years == pytest.approx(2000 / (365 * 86400))
    # 5120 pages are 640 blocks; all but those that hold the last step's, or wait to be used, were erased.
    assert 640 - 128 <= served.wear.erases <= 640 - 64
    assert served.wear.mean_erases == served.wear.erases / 128
    assert served.spread <= 1
    # Per step 512 pages of 1 and of 10 uJ; one watt all the time.
    assert served.energy_by_operation_j["read"] == pytest.approx(512e-6)
    assert served.energy_by_operation_j["program"] == pytest.approx(5120e-6)
    assert served.energy_by_operation_j["idle"] == pytest.approx(served.pace.device_s / 10)


def test_a_device_that_wears_out_says_after_how_many_steps() -> None:
    # Blocks survive one erase: 2 x 128 blocks of pages are four steps, and the first block of step 5 is erased for the
    # second time before step 4 ends.
    device = example_device(translation=GROUPED, cycles=1)
    served = serve_steps(_one_copy(), machine=MACHINE, device=device, steps=10, joined_pages=1)
    assert (served.outcome, served.steps_done, served.wear.most_erases) == ("worn out", 3, 1)
    assert served.message.startswith("worn out after 3 steps: worn out after 128 erases and")
    # Two erases: another 128 blocks, two more steps.
    device = example_device(translation=GROUPED, cycles=2)
    assert serve_steps(_one_copy(), machine=MACHINE, device=device, steps=10, joined_pages=1).steps_done == 5


def test_what_dies_apart_is_copied_in_the_log_and_not_by_groups() -> None:
    swaps = _short_and_long_lived()
    log = serve_steps(swaps, machine=MACHINE, device=LOG_DEVICE, steps=10, joined_pages=1)
    grouped = serve_steps(swaps, machine=MACHINE, device=DEVICE, steps=10, joined_pages=1)
    assert (log.outcome, grouped.outcome) == ("done", "done")
    assert (log.groups, grouped.groups) == (1, 2)
    assert log.wear.write_amplification > 1.1
    assert grouped.wear.whole_write_amplification == 1.0
    assert log.wear.life_steps < grouped.wear.life_steps


def test_there_are_no_more_groups_than_the_spare_area_allows() -> None:
    # Of 16 blocks on a plane, the data take 10; the 6 that are left, less 2, are two groups' worth. 15 % less: only one.
    swaps = _short_and_long_lived()
    assert serve_steps(swaps, machine=MACHINE, device=DEVICE, steps=1, joined_pages=1).groups == 2
    assert serve_steps(swaps, machine=MACHINE, device=DEVICE, steps=1, joined_pages=1, fill=1.0).groups == 1


def test_joined_pages_serve_whole_stripes_alike() -> None:
    # Chunks of 8 pages go to all 8 planes; four joined pages are two channels and two planes.
    one, four = (
        serve_steps(_one_copy(), machine=MACHINE, device=DEVICE, steps=8, joined_pages=pages)
        for pages in (1, 4)
    )
    assert (one.page_bytes, four.page_bytes, four.joined_pages) == (PAGE, 4 * PAGE, 4)
    assert four.wear == replace(one.wear, erases=one.wear.erases // 4)
    assert four.pace.device_s == pytest.approx(one.pace.device_s, rel=1e-3)
    assert four.energy_by_operation_j == pytest.approx(one.energy_by_operation_j, rel=1e-3)


def test_what_can_be_joined() -> None:
    # 2 channels, 2 planes of a die, blocks of 8 pages.
    assert joinable(DEVICE) == [1, 2, 4, 8, 16, 32]
    for pages in joinable(DEVICE):
        joined = join(DEVICE, pages=pages)
        assert joined.geometry.capacity_bytes == DEVICE.geometry.capacity_bytes
        assert joined.geometry.dies_per_channel == DEVICE.geometry.dies_per_channel
        assert joined.channels_bytes_per_s == DEVICE.channels_bytes_per_s
        assert _program_rate(joined) == pytest.approx(_program_rate(DEVICE))
    with pytest.raises(
        InputError, match="3 pages of example cannot be joined: take one of 1, 2, 4, 8, 16, 32"
    ):
        join(DEVICE, pages=3)


def _program_rate(device: FlashDevice) -> float:
    return device.geometry.planes * device.geometry.page_bytes / device.timing.program_s


def test_a_step_that_is_scaled_fills_the_device_as_told_at_the_same_rates() -> None:
    whole = serve_steps(_one_copy(), machine=MACHINE, device=DEVICE, steps=4, joined_pages=1)
    full = serve_steps(_one_copy(), machine=MACHINE, device=DEVICE, steps=4, joined_pages=1, fill=0.75)
    assert (whole.scale, whole.fill) == (1.0, 512 / 768)
    assert (full.scale, full.fill) == (1.125, 0.75)
    assert full.pace.asked_s == pytest.approx(1.125 * whole.pace.asked_s)
    assert full.pace.write_bytes_per_s == pytest.approx(whole.pace.write_bytes_per_s, rel=0.02)
    assert full.wear.cycles_per_step == 1.125 * 0.5


def test_pieces_of_pages_are_rounded_so_that_the_sum_stays() -> None:
    # 16 chunks of 8 pages, joined by 32: 4 of these, whichever chunk they come with.
    swaps = _swaps([(0.05 * i, i < 16, 0) for i in range(17)], addresses=[(0, 128)])
    joined = join(DEVICE, pages=32)
    work = make_workload(swaps, joined, steps=3, groups=np.zeros(1, np.int32))
    asked = work.requests
    for step in range(3):
        writes = (work.step == step) & (asked.kind == 1)
        assert asked.size_bytes[writes].sum() == 128 * PAGE
        assert (np.diff(asked.first_byte[writes]) > 0).all()
    assert (np.diff(asked.arrival_s) >= 0).all()
    assert not (work.step == AT_START).any()


def test_data_beyond_the_capacity_are_refused_before_anything_runs() -> None:
    swaps = replace(_one_copy(), space_bytes=769 * PAGE)
    with pytest.raises(
        InputError,
        match=r"beyond capacity: the step needs 3.00 MiB on flash, and example has 3.00 MiB for",
    ):
        serve_steps(swaps, machine=MACHINE, device=DEVICE)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(InputError, match="steps is 0: must be at least 1"):
        serve_steps(_one_copy(), machine=MACHINE, steps=0)
    with pytest.raises(InputError, match=r"fill is 1.5: must be above 0 and at most 1"):
        serve_steps(_one_copy(), machine=MACHINE, fill=1.5)
    with pytest.raises(InputError, match="machine v5p-hbf does not say what its flash consists of"):
        serve_steps(_one_copy(), machine=load_machine("v5p-hbf"))
    one = _one_copy()
    none = {
        name: getattr(one, name)[:0]
        for name in ("start_s", "end_s", "is_write", "first_byte", "bytes", "copy")
    }
    with pytest.raises(InputError, match="nothing goes to flash in this step"):
        serve_steps(replace(one, **none), machine=MACHINE)


def test_the_device_of_a_machine_is_that_of_its_file() -> None:
    device = flash_device(MACHINE, layout="grouped")
    assert (device.geometry.dies, device.geometry.pages_per_block, device.geometry.pages) == (
        128,
        384,
        499_384_320,
    )
    # 28 pJ/bit of 4 KiB; 4 pJ/bit of 1.5 MiB.
    assert device.energies.read_page_j == pytest.approx(28e-12 * 8 * 4096)
    assert device.energies.erase_block_j == pytest.approx(4e-12 * 8 * 1.5 * 2**20)
    assert device.translation.over_provisioning == 0.07
