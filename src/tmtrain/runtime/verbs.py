"""The verbs of the real run. Importing them imports no torch; calling them does."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from tmtrain.units import parse_budget

if TYPE_CHECKING:
    import torch

    from tmtrain.machine import Machine
    from tmtrain.runtime.training.training import Training

P = ParamSpec("P")
R = TypeVar("R")
Folders: TypeAlias = str | Path | Sequence[str | Path]
"""One, or one on each of several drives."""


def train(
    model: "torch.nn.Module",
    optimizer: "torch.optim.Optimizer",
    step: Callable[P, R] | None = None,
    *,
    budget_bytes: int | str,
    flash: Folders,
    init: "Callable[[torch.nn.Module], None] | None" = None,
    restores: bool = True,
    machine: "Machine | None" = None,
    objective: str | None = None,
    monitor: bool = True,
) -> "Training[P, R]":
    """Train inside a memory budget: what does not fit lives on a drive, and no bit of any result changes.

    Model, optimizer and step stay the user's own. Schedulers, clipping, accumulation of gradients, autocast, tied weights
    and frozen parameters work as they do without. The first steps run on demand and are recorded. From then on a plan says
    ahead of time what leaves memory and what comes back.

    Args:
        model: Its parameters and buffers come under the budget, as does whatever the step makes.
        optimizer: So do its state and the gradients.
        step: One whole training step, with ``optimizer.step()`` in it; called by `Training.step` with its arguments. Where
            your loop is no function, leave it out and write ``with training.one_step():`` around what one step does.
        budget_bytes: Fast memory for what can be moved, in bytes or as "3 GiB". Storages below 128 KiB, those shared with
            numpy or other processes, and temporaries inside operators come on top; `Training.result` says how much that is.
        flash: Folder on a local drive. The file there has no name and is gone when the process ends, however it ends. A
            sequence of folders, on a drive each, is used in turns, block by block: as fast as the slowest of them times
            their number.
        init: Fills the parameters and buffers that a module has on the meta device itself, for models too large to be
            built in memory: they are built in the budget, module by module. Without it, a module's
            ``reset_parameters()`` does, or the ``_init_weights`` that models of transformers have.
        restores: Bring everything back into memory at the end of the block. False, for models larger than memory: save
            before; what is on flash then is gone afterwards, and reading it ends the process.
        machine: This host, as `load_machine` reads it from what ``tmtrain machine measure`` wrote. Without it, the drive is
            measured on entering the block, which moves 192 MiB on each.
        objective: What plans minimise. By default time, and of what takes the same time bytes; "bytes" spares the drive,
            "writes" its life: then more is recomputed.
        monitor: Let the timing monitor watch the steps and, where durations or the drive's rate have changed for good, plan
            anew beside them. A new plan is on trial, and `Training.result` counts those that were adopted.

    Returns:
        What to enter by ``with``. Outside of the block all is in memory again; inside, tensors are to be used by torch's
        operators, ``.numpy()`` and ``torch.save`` in this thread: what reads their memory otherwise may find it closed,
        which ends the process.

    Raises:
        InputError: arguments that make no sense, or an unknown objective. On entering the block, a folder that cannot serve
            as flash.

    Example:
        >>> import tempfile, torch
        >>> model = torch.nn.Linear(512, 512)
        >>> optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
        >>> def step(x):
        ...     loss = model(x).square().mean()
        ...     loss.backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
        ...     return loss.item()
        >>> with tempfile.TemporaryDirectory(dir=".") as folder:
        ...     with train(model, optimizer, step, budget_bytes="5 MiB", flash=folder) as training:
        ...         losses = [training.step(torch.ones(64, 512)) for _ in range(4)]
        >>> [step.how for step in training.result.steps]
        ['on demand', 'on demand', 'planned', 'planned']
        >>> all(step.peak_bytes <= 5 * 2**20 for step in training.result.steps)
        True
    """
    from tmtrain.runtime.following.planned_step import OBJECTIVE
    from tmtrain.runtime.training.settings import TrainingSettings
    from tmtrain.runtime.training.training import Training

    folders = (flash,) if isinstance(flash, str | Path) else flash
    settings = TrainingSettings(
        model=model,
        optimizer=optimizer,
        step=step,
        budget_bytes=parse_budget(budget_bytes),
        flash=tuple(map(Path, folders)),
        init=init,
        restores=restores,
        machine=machine,
        objective=OBJECTIVE if objective is None else objective,
        monitor=monitor,
    )
    return Training(settings)


def load_checkpoint(path: str | Path) -> Any:
    """Read a checkpoint that `Training.save` wrote into memory, without a training.

    Returns:
        ``{"model": ..., "optimizer": ..., "rng": ..., "extra": ...}``: two state dicts for ``load_state_dict``, the state
        of torch's generator for ``torch.set_rng_state``, and what the caller had saved besides. ``"buffers"`` are those
        that are not persistent, ``"optimizer_class"`` is a name.

    Raises:
        FileFormatError: no checkpoint, or a damaged one.

    Example:
        >>> import tempfile, torch
        >>> model = torch.nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters())
        >>> with tempfile.TemporaryDirectory(dir=".") as folder:
        ...     with train(model, optimizer, lambda: None, budget_bytes="1 MiB", flash=folder) as training:
        ...         training.save(f"{folder}/last.safetensors", extra={"step": 7})
        ...     saved = load_checkpoint(f"{folder}/last.safetensors")
        >>> saved["extra"], model.load_state_dict(saved["model"])
        ({'step': 7}, <All keys matched successfully>)
    """
    from tmtrain.runtime.checkpoints.checkpoint import Checkpoint

    with Checkpoint(Path(path)) as checkpoint:
        return checkpoint.restored(checkpoint.tree, hold=lambda tensor, _: tensor)
