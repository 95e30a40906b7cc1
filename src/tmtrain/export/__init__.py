"""A plan for those who run something else: tables, and policies for torch.utils.checkpoint, FSDP2 and DeepSpeed.

What applies an export to a live model imports torch and is therefore asked for by its own name:
`tmtrain.export.torch_checkpoint`, `tmtrain.export.torch_fsdp2`.
"""

from tmtrain.export.checkpoint_policy import SelectivePolicy, load_checkpoint_policy
from tmtrain.export.fsdp2 import OffloadMap, load_offload_map
from tmtrain.export.verbs import Exported, export

__all__ = [
    "Exported",
    "OffloadMap",
    "SelectivePolicy",
    "export",
    "load_checkpoint_policy",
    "load_offload_map",
]
