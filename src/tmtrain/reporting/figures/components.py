"""Which energy components the figures of a section draw: no more than there are colours, the same in every figure."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tmtrain.evaluation.row import Row
from tmtrain.reporting.figures.palette import MAX_COMPONENTS

OTHER = "other"
"""What is drawn together because there are not colours enough."""


def shown_components(rows: Sequence[Row]) -> tuple[str, ...]:
    """Return the components that `rows` need, in order; if they are too many, the largest and `OTHER`.

    >>> from tmtrain.reporting.example import example_section
    >>> shown_components(example_section().rows)
    ('matrix', 'fast access', 'fast background', 'static', 'flash read', 'flash write')
    """
    parts = joules_by_component(rows)
    names = [name for name, joules in parts.items() if joules.any()]
    if len(names) <= MAX_COMPONENTS:
        return tuple(names)
    large = sorted(names, key=lambda name: -parts[name].sum())[: MAX_COMPONENTS - 1]
    return (*(name for name in names if name in large), OTHER)


def joules_by_component(rows: Sequence[Row]) -> dict[str, NDArray[np.float64]]:
    """Return each component that any of `rows` has, in order, with the joules of every row."""
    names = dict.fromkeys(name for row in rows for name in row.energy_by_component_j)
    return {name: np.array([row.energy_by_component_j.get(name, 0.0) for row in rows]) for name in names}


def gather(
    parts: Mapping[str, NDArray[np.float64]], *, shown: Iterable[str]
) -> dict[str, NDArray[np.float64]]:
    """Return what is drawn for each of `shown`, of which `OTHER` gets everything that the others do not say.

    >>> gather({"a": np.ones(1), "b": np.ones(1), "c": np.ones(1)}, shown=("b", "other"))
    {'b': array([1.]), 'other': array([2.])}
    """
    names = tuple(shown)
    nothing = np.zeros_like(next(iter(parts.values())))
    rest = sum((part for name, part in parts.items() if name not in names), start=nothing)
    return {name: rest if name == OTHER else parts.get(name, nothing) for name in names}
