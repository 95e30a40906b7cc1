"""One call of an operator, as far as formulas ask: shapes instead of tensors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCall:
    """A call without its tensors, whoever saw it: a capture, or the program that wrote a trace.

    >>> call = OperatorCall(name="mm", arguments=[(3, 5), (5, 7)], results=[(3, 7)])
    >>> call.shape(1), call.result, call.is_true(2)
    ((5, 7), (3, 7), False)
    """

    name: str
    """Without namespace and overload: "mm"."""
    arguments: Sequence[Any]
    """By the schema's positions; those at the end may be missing. A tensor is a tuple, its shape; a list of tensors a list
    of such; None one that is left out; all else is what it is."""
    results: Sequence[Shape | None]
    """Shapes of the results that are tensors, None where one is left out."""

    @property
    def result(self) -> Shape:
        """Shape of the first result.

        Raises:
            LookupError: there is none.
        """
        if not self.results or self.results[0] is None:
            raise LookupError(f"{self.name} has no first result")
        return self.results[0]

    def shape(self, position: int) -> Shape:
        """Return the shape of the tensor at `position`.

        Raises:
            LookupError: there is no tensor.
        """
        match self.arguments[position]:
            case tuple() as shape:
                return shape
            case other:
                raise LookupError(f"argument {position} of {self.name} is no tensor: {other!r}")

    def shapes(self, position: int) -> list[Shape]:
        """Return the shapes of the list of tensors at `position`; empty if it is none."""
        values = self.arguments[position] if position < len(self.arguments) else None
        return [value for value in values if isinstance(value, tuple)] if isinstance(values, list) else []

    def is_true(self, position: int) -> bool:
        """Whether the argument at `position` is given, and true."""
        return position < len(self.arguments) and self.arguments[position] is True

    def wanted(self, position: int) -> tuple[bool, ...] | None:
        """Return the ``output_mask`` at `position`; None where there is none."""
        mask = self.arguments[position] if position < len(self.arguments) else None
        return tuple(map(bool, mask)) if isinstance(mask, list) else None
