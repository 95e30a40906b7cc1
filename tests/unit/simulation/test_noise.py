"""Disturbances: whom they strike, when, by how much, and that they come again."""

import numpy as np
import pytest
from tests.support.simulated import PAGE, pages_per_second
from tests.support.timelines import make_timeline

from tmtrain.simulation.noise import (
    Disturbance,
    Jitter,
    OneOff,
    RateDrift,
    SlowFlash,
    conditions_of,
    regime_of,
    scale_rates,
)
from tmtrain.simulation.steps import Conditions
from tmtrain.trace import Phase

MACHINE = pages_per_second(read=4, write=2)
TIMELINE = make_timeline(["a:r"] * 2000, pages={"a": 1}, fast_pages=1)


def _met(step: int, *disturbances: Disturbance, seed: int = 0) -> Conditions:
    return conditions_of(step, timeline=TIMELINE, machine=MACHINE, disturbances=disturbances, seed=seed)


def test_jitter_has_the_mean_and_the_spread_it_says() -> None:
    seconds = _met(3, Jitter(sigma=0.2)).duration_s
    assert seconds.mean() == pytest.approx(1, abs=0.02)
    assert np.log(seconds).std() == pytest.approx(0.2, abs=0.01)


def test_the_same_seed_gives_the_same_step_and_another_step_or_seed_another_one() -> None:
    first = _met(3, Jitter(sigma=0.2)).duration_s
    assert np.array_equal(first, _met(3, Jitter(sigma=0.2)).duration_s)
    assert not np.array_equal(first, _met(4, Jitter(sigma=0.2)).duration_s)
    assert not np.array_equal(first, _met(3, Jitter(sigma=0.2), seed=1).duration_s)


def test_a_one_off_lengthens_some_slices_of_one_step() -> None:
    one_off = OneOff(step=5, factor=4, share=0.25)
    assert _met(4, one_off).duration_s.tolist() == _met(6, one_off).duration_s.tolist() == [1.0] * 2000
    struck = _met(5, one_off).duration_s
    assert set(struck.tolist()) == {1.0, 4.0}
    assert (struck == 4).mean() == pytest.approx(0.25, abs=0.03)


def test_a_slow_flash_is_slow_from_its_first_to_its_last_step() -> None:
    slow = SlowFlash(factor=0.5, first_step=2, last_step=3)
    rates = [_met(step, slow).machine.read_bytes_per_s / PAGE for step in range(5)]
    assert rates == [4, 4, 2, 2, 4]
    assert _met(2, slow).machine.write_bytes_per_s == PAGE


def test_a_scaled_shared_channel_stays_shared() -> None:
    shared = scale_rates(pages_per_second(read=4, write=4, shared=4), 0.5)
    assert shared.shared_bytes_per_s == 2 * PAGE
    assert scale_rates(MACHINE, 0.5).shared_bytes_per_s == 3 * PAGE


def test_a_drift_lasts_and_may_strike_one_phase_only() -> None:
    drift = RateDrift(first_step=2, factor=1.3)
    assert [_met(step, drift).duration_s[0] for step in (1, 2, 99)] == [1.0, 1.3, 1.3]
    assert (_met(2, RateDrift(first_step=2, factor=1.3, phase=Phase.BACKWARD)).duration_s == 1).all()
    assert (_met(2, RateDrift(first_step=2, factor=1.3, phase=Phase.FORWARD)).duration_s == 1.3).all()


def test_a_regime_is_what_lasts() -> None:
    struck = (
        Jitter(sigma=0.3),
        OneOff(step=2, factor=9, share=1),
        RateDrift(first_step=1, factor=0.7),
        SlowFlash(factor=0.5, first_step=2, last_step=2),
    )
    regime = regime_of(2, timeline=TIMELINE, machine=MACHINE, disturbances=struck)
    assert regime.duration_s == pytest.approx(np.full(2000, 0.7))
    assert regime.machine == scale_rates(MACHINE, 0.5)
