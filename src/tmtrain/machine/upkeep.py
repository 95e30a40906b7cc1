"""What the memory of a machine costs: money to buy it, years until training has worn it out, and money per byte of that."""

import difflib
import math

from tmtrain.errors import InputError
from tmtrain.machine.machine import Machine, Price, SlowTier


def lifetime_s(slow: SlowTier, *, written_bytes_per_s: float) -> float:
    """Return the seconds until the flash tier is worn out.

    ``capacity * endurance * retention factor / (written * write amplification)``: wear is spread evenly over
    all blocks.

    Args:
        slow: The flash tier.
        written_bytes_per_s: What the host writes, averaged over uninterrupted training; 0 gives infinity.

    >>> from tmtrain.machine import load_machine
    >>> round(lifetime_s(load_machine("v4-slc").slow, written_bytes_per_s=10e9) / (365 * 86400), 2)
    0.64
    """
    if written_bytes_per_s == 0:
        return math.inf
    endurance_bytes = slow.capacity_bytes * slow.endurance_cycles * slow.retention_factor
    return endurance_bytes / (written_bytes_per_s * slow.write_amplification)


def memory_cost_usd(
    machine: Machine, *, fast_bytes: float, slow_bytes: float, price: str | None = None
) -> float:
    """Return the price of `fast_bytes` of fast and `slow_bytes` of slow memory, in USD.

    Known limitation: the memory alone; controllers and the chip are not counted.

    Args:
        machine: Whose prices count.
        fast_bytes: Fast memory to buy.
        slow_bytes: Flash to buy.
        price: Date label such as "2026-08"; the machine's first by default.

    Raises:
        InputError: the machine has no prices of that date.

    >>> from tmtrain.machine import load_machine
    >>> memory_cost_usd(load_machine("v4-slc"), fast_bytes=4e9, slow_bytes=32e9, price="paper")
    83.2
    """
    prices = _prices(machine, price)
    return fast_bytes * prices.fast_usd_per_byte + slow_bytes * prices.slow_usd_per_byte


def wear_usd(machine: Machine, *, written_bytes: float, price: str | None = None) -> float:
    """Return the share of the flash's price that writing so many bytes wears off, in USD.

    ``written * write amplification / (endurance * retention factor) * price per byte``: a drive of any capacity takes that
    many times its capacity, for that many times its price, so the capacity cancels.

    Args:
        machine: Whose flash and prices count.
        written_bytes: What the host writes.
        price: As in `memory_cost_usd`.

    Raises:
        InputError: the machine has no prices of that date.

    >>> from tmtrain.machine import load_machine
    >>> f"{wear_usd(load_machine('v4-slc'), written_bytes=10e9):.3g}"
    '8.98e-05'
    """
    slow = machine.slow
    cycles = written_bytes * slow.write_amplification / (slow.endurance_cycles * slow.retention_factor)
    return cycles * _prices(machine, price).slow_usd_per_byte


def _prices(machine: Machine, price: str | None) -> Price:
    label = next(iter(machine.prices)) if price is None else price
    if label not in machine.prices:
        close = difflib.get_close_matches(label, machine.prices, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        known = ", ".join(machine.prices)
        raise InputError(f"machine {machine.name} has no prices of {label!r}{hint}; there are: {known}")
    return machine.prices[label]
