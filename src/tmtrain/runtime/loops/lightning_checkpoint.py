"""Lightning's own checkpoints, written within the budget: Lightning says what belongs to one, and reads it again."""

from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.plugins import CheckpointIO

from tmtrain.errors import FileFormatError
from tmtrain.runtime.checkpoints.checkpoint import Checkpoint, write_checkpoint
from tmtrain.runtime.loops.generators import random_states
from tmtrain.runtime.loops.loop import Loop

_ARCHIVE = b"PK"
"""What the files of `torch.save` begin with."""


class BudgetCheckpointIO(CheckpointIO):
    """Writes and reads checkpoints for a `lightning.Trainer`, with the states of generators, which Lightning leaves out."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.random: dict[str, Any] | None = None
        """Where the generators were, of the checkpoint that was read last."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None
    ) -> None:
        """Write what Lightning has gathered; errors as `Training.save`."""
        tree = {"lightning": checkpoint, "random": random_states()}
        if self._loop.is_running:
            self._loop.training.write(path, tree)
        else:
            write_checkpoint(Path(path), tree, fetch=lambda tensor, _: tensor.detach().contiguous())

    def load_checkpoint(
        self, path: str | Path, map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read a checkpoint of this room, or one that Lightning wrote without a budget.

        Raises:
            FileFormatError: it is damaged, or of another kind.
        """
        path = Path(path)
        if path.is_file() and _begin_of(path) == _ARCHIVE:
            return TorchCheckpointIO().load_checkpoint(path, weights_only=weights_only)
        with Checkpoint(path) as opened:
            tree = opened.restored(opened.tree, hold=_in_memory)
        if not isinstance(tree, dict) or tree.keys() != {"lightning", "random"}:
            raise FileFormatError(
                f"{path} is no checkpoint of a lightning.Trainer in a budget: resume from one that its trainer wrote",
                path=path,
            )
        self.random = tree["random"]
        return tree["lightning"]

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a file that Lightning does not want to keep."""
        Path(path).unlink(missing_ok=True)


def _in_memory(tensor: torch.Tensor, _: str) -> torch.Tensor:
    return tensor


def _begin_of(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_ARCHIVE))
