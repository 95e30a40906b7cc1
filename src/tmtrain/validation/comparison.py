"""One row of a validation: what the model says, what the reference says."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A quantity, by the model and by a reference.

    >>> row = Comparison(case="16 KiB reads", quantity="seconds", model=1.02, reference=1.0, tolerance=0.1, source="MQSim")
    >>> round(row.error, 3), row.holds
    (0.02, True)
    """

    case: str
    quantity: str
    """With its unit."""
    model: float
    reference: float
    tolerance: float
    """Largest relative error that counts as agreement; 0: exact."""
    source: str
    """Who measured or computed the reference."""
    is_claimed: bool = True
    """Whether agreement is claimed; otherwise the row is there to show how far off the model is."""

    @property
    def error(self) -> float:
        """Relative error of the model; the absolute one where the reference is zero."""
        return (self.model - self.reference) / (abs(self.reference) or 1.0)

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance."""
        return abs(self.error) <= self.tolerance
