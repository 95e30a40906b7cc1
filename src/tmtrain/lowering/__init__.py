"""Trace x Machine -> Timeline: operators cut into slices, priced, and the extents they touch."""

from tmtrain.lowering.producers import Producers
from tmtrain.lowering.recomputation import Recomputations, insert_recomputations, no_recomputations
from tmtrain.lowering.timeline import Accesses, Extents, Frees, Slices, Timeline
from tmtrain.lowering.verbs import SLICE_SHARE, lower

__all__ = [
    "SLICE_SHARE",
    "Accesses",
    "Extents",
    "Frees",
    "Producers",
    "Recomputations",
    "Slices",
    "Timeline",
    "insert_recomputations",
    "lower",
    "no_recomputations",
]
