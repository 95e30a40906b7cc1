"""The presets: complete, sourced, and in agreement with what is published about the machines they model."""

import dataclasses

import pytest

from tmtrain.machine import (
    DEFAULT_MACHINE,
    Machine,
    describe_machine,
    lifetime_s,
    list_machines,
    load_machine,
    matrix_seconds,
    memory_cost_usd,
    sram_bytes,
)

PRESETS = list_machines()
YEAR_S = 365 * 86400


def test_the_six_presets_are_there_and_the_default_comes_first() -> None:
    assert PRESETS[0] == DEFAULT_MACHINE == "v4-slc"
    assert set(PRESETS) == {"v4-slc", "znvme-g10", "v5p-hbf", "a100-tlc5", "g10-ssd", "g10-host"}


@pytest.mark.parametrize("name", PRESETS)
def test_every_number_of_a_preset_has_range_source_and_date(name: str) -> None:
    # What a preset may leave out: the sum of two others, how many stacks nobody publishes, a curve that few measured.
    derived = {"slow.shared_bandwidth", "fast.stacks", "fast.loss_per_decade", "fast.full"}
    constants = [c for c in describe_machine(name) if c.path not in derived or c.low is not None]
    for constant in constants:
        assert constant.low is not None, constant.path
        assert constant.high is not None, constant.path
        assert len(constant.source) > 5, constant.path
        assert constant.date[:2] == "20", constant.path


@pytest.mark.parametrize("name", PRESETS)
def test_the_constants_are_the_machine(name: str) -> None:
    machine = load_machine(name)
    sections = (machine.compute, machine.fast, machine.slow, machine.link, machine.paging, machine.device)
    parts = [part for part in sections if part is not None]
    held = [
        value
        for part in parts
        for value in dataclasses.asdict(part).values()
        if isinstance(value, int | float)
    ]
    held += [value for price in machine.prices.values() for value in dataclasses.asdict(price).values()]
    assert [c.value_si for c in describe_machine(name)] == pytest.approx(held)


def test_the_flash_of_v4_slc_consists_of_what_its_rates_were_derived_from() -> None:
    device, slow = load_machine("v4-slc").device, load_machine("v4-slc").slow
    assert device is not None
    # 16 channels of 2.4 GB/s at 90 %; 128 dies of 16 planes, a page of each in 75 us.
    assert slow.read_bandwidth_bytes_per_s == pytest.approx(16 * 2.4e9 * 0.9, rel=0.002)
    assert device.planes * device.page_bytes / device.array_program_s == pytest.approx(112e9, rel=0.002)
    # 2048 planes of 635 blocks of 1.5 MiB; one block more on each would pass 2.048 TB.
    assert device.raw_bytes == 2048 * 635 * 3 * 2**19 <= slow.capacity_bytes < 2048 * 636 * 3 * 2**19
    drive = load_machine("znvme-g10").device
    assert drive is not None
    assert drive.exported_bytes == pytest.approx(800e9, rel=1e-4)


@pytest.mark.parametrize("name", PRESETS)
def test_prices_default_to_2025q3(name: str) -> None:
    assert list(load_machine(name).prices) == ["2025Q3", "2026-08", "paper"]


def test_v4_slc_in_si_units() -> None:
    machine = load_machine("v4-slc")
    assert machine.name == "v4-slc"
    assert machine.compute.clock_hz == 1.05e9
    assert machine.compute.sram_bytes == 160 * 2**20
    assert machine.compute.matrix_energy_j_per_flop == pytest.approx(0.3e-12)
    assert machine.fast.capacity_bytes == 32 * 2**30
    assert machine.fast.latency_s == pytest.approx(500e-9)
    assert machine.fast.energy_j_per_byte == pytest.approx(46.4e-12)
    assert machine.fast.background_w_per_byte == pytest.approx(0.2e-9)
    assert machine.slow.capacity_bytes == 2_048_000_000_000
    assert machine.slow.page_bytes == 4096
    assert machine.slow.read_latency_s == pytest.approx(6e-6)
    assert machine.slow.read_energy_j_per_byte == pytest.approx(28 * 8e-12)
    assert machine.slow.program_energy_j_per_byte == pytest.approx(100 * 8e-12)
    assert machine.slow.erase_energy_j_per_byte == pytest.approx(4 * 8e-12)
    assert machine.paging.fault_latency_s == pytest.approx(45e-6)
    assert machine.paging.fault_batch_pages == 50
    assert machine.prices["2025Q3"].slow_usd_per_byte == pytest.approx(0.88e-9)
    assert machine.shared_bytes_per_s == machine.read_bytes_per_s == machine.write_bytes_per_s == 34.6e9


@pytest.mark.parametrize(
    ("name", "read", "write", "shared"),
    [
        ("znvme-g10", 3.2, 3.2, 6.4),
        ("v5p-hbf", 1600, 48, 1648),
        ("a100-tlc5", 50.4, 40, 90.4),
        ("g10-ssd", 3.2, 3.2, 6.4),
        ("g10-host", 15.754, 15.754, 31.508),
    ],
)
def test_directions_that_do_not_share_add_up(name: str, read: float, write: float, shared: float) -> None:
    machine = load_machine(name)
    rates = machine.read_bytes_per_s, machine.write_bytes_per_s, machine.shared_bytes_per_s
    assert rates == pytest.approx((read * 1e9, write * 1e9, shared * 1e9))


@pytest.mark.parametrize(
    ("name", "tflops"), [("v4-slc", 275), ("znvme-g10", 123), ("v5p-hbf", 459), ("a100-tlc5", 312)]
)
def test_peak_is_the_vendors(name: str, tflops: float) -> None:
    assert _peak_flops(load_machine(name)) == pytest.approx(tflops * 1e12, rel=2e-3)


def test_a100_draws_its_400_w_in_the_best_matrix_product() -> None:
    # 86.9 % of peak is the best that anybody reached (ml-engineering, "max achievable matmul").
    machine, size = load_machine("a100-tlc5"), 8192
    shape = {"batch": 1, "m": size, "n": size, "k": size}
    seconds = float(matrix_seconds(compute=machine.compute, **shape)) / 0.869
    joules = (
        2 * size**3 * machine.compute.matrix_energy_j_per_flop
        + float(sram_bytes(compute=machine.compute, **shape)) * machine.compute.sram_energy_j_per_byte
        + 3 * 2 * size**2 * machine.fast.energy_j_per_byte
    )
    assert _idle_w(machine) + joules / seconds == pytest.approx(400, rel=0.02)


@pytest.mark.parametrize(
    ("name", "low_w", "high_w"), [("v4-slc", 90, 192), ("znvme-g10", 123, 262)]
)  # measured by Google: documentation of TPU v4 and v3
def test_half_load_lies_in_the_measured_power_band(name: str, low_w: float, high_w: float) -> None:
    machine = load_machine(name)
    matrix_w = _peak_flops(machine) * machine.compute.matrix_energy_j_per_flop
    hbm_w = machine.fast.bandwidth_bytes_per_s * machine.fast.energy_j_per_byte
    assert low_w <= _idle_w(machine) + (matrix_w + hbm_w) / 2 <= high_w


@pytest.mark.parametrize("name", ["znvme-g10", "a100-tlc5", "g10-ssd"])
def test_endurance_gives_back_the_drives_rating(name: str) -> None:
    slow = load_machine(name).slow
    rated = {"znvme-g10": 42e15, "g10-ssd": 42e15, "a100-tlc5": 3 * 365 * 5 * 30.72e12}[name]
    assert lifetime_s(slow, written_bytes_per_s=1.0) == pytest.approx(rated, rel=1e-3)


def test_two_terabytes_of_slc_written_at_10_gb_per_s_last_eight_months() -> None:
    slow = dataclasses.replace(load_machine("v4-slc").slow, capacity_bytes=2 * 10**12)
    assert lifetime_s(slow, written_bytes_per_s=10e9) / YEAR_S == pytest.approx(0.62, abs=0.01)


def test_nothing_written_lasts_for_ever() -> None:
    assert lifetime_s(load_machine("v4-slc").slow, written_bytes_per_s=0) == float("inf")


@pytest.mark.parametrize(
    ("name", "price", "saving"),
    [("v4-slc", "paper", 0.871), ("a100-tlc5", None, 0.868), ("v4-slc", "2026-08", 0.603)],
)
def test_saving_at_one_eighth_of_fast_memory(name: str, price: str | None, saving: float) -> None:
    machine = load_machine(name)
    whole = memory_cost_usd(machine, fast_bytes=1e9, slow_bytes=0, price=price)
    tiered = memory_cost_usd(machine, fast_bytes=0.125e9, slow_bytes=0.875e9, price=price)
    assert 1 - tiered / whole == pytest.approx(saving, abs=5e-4)


def _peak_flops(machine: Machine) -> float:
    arrays = machine.compute
    return 2 * arrays.num_arrays * arrays.array_rows * arrays.array_columns * arrays.clock_hz


def _idle_w(machine: Machine) -> float:
    return machine.compute.static_power_w + machine.fast.background_w_per_byte * machine.fast.capacity_bytes
