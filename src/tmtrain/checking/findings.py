"""Findings: violations while they are collected."""

from dataclasses import dataclass, field

from tmtrain.checking.report import Rule, Violation


@dataclass(slots=True)
class Findings:
    """A list of violations that grows.

    >>> findings = Findings()
    >>> findings.add("front", "transfer 3", 2)
    >>> [violation.rule for violation in findings.violations]
    ['front']
    """

    violations: list[Violation] = field(default_factory=list[Violation])

    def add(self, rule: Rule, where: str, amount: float, unit: str = "pages") -> None:
        """Note that `rule` is broken."""
        self.violations.append(Violation(rule=rule, where=where, amount=float(amount), unit=unit))

    def __len__(self) -> int:
        return len(self.violations)
