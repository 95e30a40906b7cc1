"""Death groups: copies that die one after another share blocks in the grouped layout."""

import numpy as np
from numpy.typing import NDArray

from tmtrain.simulation.swapping.swaps import Copies

LASTING = 0
"""Group of what is written once and never dies."""


def death_groups(copies: Copies, *, most: int, least_bytes: float) -> NDArray[np.int32]:
    """Return the death group of each copy: by when in the step it dies, groups alike in bytes.

    Copies that die together are then in the same blocks, which fall free without anything to copy. More groups mix less,
    but each has an open block on every plane that may be partly dead, and small ones waste blocks.

    Args:
        copies: Of one step.
        most: So many groups at most, that of what lasts aside.
        least_bytes: No group should have less.
    """
    written = copies.write_bytes > 0
    total = float(copies.bytes[written].sum())
    number = max(1, min(most, int(total // max(least_bytes, 1.0))))
    order = np.flatnonzero(written)
    order = order[np.argsort(_dies(copies)[order], kind="stable")]
    size = copies.bytes[order]
    groups = np.full(len(copies), LASTING, np.int32)
    middle = np.cumsum(size) - size / 2
    groups[order] = 1 + np.minimum(number - 1, (middle * number / max(total, 1.0)).astype(np.int32))
    return groups


def _dies(copies: Copies) -> NDArray[np.float64]:
    """Return when each copy dies; what is overwritten unread dies when it is written the next time."""
    return np.where(np.isnan(copies.dies_s), copies.born_s, copies.dies_s)
