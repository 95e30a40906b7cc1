"""Sensitivity sweeps: one number of a machine changed, everything else as it was."""

import dataclasses

import pytest

from tmtrain.errors import MachineError
from tmtrain.machine import describe_machine, list_machines, load_machine, value_of, with_constant


@pytest.mark.parametrize("name", list_machines())
def test_every_constant_can_be_swept_over_its_range(name: str) -> None:
    machine = load_machine(name)
    for constant in describe_machine(name):
        for value in (constant.low_si, constant.value_si, constant.high_si):
            if value is not None:
                changed = with_constant(machine, path=constant.path, value=value)
                assert value_of(changed, path=constant.path) == pytest.approx(value)


def test_only_that_number_changes() -> None:
    machine = load_machine("v4-slc")
    changed = with_constant(machine, path="slow.program_energy", value=1e-9)
    assert changed.slow.program_energy_j_per_byte == 1e-9
    assert changed == dataclasses.replace(
        machine, slow=dataclasses.replace(machine.slow, program_energy_j_per_byte=1e-9)
    )
    assert machine == load_machine("v4-slc")


def test_a_price_changes_at_its_date() -> None:
    changed = with_constant(load_machine("v4-slc"), path="prices.2026-08.fast", value=1e-8)
    assert changed.prices["2026-08"].fast_usd_per_byte == 1e-8
    assert list(changed.prices) == ["2025Q3", "2026-08", "paper"]


@pytest.mark.parametrize(("path", "value"), [("slow.read_bandwidth", 100e9), ("slow.write_bandwidth", 3e9)])
def test_a_shared_bus_stays_shared_and_separate_ones_separate(path: str, value: float) -> None:
    shared = with_constant(load_machine("v4-slc"), path=path, value=value).slow
    assert shared.shared_bandwidth_bytes_per_s == max(
        shared.read_bandwidth_bytes_per_s, shared.write_bandwidth_bytes_per_s
    )
    apart = with_constant(load_machine("v5p-hbf"), path=path, value=value).slow
    assert apart.shared_bandwidth_bytes_per_s == pytest.approx(
        apart.read_bandwidth_bytes_per_s + apart.write_bandwidth_bytes_per_s
    )


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("slow.program_energi", 1e-9, "no number 'slow.program_energi', did you mean 'slow.program_energy'"),
        ("prices.2024.fast", 1e-9, "no number 'prices.2024.fast'"),
        ("slow.read_bandwidth", -1.0, "slow.read_bandwidth is -1 B/s: it must be"),
        ("fast.efficiency", float("nan"), "fast.efficiency is nan: it must be"),
        ("compute.num_arrays", 2.5, "must be a whole number"),
        ("slow.shared_bandwidth", 1e9, "slow.shared_bandwidth is 1 GB/s, but reads alone"),
    ],
)
def test_what_makes_no_sense_is_refused(path: str, value: float, said: str) -> None:
    with pytest.raises(MachineError, match=said):
        with_constant(load_machine("v4-slc"), path=path, value=value)


def test_flash_of_another_rate_or_capacity_consists_of_parts_that_nobody_knows() -> None:
    machine = load_machine("v4-slc")
    assert with_constant(machine, path="slow.read_bandwidth", value=64e9).device is None
    assert with_constant(machine, path="slow.capacity", value=2**40).device is None
    slower = with_constant(machine, path="slow.device.array_erase", value=5e-3)
    assert slower.device is not None
    assert (slower.device.array_erase_s, slower.fingerprint) == (5e-3, machine.fingerprint)
    with pytest.raises(
        MachineError, match=r"slow.read_bandwidth is 34.6 GB/s, but the channels carry at most 16"
    ):
        with_constant(machine, path="slow.device.channel_bandwidth", value=1e9)
