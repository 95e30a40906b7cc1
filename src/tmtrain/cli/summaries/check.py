"""What ``tmtrain check`` tells about a verdict."""

from collections.abc import Iterator
from dataclasses import dataclass

from tmtrain.checking import CheckReport, Violation
from tmtrain.plans import Plan, optimality_gap
from tmtrain.reporting.quantity import percent
from tmtrain.units import format_bytes

_UNITS = {"energy": "J", "time": "s", "bytes": "bytes", "writes": "bytes"}
"""A mix has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSummary:
    """A verdict in a few numbers."""

    ok: bool
    objective: str
    value: float | None
    """In the objective's unit, as are the bounds."""
    bound: float | None
    """What the multipliers prove."""
    stored_bound: float | None
    """What the certificate claims."""
    covers: str | None
    """Which plans the bounds are about; None without a certificate."""
    measured: float | None
    """By the engine; None where the plan breaks a rule, so that it cannot be run."""
    gap: float | None
    """Optimality gap: (measured - bound) / bound; None where the bound is 0."""
    peak_bytes: int
    random_recomputations: int
    violations: tuple[Violation, ...]

    shown = 20
    """Violations that are printed for people; all are in the JSON."""

    def lines(self) -> Iterator[tuple[str, str]]:
        """Yield labels and values as people read them."""
        unit = _UNITS.get(self.objective, "")
        if self.value is not None:
            needed = f"{self.value:.9g} {unit} predicted"
            if self.measured is not None:
                needed = f"{self.measured:.9g} {unit} measured, {needed}"
            yield "objective", f"{self.objective}: {needed}"
        if self.stored_bound is not None:
            proved = "nothing" if self.bound is None else f"{self.bound:.9g} {unit}"
            yield "lower bound", f"{self.stored_bound:.9g} {unit} claimed, {proved} proved"
        if self.covers is not None:
            yield "for every", self.covers
        if self.measured is not None:
            yield "gap", percent(self.gap)
        yield "fast memory in use", f"{format_bytes(self.peak_bytes)} at its peak"
        if self.random_recomputations:
            yield (
                "random recomputations",
                f"{self.random_recomputations:,}: need the generator state of the first run",
            )


def summarise_check(report: CheckReport, *, plan: Plan, measured: float | None) -> CheckSummary:
    """Sum up a verdict on `plan`, and what the engine measured of it if it keeps the rules."""
    return CheckSummary(
        ok=report.ok,
        objective=report.objective,
        value=report.value,
        bound=report.bound,
        stored_bound=report.stored_bound,
        covers=None if plan.certificate is None else plan.certificate.covers,
        measured=measured,
        gap=None if report.bound is None else optimality_gap(measured, report.bound),
        peak_bytes=report.peak_bytes,
        random_recomputations=report.random_recomputations,
        violations=report.violations,
    )
