"""What the memory of a step costs: numbers that a person can check with a pencil."""

from dataclasses import replace

import pytest

from tmtrain.errors import InputError
from tmtrain.evaluation.cost import LIFE_S, MemoryUse, cost_of
from tmtrain.evaluation.row import Cost
from tmtrain.machine import lifetime_s, load_machine, wear_usd

GB = 10**9
MACHINE = load_machine(
    "v4-slc"
)  # 2025Q3: HBM 15 and SLC 0.88 USD/GB; 100,000 cycles, write amplification 1.02
WHOLE = MemoryUse(fast_bytes=32 * GB, flash_bytes=0, step_time_s=1.0)
TIERED = MemoryUse(fast_bytes=4 * GB, flash_bytes=32 * GB, step_time_s=2.0, written_bytes=GB // 100)


def cost(use: MemoryUse, *, price: str = "2025Q3", life_s: float = LIFE_S) -> Cost:
    return cost_of(use, all_fast=WHOLE, machine=MACHINE, price=price, life_s=life_s)


def test_memory_is_bought_at_the_price_of_the_date() -> None:
    assert (cost(TIERED).fast_usd, cost(TIERED).flash_usd) == pytest.approx((4 * 15, 32 * 0.88))
    assert cost(TIERED, price="paper").usd == pytest.approx(4 * 20 + 32 * 0.10)
    assert cost(WHOLE).usd == pytest.approx(32 * 15)
    assert 1e9 * cost(TIERED).fast_usd_per_byte == pytest.approx(15)


def test_a_step_takes_its_share_of_five_years() -> None:
    assert LIFE_S == 157_680_000
    tiered = cost(TIERED)
    assert tiered.life_years == 5
    assert tiered.fast_usd_per_step == pytest.approx(60 * 2 / 157_680_000)
    assert tiered.flash_usd_per_step == pytest.approx(28.16 * 2 / 157_680_000)
    assert cost(TIERED, life_s=LIFE_S / 5).fast_usd_per_step == pytest.approx(5 * tiered.fast_usd_per_step)


def test_flash_that_wears_out_sooner_is_replaced() -> None:
    """10 GB per step of 2 s: 10.2 GB of 32 GB x 100,000, so the flash of 28.16 USD lasts 313,725 steps, a week."""
    busy = replace(TIERED, written_bytes=10 * GB)
    worn = cost(busy)
    assert worn.wear_usd_per_step == pytest.approx(28.16 / 313_725.49, rel=1e-8)
    assert worn.flash_usd_per_step == worn.wear_usd_per_step
    assert cost(TIERED).wear_usd_per_step < cost(TIERED).flash_usd_per_step


def test_wear_is_the_drives_price_over_its_lifetime_whatever_its_capacity() -> None:
    for scale in (1.0, 0.25):
        slow = replace(
            MACHINE.slow, capacity_bytes=round(scale * MACHINE.slow.capacity_bytes), retention_factor=50.0
        )
        machine = replace(MACHINE, slow=slow)
        price = slow.capacity_bytes * 0.88e-9
        per_s = price / lifetime_s(slow, written_bytes_per_s=5e9)
        assert wear_usd(machine, written_bytes=5e9) == pytest.approx(per_s)


def test_at_the_break_even_price_both_steps_cost_the_same() -> None:
    for use in (TIERED, replace(TIERED, written_bytes=10 * GB)):
        price = cost(use).break_even_fast_usd_per_byte
        assert price is not None
        prices = MACHINE.prices | {"2025Q3": replace(MACHINE.prices["2025Q3"], fast_usd_per_byte=price)}
        even = replace(MACHINE, prices=prices)
        tiered, whole = (cost_of(u, all_fast=WHOLE, machine=even, price="2025Q3") for u in (use, WHOLE))
        assert tiered.usd_per_step == pytest.approx(whole.usd_per_step)
    # By age alone: 28.16 USD x 2 s over 32 GB x 1 s - 4 GB x 2 s.
    assert cost(TIERED).break_even_fast_usd_per_byte == pytest.approx(56.32 / (24 * GB))


def test_a_step_that_takes_as_much_fast_memory_for_longer_never_breaks_even() -> None:
    assert cost(replace(TIERED, step_time_s=8.0)).break_even_fast_usd_per_byte is None
    assert cost(replace(TIERED, step_time_s=7.9)).break_even_fast_usd_per_byte is not None
    assert cost(WHOLE).break_even_fast_usd_per_byte is None


def test_an_unknown_date_is_refused() -> None:
    with pytest.raises(InputError, match="no prices of '1999'"):
        cost(TIERED, price="1999")
