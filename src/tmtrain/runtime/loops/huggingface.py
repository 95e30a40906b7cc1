"""For those whose loop is Hugging Face's `Trainer`: the same training in a budget, as a callback."""

from pathlib import Path
from typing import Any, Self

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy

from tmtrain.errors import InputError
from tmtrain.runtime.loops.generators import set_random_states
from tmtrain.runtime.loops.huggingface_checkpoint import load_trainer, save_trainer
from tmtrain.runtime.loops.loop import Loop
from tmtrain.runtime.training.training import Training
from tmtrain.runtime.verbs import Folders


class BudgetTrainerCallback(TrainerCallback):
    """Keeps a `transformers.Trainer` inside a memory budget, as `tmtrain.train` does with a step of your own.

    A step is what the trainer takes for one: all batches whose gradients are accumulated, clipping, optimizer, scheduler.
    Evaluation runs in the budget too, on demand. Where the trainer would save, `Training.save` does instead, into a folder
    ``checkpoint-N`` that ``trainer.train(resume_from_checkpoint=...)`` takes: a resumed run has the bits of one that was
    never interrupted. What only the trainer knows is not in it (``total_flos``, states of callbacks).

    Enter it by ``with`` where an error must not leave the rest of the program under the budget; else the end of the
    training lets go.

    Args:
        budget_bytes: As of `tmtrain.train`.
        flash: As of `tmtrain.train`.
        resume_from: The folder that ``resume_from_checkpoint`` has, where it is not in the trainer's ``output_dir``.

    Raises:
        InputError: when the training begins, on another device than the CPU, with DeepSpeed or FSDP, where the best
            checkpoint is to be loaded at the end or only better ones are to be saved, or where the checkpoint to resume
            from is none of ours.

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

    def __init__(
        self, *, budget_bytes: int | str, flash: Folders, resume_from: str | Path | None = None
    ) -> None:
        self._loop = Loop(budget_bytes=budget_bytes, flash=flash)
        self._resume_from = resume_from
        self._random: dict[str, Any] | None = None
        """Where the generators were when the checkpoint was saved, until they are there again."""
        self._awaited: set[str] = set()
        """What the trainer does yet before it would save."""

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

        if state.global_step:  # of the checkpoint that the trainer has loaded
            self._random = load_trainer(
                self.training, args, state, scheduler=kwargs["lr_scheduler"], folder=self._resume_from
            )

    def on_epoch_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Put the generators where they were, if a whole number of epochs was trained."""
        if self._random is not None and (float(state.epoch or 0).is_integer() or args.ignore_data_skip):
            self._resume_random()

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Begin a step; in the middle of an epoch the trainer has passed over batches before the first one."""
        self._save_late(args, state, kwargs)
        self._resume_random()
        self._loop.begin_step()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """End it, and save where the trainer wants to."""
        self._loop.end_step()
        self._save(args, state, control, kwargs)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save, if that was the last thing before it."""
        self._save_after("log", args, state, kwargs)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Likewise."""
        self._save_after("evaluate", args, state, kwargs)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save where the trainer wants to."""
        self._save_late(args, state, kwargs)
        self._save(args, state, control, kwargs)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Bring everything back into memory."""
        self._save_late(args, state, kwargs)
        self._loop.end()

    def _save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, known: dict[str, Any]
    ) -> None:
        """Save when the trainer would: once it has logged and evaluated, which moves the generators on."""
        if not control.should_save:
            return
        control.should_save = False  # it would read memory past torch
        has_logged = any(
            "loss" in entry and entry["step"] == state.global_step for entry in state.log_history
        )
        awaited = {"log": control.should_log and not has_logged, "evaluate": control.should_evaluate}
        self._awaited = {what for what, comes in awaited.items() if comes}
        if not self._awaited:
            self._save_now(args, state, known)

    def _save_after(
        self, what: str, args: TrainingArguments, state: TrainerState, known: dict[str, Any]
    ) -> None:
        if what in self._awaited:
            self._awaited.discard(what)
            if not self._awaited:
                self._save_now(args, state, known)

    def _save_late(self, args: TrainingArguments, state: TrainerState, known: dict[str, Any]) -> None:
        """Save what waits for something that did not come."""
        if self._awaited:
            self._awaited.clear()
            self._save_now(args, state, known)

    def _save_now(self, args: TrainingArguments, state: TrainerState, known: dict[str, Any]) -> None:
        save_trainer(self.training, args, state, scheduler=known["lr_scheduler"])

    def _resume_random(self) -> None:
        if self._random is not None:
            set_random_states(self._random)
            self._random = None


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
    if args.save_strategy == SaveStrategy.BEST:
        raise InputError(
            'save_strategy="best" saves in the trainer\'s own form, past the budget: say "steps" or "epoch"'
        )
