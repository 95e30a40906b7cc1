"""How a step of parallel training is known: one rank of it is no step that is captured yet."""

import sys
from pathlib import Path
from traceback import walk_tb
from types import TracebackType

import torch

COLLECTIVES = frozenset(
    (
        "c10d",
        "c10d_functional",
        "_c10d_functional",
        "_c10d_functional_autograd",
        "_dtensor",
        "fsdp",
        "symm_mem",
    )
)
"""Namespaces of the operators with which ranks talk."""
ALONE = (
    "steps of parallel training are not captured yet: capture the step of one rank without it (no process group, no"
    " DistributedDataParallel, no FSDP, plain tensors)"
)
_CODE = tuple(str(Path(torch.__file__).parent / room) for room in ("distributed", "nn/parallel"))


def is_distributed(kind: type) -> bool:
    """Return whether tensors of this class are spread over ranks."""
    # Nobody has one who has not imported it.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and issubclass(kind, module.DTensor)


def is_parallel(trace: TracebackType | None) -> bool:
    """Return whether an error came out of torch's code for parallel training."""
    return any(frame.f_code.co_filename.startswith(_CODE) for frame, _ in walk_tb(trace))
