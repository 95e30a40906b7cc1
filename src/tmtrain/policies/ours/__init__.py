"""Ours: plans of `tmtrain.planning`, measured by the engine before anybody sees them."""

from tmtrain.policies.ours.following import follow
from tmtrain.policies.ours.tmtrain import Tmtrain, TmtrainMove
from tmtrain.policies.ours.verbs import plan

__all__ = ["Tmtrain", "TmtrainMove", "follow", "plan"]
