"""Drive life as a limit on what a step writes."""

from math import ceil

from tmtrain.errors import InfeasibleError
from tmtrain.lowering.timeline import Timeline
from tmtrain.machine import Machine, lifetime_s
from tmtrain.plans import CLASS
from tmtrain.units import format_bytes, format_years


def write_budget_of_life(machine: Machine, *, life_s: float, step_time_s: float) -> float:
    """Return the bytes that each step may write if the drive is to last `life_s` of uninterrupted training.

    Args:
        machine: Whose drive.
        life_s: How long it shall last.
        step_time_s: Of a step. The ideal step time makes a promise for every plan: no step is faster, so the drive lasts
            at least that long.

    >>> from tmtrain.machine import load_machine
    >>> machine = load_machine("v4-slc")
    >>> budget = write_budget_of_life(machine, life_s=1e8, step_time_s=2.0)
    >>> round(life_of_writes(machine, write_bytes=budget, step_time_s=2.0))
    100000000
    """
    return lifetime_s(machine.slow, written_bytes_per_s=1.0) / life_s * step_time_s


def life_of_writes(machine: Machine, *, write_bytes: float, step_time_s: float) -> float:
    """Return the seconds that the drive lasts if each step writes so much; infinite where none does."""
    return lifetime_s(machine.slow, written_bytes_per_s=write_bytes / step_time_s)


def too_few_writes(
    budget_bytes: float, *, timeline: Timeline, machine: Machine, least_bytes: float, found_bytes: float
) -> InfeasibleError:
    """Word the error for a write budget that cannot be kept.

    Args:
        budget_bytes: What was asked for.
        timeline: The step.
        machine: For the drive life.
        least_bytes: No plan of the class writes less.
        found_bytes: Written by the plan of fewest writes that was found.
    """
    need = max(least_bytes, found_bytes)
    life = life_of_writes(machine, write_bytes=need, step_time_s=timeline.compute_s)
    proof = (
        f"no {CLASS} writes less than {format_bytes(least_bytes)}"
        if least_bytes > budget_bytes
        else f"it is not ruled out ({format_bytes(least_bytes)} are), but no such plan was found"
    )
    return InfeasibleError(
        f"[Wear] the write budget of {format_bytes(budget_bytes)} a step is {format_bytes(need - budget_bytes)} short with "
        f"{format_bytes(timeline.fast_bytes)} of fast memory: {proof}; the smallest budget that can be kept is "
        f"{format_bytes(need)} ({need:.0f}B, a drive life of {format_years(life)} at full speed). "
        "Write more, or give more fast memory",
        limit="writes",
        needed_bytes=ceil(need),
        capacity_bytes=int(budget_bytes),
    )
