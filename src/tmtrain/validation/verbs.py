"""The verb `validate`: every comparison there is."""

from collections.abc import Callable

from tmtrain.validation import drives, flash_estimates, mqsim, published, scalesim
from tmtrain.validation.comparison import Comparison

VALIDATIONS: dict[str, Callable[[], list[Comparison]]] = {
    "scalesim": scalesim.compare,
    "published": published.compare,
    "mqsim": mqsim.compare,
    "drives": drives.compare,
    "flash estimates": flash_estimates.compare,
}
"""By what the model is compared with; one line per module."""


def validate() -> list[Comparison]:
    """Return the rows of all validations.

    >>> sorted(VALIDATIONS)
    ['drives', 'flash estimates', 'mqsim', 'published', 'scalesim']
    """
    return [row for compare in VALIDATIONS.values() for row in compare()]
