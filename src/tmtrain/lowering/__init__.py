"""Trace x Machine -> Timeline: operators cut into slices, priced, and the extents they touch."""

from tmtrain.lowering.lower import SLICE_SHARE, lower
from tmtrain.lowering.producers import Producers
from tmtrain.lowering.recomputation import Recomputations, insert_recomputations, no_recomputations
from tmtrain.lowering.timeline import Accesses, Extents, Frees, Slices, Timeline

__all__ = [
    "SLICE_SHARE", "Accesses", "Extents", "Frees", "Producers", "Recomputations", "Slices", "Timeline", "insert_recomputations", "lower",
    "no_recomputations",
]  # fmt: skip
