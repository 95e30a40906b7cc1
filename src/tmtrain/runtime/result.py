"""What a real run measured: one row per step, and what was predicted."""

from dataclasses import dataclass
from statistics import median
from typing import Literal, Self

from tmtrain.plans import Prediction
from tmtrain.units import DAY_S

How = Literal["on demand", "planned", "diverged"]
"""On demand: there was no plan yet, so it may have been recorded. Diverged: it was none of the known ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepMeasure:
    """One step of a real run."""

    how: How
    step_time_s: float
    stall_s: float
    """Waiting for the drive, part of `step_time_s`."""
    bytes_in: int
    """By our own count."""
    bytes_out: int
    drive_read_bytes: int
    """By the kernel's count, of all that the process did in the step; 0 where it does not tell."""
    drive_written_bytes: int
    misses: int
    """Blocks that were fetched on demand."""
    evictions: int
    """Blocks that left because room was short, unplanned."""
    recomputations: int
    """Operators that ran again, to recompute what had been discarded."""
    peak_bytes: int
    """Most of what can be moved that was in memory at once: what the budget is about."""
    peak_resident_bytes: int
    """Most that the process had resident, by the kernel's count, interpreter and libraries included."""
    energy_j: float | None
    """Of the host's processors, whatever ran on them; None where the host does not tell (`tmtrain.runtime.host.energy`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """All steps of a run so far."""

    budget_bytes: int
    fixed_bytes: int
    """Resident before the first step, less what can be moved: interpreter, libraries, small storages."""
    managed_bytes: int
    """Of all that can be moved and is alive now."""
    steps: tuple[StepMeasure, ...]
    prediction: Prediction | None
    """By the plan that is followed now; None before there is one."""
    planning_s: float
    """All plans together, but those of the timing monitor, which steps do not wait for."""
    plans_adopted: int
    """How often the timing monitor changed the plan, returns included."""
    notes: tuple[str, ...]
    """Why steps ran on demand, if any did after the first few."""

    @classmethod
    def before_any_step(cls, *, budget_bytes: int) -> Self:
        """Return the result of a run that has not begun."""
        return cls(
            budget_bytes=budget_bytes,
            fixed_bytes=0,
            managed_bytes=0,
            steps=(),
            prediction=None,
            planning_s=0.0,
            plans_adopted=0,
            notes=(),
        )

    @property
    def steady(self) -> tuple[StepMeasure, ...]:
        """Planned steps, but the first of them: it begins with what the step before had left where it was."""
        return tuple(step for step in self.steps if step.how == "planned")[1:]

    @property
    def step_time_s(self) -> float | None:
        """Median of the steady steps."""
        return median(step.step_time_s for step in self.steady) if self.steady else None

    @property
    def written_bytes_per_day(self) -> float | None:
        """What steady steps write to the drive, one after the other day and night; None before there are any."""
        took_s = sum(step.step_time_s for step in self.steady)
        return DAY_S * sum(step.bytes_out for step in self.steady) / took_s if took_s else None

    @property
    def unmoved_bytes(self) -> int:
        """Most that was resident beside `fixed_bytes` and the budget: temporaries inside operators, small storages."""
        over = (s.peak_resident_bytes - self.fixed_bytes - s.peak_bytes for s in self.steps)
        return max(0, *over) if self.steps else 0
