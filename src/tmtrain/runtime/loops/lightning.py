"""For those whose loop is Lightning's `Trainer`: the same training in a budget, as a callback."""

from typing import Any

import lightning.pytorch as lightning

from tmtrain.errors import InputError
from tmtrain.runtime.loops.generators import set_random_states
from tmtrain.runtime.loops.lightning_checkpoint import BudgetCheckpointIO
from tmtrain.runtime.loops.loop import Loop
from tmtrain.runtime.training.training import Training
from tmtrain.runtime.verbs import Folders


class BudgetCallback(lightning.Callback):
    """Keeps a `lightning.Trainer` inside a memory budget, as `tmtrain.train` does with a step of your own.

    A step is all batches whose gradients are accumulated, with what the optimizer does at their end. Validation runs in
    the budget too, on demand. Lightning's checkpoints are written within the budget, as safetensors, whatever their names
    end in, and ``trainer.fit(..., ckpt_path=...)`` takes them (and those that were written without a budget). They hold the
    states of the random generators, too, so a run that is resumed between epochs has the bits of one that was never
    interrupted. In the middle of an epoch Lightning itself begins the data anew.

    Args:
        budget_bytes: As of `tmtrain.train`.
        flash: As of `tmtrain.train`.

    Raises:
        InputError: when the training begins, on another device than the CPU or several, or with several optimizers.

    Example:
        >>> import tempfile, torch
        >>> class Line(lightning.LightningModule):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.layer = torch.nn.Linear(512, 512)
        ...     def training_step(self, batch, _):
        ...         return self.layer(batch).square().mean()
        ...     def configure_optimizers(self):
        ...         return torch.optim.AdamW(self.parameters())
        >>> with tempfile.TemporaryDirectory(dir=".") as folder:
        ...     budget = BudgetCallback(budget_bytes="5 MiB", flash=folder)
        ...     trainer = lightning.Trainer(
        ...         accelerator="cpu", max_epochs=1, callbacks=[budget], enable_checkpointing=False, logger=False,
        ...         enable_progress_bar=False, enable_model_summary=False,
        ...     )
        ...     trainer.fit(Line(), torch.utils.data.DataLoader(torch.ones(256, 512), batch_size=64))
        >>> [step.how for step in budget.training.result.steps]
        ['on demand', 'on demand', 'planned', 'planned']
    """

    def __init__(self, *, budget_bytes: int | str, flash: Folders) -> None:
        super().__init__()
        self._loop = Loop(budget_bytes=budget_bytes, flash=flash)
        self._files: BudgetCheckpointIO | None = None

    @property
    def training(self) -> Training[[], None]:
        """The training, once it has begun."""
        return self._loop.training

    def setup(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, stage: str) -> None:
        """Let checkpoints be written and read by us."""
        self._files = BudgetCheckpointIO(self._loop)
        trainer.strategy.checkpoint_io = self._files

    def on_fit_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Put the generators where they were, before any data is drawn."""
        if self._files is not None and self._files.random is not None:
            set_random_states(self._files.random)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Put module and optimizer under the budget."""
        _check(trainer)
        self._loop.begin(pl_module, trainer.optimizers[0])

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Begin a step with its first batch."""
        if batch_idx % trainer.accumulate_grad_batches == 0:
            self._loop.begin_step()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """End it with its last batch."""
        if trainer.is_last_batch or (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self._loop.end_step()

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Bring everything back into memory."""
        self._loop.end()

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Likewise."""
        self._loop.end(exception)


def _check(trainer: lightning.Trainer) -> None:
    device = trainer.strategy.root_device
    if device.type != "cpu" or trainer.world_size > 1:
        raise InputError(
            f"the trainer computes on {trainer.world_size} x {device}, a budget can be kept on one CPU: say "
            'accelerator="cpu", devices=1'
        )
    if len(trainer.optimizers) != 1:
        raise InputError(f"the module has {len(trainer.optimizers)} optimizers, one is needed")
