"""The verb `validate`: every comparison there is."""

from collections.abc import Callable

from tmtrain.validate import published, scalesim
from tmtrain.validate.comparison import Comparison

VALIDATIONS: dict[str, Callable[[], list[Comparison]]] = {
    "scalesim": scalesim.compare,
    "published": published.compare,
}
"""By what the model is compared with; one line per module."""


def validate() -> list[Comparison]:
    """Return the rows of all validations.

    >>> all(row.holds for row in validate() if row.is_claimed)
    True
    """
    return [row for compare in VALIDATIONS.values() for row in compare()]
