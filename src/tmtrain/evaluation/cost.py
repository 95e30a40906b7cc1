"""What the memory of one step costs: written off over a life, replaced where training wears it out sooner.

Fast memory does not wear: a step takes its share of the life. Flash ends by age or by wear, whichever comes first: a step
takes the larger of the two shares.

Known limitation: no chip, no controller and no electricity, for none of which a machine file has a dated price; so a slower
step costs more than what stands here.
"""

from dataclasses import dataclass

from tmtrain.evaluation.row import Cost
from tmtrain.machine import Machine, memory_cost_usd, wear_usd
from tmtrain.simulation import Result
from tmtrain.units import YEAR_S

LIFE_S = 5.0 * YEAR_S
"""Over which memory is written off: what drives are rated for (docs/machine-format.md, `endurance`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryUse:
    """The memory that one step needs, and for how long."""

    fast_bytes: int
    flash_bytes: int
    """Bought; 0 without a flash tier."""
    step_time_s: float
    written_bytes: int = 0
    """To flash, by the host."""


def costs_of(
    result: Result, *, footprint_bytes: int, machine: Machine, has_flash: bool = True
) -> dict[str, Cost]:
    """Return what the memory of a simulated step costs at each price date of `machine`, flash for the footprint."""
    use = MemoryUse(
        fast_bytes=result.fast_bytes,
        flash_bytes=footprint_bytes if has_flash else 0,
        step_time_s=result.step_time_s,
        written_bytes=result.bytes_out,
    )
    all_fast = MemoryUse(fast_bytes=footprint_bytes, flash_bytes=0, step_time_s=result.ideal_step_time_s)
    return {price: cost_of(use, all_fast=all_fast, machine=machine, price=price) for price in machine.prices}


def cost_of(
    use: MemoryUse, *, all_fast: MemoryUse, machine: Machine, price: str, life_s: float = LIFE_S
) -> Cost:
    """Return what the memory of one step costs.

    Args:
        use: Of the step.
        all_fast: The same step with fast memory for everything: what to break even with.
        machine: Whose prices and endurance count.
        price: Date label.
        life_s: Over which memory is written off.

    Raises:
        InputError: the machine has no prices of that date.

    >>> from tmtrain.machine import load_machine
    >>> whole = MemoryUse(fast_bytes=32 * 10**9, flash_bytes=0, step_time_s=1.0)
    >>> tiered = MemoryUse(
    ...     fast_bytes=4 * 10**9, flash_bytes=32 * 10**9, step_time_s=2.0, written_bytes=10**7
    ... )
    >>> cost = cost_of(tiered, all_fast=whole, machine=load_machine("v4-slc"), price="2025Q3")
    >>> round(cost.fast_usd, 2), round(cost.flash_usd, 2), round(1e9 * cost.break_even_fast_usd_per_byte, 2)
    (60.0, 28.16, 2.35)
    """
    fast_usd = memory_cost_usd(machine, fast_bytes=use.fast_bytes, slow_bytes=0, price=price)
    flash_usd = memory_cost_usd(machine, fast_bytes=0, slow_bytes=use.flash_bytes, price=price)
    wear = wear_usd(machine, written_bytes=use.written_bytes, price=price)
    flash_usd_per_step = max(flash_usd * use.step_time_s / life_s, wear)
    prices = machine.prices[price]
    return Cost(
        fast_usd_per_byte=prices.fast_usd_per_byte,
        flash_usd_per_byte=prices.slow_usd_per_byte,
        life_years=life_s / YEAR_S,
        fast_usd=fast_usd,
        flash_usd=flash_usd,
        fast_usd_per_step=fast_usd * use.step_time_s / life_s,
        flash_usd_per_step=flash_usd_per_step,
        wear_usd_per_step=wear,
        break_even_fast_usd_per_byte=_break_even(use, all_fast, flash_usd=flash_usd_per_step * life_s),
    )


def _break_even(use: MemoryUse, all_fast: MemoryUse, *, flash_usd: float) -> float | None:
    """Return the price p of fast memory at which ``fast p t + flash = all-fast p t'``; None if there is none."""
    saved = all_fast.fast_bytes * all_fast.step_time_s - use.fast_bytes * use.step_time_s
    return flash_usd / saved if saved > 0 and use.flash_bytes else None
