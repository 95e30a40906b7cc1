"""For those whose loop is Hugging Face's `Trainer`: the same training in a budget, as a callback."""

from pathlib import Path
from typing import Any, Self

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from tmtrain.errors import InputError
from tmtrain.runtime.loops.loop import Loop
from tmtrain.runtime.training.training import Training
from tmtrain.runtime.verbs import Folders


class BudgetTrainerCallback(TrainerCallback):
    """Keeps a `transformers.Trainer` inside a memory budget, as `tmtrain.train` does with a step of your own.

    A step is what the trainer takes for one: all batches whose gradients are accumulated, clipping, optimizer, scheduler.
    Evaluation runs in the budget too, on demand. Where the trainer would save, `Training.save` does instead, into
    ``checkpoint-N.safetensors`` with the scheduler's state and the number of the step as its extra. To go on from one, call
    ``callback.training.load`` in the ``on_train_begin`` of a callback that comes after this one.

    Enter it by ``with`` where an error must not leave the rest of the program under the budget; else the end of the
    training lets go.

    Args:
        budget_bytes: As of `tmtrain.train`.
        flash: As of `tmtrain.train`.

    Raises:
        InputError: when the training begins, on another device than the CPU, with DeepSpeed or FSDP, or where the best
            checkpoint is to be loaded at the end: the trainer looks for it in a form of its own.

    Example:
        >>> import tempfile, torch, transformers
        >>> config = transformers.GPT2Config(n_layer=1, n_embd=128, n_head=2, vocab_size=1000, use_cache=False)
        >>> rows = [{"input_ids": [7] * 32, "labels": [7] * 32} for _ in range(8)]
        >>> with tempfile.TemporaryDirectory(dir=".") as folder:
        ...     budget = BudgetTrainerCallback(budget_bytes="4 MiB", flash=folder)
        ...     arguments = transformers.TrainingArguments(
        ...         folder, max_steps=4, per_device_train_batch_size=2, report_to="none", disable_tqdm=True, use_cpu=True,
        ...         save_strategy="no", logging_strategy="no",
        ...     )
        ...     trainer = transformers.Trainer(
        ...         transformers.GPT2LMHeadModel(config), arguments, train_dataset=rows, callbacks=[budget]
        ...     )
        ...     trainer.remove_callback(transformers.PrinterCallback)
        ...     _ = trainer.train()
        >>> [step.how for step in budget.training.result.steps]
        ['on demand', 'on demand', 'planned', 'planned']
    """

    def __init__(self, *, budget_bytes: int | str, flash: Folders) -> None:
        self._loop = Loop(budget_bytes=budget_bytes, flash=flash)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self._loop.end(error)

    @property
    def training(self) -> Training[[], None]:
        """The training, once it has begun."""
        return self._loop.training

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put model and optimizer under the budget."""
        _check(args)
        optimizer: torch.optim.Optimizer = kwargs["optimizer"]
        self._loop.begin(kwargs["model"], getattr(optimizer, "optimizer", optimizer))  # accelerate wraps it

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin a step."""
        self._loop.begin_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End it, and save where the trainer wants to."""
        self._loop.end_step()
        self._save(args, state, control, kwargs["lr_scheduler"])

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save where the trainer wants to."""
        self._save(args, state, control, kwargs["lr_scheduler"])

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Bring everything back into memory."""
        self._loop.end()

    def _save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, scheduler: Any
    ) -> None:
        if control.should_save:
            control.should_save = False  # it would read memory past torch
            folder = Path(args.output_dir or ".")
            folder.mkdir(parents=True, exist_ok=True)
            extra = {"global_step": state.global_step, "lr_scheduler": scheduler.state_dict()}
            self.training.save(folder / f"checkpoint-{state.global_step}.safetensors", extra=extra)


def _check(args: TrainingArguments) -> None:
    if args.device.type != "cpu":
        raise InputError(
            f"the trainer computes on {args.device}, a budget can be kept on the CPU: say use_cpu=True"
        )
    if args.deepspeed or args.fsdp:
        raise InputError(
            "DeepSpeed and FSDP move parameters themselves: leave them out of the trainer's arguments"
        )
    if args.load_best_model_at_end:
        raise InputError(
            "load_best_model_at_end looks for checkpoints of the trainer's own form: leave it out, and load the "
            "one you want by tmtrain.load_checkpoint"
        )
