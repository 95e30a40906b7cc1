"""The closed forms: by hand on the example device, and beside the event-driven mode."""

import pytest

from tmtrain.simulation.flash import Translation, estimate_flash, flash_lifetime
from tmtrain.simulation.flash.example import example_device
from tmtrain.validation import drives, flash_estimates
from tmtrain.validation.mqsim import mqsim_device

PAGE = 4096
ESTIMATE = estimate_flash(example_device())


def test_bandwidths_by_hand() -> None:
    # A round of a channel: tR 10 us, then 2 dies x 2 planes x 10 us: 4 pages in 50 us, on 2 channels.
    assert ESTIMATE.read_bytes_per_s == pytest.approx(2 * 4 * PAGE / 50e-6)
    # A die takes 2 pages in 20 us and programs for 100 us; two take turns.
    assert ESTIMATE.write_bytes_per_s == pytest.approx(2 * 2 * 2 * PAGE / 120e-6)
    assert ESTIMATE.random_reads_per_s == pytest.approx(2 * 2 / 30e-6)
    assert ESTIMATE.read_latency_s == pytest.approx(21e-6)


def test_the_forms_of_the_reference_device() -> None:
    # Predicted and measured in MQSim, ns: a saturated MiB of writes, of reads, a random read per channel.
    eight, two = estimate_flash(mqsim_device("A8")), estimate_flash(mqsim_device("A2"))
    assert 2**20 / eight.write_bytes_per_s * 1e9 == pytest.approx(666_713, rel=1e-6)
    assert 2**20 / two.read_bytes_per_s * 1e9 == pytest.approx(1_252_416, rel=1e-6)
    assert 8 / eight.random_reads_per_s * 1e9 == pytest.approx(45_345.5, rel=1e-5)
    assert two.write_amplification == pytest.approx(2.298, rel=0.03)  # measured, last third of case 4


def test_what_is_grouped_by_death_is_not_amplified() -> None:
    grouped = Translation(layout="grouped", over_provisioning=0.0, reserve_blocks=0)
    assert estimate_flash(example_device(translation=grouped)).write_amplification == 1.0


def test_little_spare_area_amplifies_more() -> None:
    shares = (0.6, 0.5, 0.4, 0.3, 0.25)
    devices = [example_device(translation=Translation(over_provisioning=share)) for share in shares]
    amplifications = [estimate_flash(device).write_amplification for device in devices]
    assert amplifications == sorted(amplifications)
    assert amplifications[0] < 1.4 < 5 < amplifications[-1]


def test_lifetime_by_hand() -> None:
    device = example_device(cycles=1000)  # 4 MiB x 1000
    life = flash_lifetime(device, step_bytes=2**20, step_s=3600, write_amplification=2)
    assert (life.bytes_written, life.steps) == (2**21 * 1000, 2000)
    assert life.years == pytest.approx(2000 / 24 / 365)
    assert flash_lifetime(device, step_bytes=0, step_s=1).years == float("inf")


@pytest.mark.slow
def test_estimates_are_close_to_the_event_driven_mode() -> None:
    assert [row for row in flash_estimates.compare() if not row.holds] == []


@pytest.mark.slow
def test_drives_keep_their_promises_but_for_the_one_that_is_known() -> None:
    missed = [(row.case, row.quantity) for row in drives.compare() if not row.holds]
    assert missed == [("9550 7.68 TB", "sequential writes, GB/s")]
