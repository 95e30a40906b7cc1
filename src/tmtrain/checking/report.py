"""The report of a check: the violations, and the bound and the predicted value as the checker computes them."""

from dataclasses import dataclass
from typing import Literal

Rule = Literal[
    "fit",
    "recomputation",
    "recomputation-input",
    "recomputation-slice",
    "content",
    "transfer",
    "gap",
    "stale-write",
    "front",
    "absent-at-use",
    "capacity",
    "cycle",
    "prediction",
    "class",
    "write-budget",
    "value",
    "multipliers",
    "bound",
    "proof",
]
"""What was broken; `docs/plan-format.md` says what each of them asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One rule, broken once."""

    rule: Rule
    where: str
    """What is wrong where, in one sentence."""
    amount: float
    """By how much, in `unit`."""
    unit: str

    def __str__(self) -> str:
        """Return it as a line.

        >>> print(Violation(rule="capacity", where="slice 3", amount=1, unit="pages"))
        [capacity] slice 3 (1 pages)
        """
        return f"[{self.rule}] {self.where} ({self.amount:.9g} {self.unit})"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """The verdict on a plan, and what the checker computed by itself."""

    violations: tuple[Violation, ...]
    objective: str
    bound: float | None
    """What the multipliers prove, in the objective's unit; None without them or where they are of another step."""
    stored_bound: float | None
    value: float | None
    """The objective of what the plan predicts; None where the plan does not fit the step."""
    peak_bytes: int
    """The most fast memory that is in use while a slice runs."""
    random_recomputations: int
    """Recomputations of random operators: the run has to save the generator's state for them."""

    @property
    def ok(self) -> bool:
        """Nothing was violated."""
        return not self.violations
