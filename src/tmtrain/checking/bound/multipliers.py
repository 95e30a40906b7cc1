"""Multipliers as a plan file stores them, taken family by family.

Note [The side of a row]
    A multiplier y of a row ``lower <= a x <= upper`` presses on its lower side where y > 0, on its upper side where y < 0,
    and adds y times that side to the bound. On a side that is infinite it cannot press and counts as 0. So any numbers
    give a bound.
"""

from collections.abc import Sequence
from math import inf, isfinite

from tmtrain.errors import InputError


class Multipliers:
    """Those of a certificate; `constant` is what their rows' sides add to the bound.

    >>> y = Multipliers({"room": [2.0, -1.0]})
    >>> y.take("room", [3.0, 3.0])
    [2.0, 0.0]
    >>> y.constant
    6.0
    """

    def __init__(self, stored: dict[str, list[float]]) -> None:
        self._is_empty = not any(stored.values())
        self._stored = dict(stored)
        self.constant = 0.0

    def take(self, family: str, lower: Sequence[float], upper: Sequence[float] | None = None) -> list[float]:
        """Return the multipliers of the rows of `family`, those that cannot press set to 0.

        Args:
            family: Its name in the plan file.
            lower: The rows' lower sides.
            upper: Their upper sides; by default there is none.

        Raises:
            InputError: the file has none, or of more or fewer rows.
        """
        values = self._stored.pop(family, [])
        if self._is_empty:
            return [0.0] * len(lower)
        if len(values) != len(lower):
            raise InputError(
                f"family {family!r} has {len(lower)} rows, the certificate has {len(values)} multipliers for it"
            )
        if not all(map(isfinite, values)):
            raise InputError(f"family {family!r} has a multiplier that is not a finite number")
        uppers = [inf] * len(lower) if upper is None else upper
        sides = [
            low if y > 0 else high if y < 0 else 0.0
            for y, low, high in zip(values, lower, uppers, strict=True)
        ]
        pressing = [y if isfinite(side) else 0.0 for y, side in zip(values, sides, strict=True)]
        self.constant += sum(y * side for y, side in zip(pressing, sides, strict=True) if y)
        return pressing

    def refuse_the_rest(self) -> None:
        """Refuse families that nobody has taken.

        Raises:
            InputError: names them.
        """
        rest = [family for family, values in self._stored.items() if values]
        if rest:
            names = ", ".join(map(repr, rest))
            raise InputError(f"unknown families {names}: made by a newer version")
