"""How much is tried: few and the same in `make test`, many in `make test-all`.

The numbers in the tests are those of the profile ``default``. The profile in use (`conftest.py`) scales them.
"""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import settings

_FULL = 100
"""`max_examples` of a profile that scales nothing."""


def examples(number: int, *, least: int = 5) -> settings:
    """Decorate a property with `number` examples, scaled by the profile in use."""
    return settings(max_examples=max(least, round(number * _scale())))


def seeds(number: int, *, first: int = 0) -> range:
    """Return `number` seeds from `first` on: fewer under a profile that tries less, never more.

    What is claimed of seeds in general is counted over all of them, so more would be another claim.
    """
    return range(first, first + max(1, round(number * min(1.0, _scale()))))


def rest_slow(values: Iterable[Any], *, quick: int = 1, whole: bool = False) -> list[Any]:
    """Return parameters of which the first `quick` are tried in `make test`, the others in `make test-all` only.

    A tuple is several parameters, or, with `whole`, one.
    """
    values = list(values)
    rest = [value if isinstance(value, tuple) and not whole else (value,) for value in values[quick:]]
    return values[:quick] + [pytest.param(*value, marks=pytest.mark.slow) for value in rest]


def _scale() -> float:
    return settings().max_examples / _FULL
