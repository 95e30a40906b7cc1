"""Trace x Machine -> Timeline: operators cut into slices, priced, and the extents they touch."""

from tmtrain.lower.lower import SLICE_SHARE, lower
from tmtrain.lower.timeline import Accesses, Extents, Frees, Slices, Timeline

__all__ = ["SLICE_SHARE", "Accesses", "Extents", "Frees", "Slices", "Timeline", "lower"]
