"""A plan for those who run something else: tables, and policies for torch.utils.checkpoint, FSDP2 and DeepSpeed.

What applies an export to a live model imports torch and is therefore asked for by its own name:
`tmtrain.exports.live.checkpoint`, `tmtrain.exports.live.fsdp2`.
"""

from tmtrain.exports.checkpoint_policy import SelectivePolicy, load_checkpoint_policy
from tmtrain.exports.fsdp2 import OffloadMap, load_offload_map
from tmtrain.exports.verbs import Exported, export

__all__ = [
    "Exported",
    "OffloadMap",
    "SelectivePolicy",
    "export",
    "load_checkpoint_policy",
    "load_offload_map",
]
