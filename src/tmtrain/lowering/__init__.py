"""Trace x Machine -> Timeline: operators cut into slices, priced, and the extents they touch."""

from tmtrain.lowering.lower import SLICE_SHARE, lower
from tmtrain.lowering.producers import Recipes
from tmtrain.lowering.recomputation import Replays, insert_replays, no_replays
from tmtrain.lowering.timeline import Accesses, Extents, Frees, Slices, Timeline

__all__ = [
    "SLICE_SHARE", "Accesses", "Extents", "Frees", "Recipes", "Replays", "Slices", "Timeline", "insert_replays", "lower",
    "no_replays",
]  # fmt: skip
