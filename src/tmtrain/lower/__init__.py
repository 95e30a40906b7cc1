"""Trace x Machine -> Timeline: operators cut into slices, priced, and the extents they touch."""

from tmtrain.lower.lower import SLICE_SHARE, lower
from tmtrain.lower.recipes import Recipes
from tmtrain.lower.replay import Replays, insert_replays, no_replays
from tmtrain.lower.timeline import Accesses, Extents, Frees, Slices, Timeline

__all__ = [
    "SLICE_SHARE", "Accesses", "Extents", "Frees", "Recipes", "Replays", "Slices", "Timeline", "insert_replays", "lower",
    "no_replays",
]  # fmt: skip
