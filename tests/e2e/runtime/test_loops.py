"""Other people's loops in a budget: the same numbers, and clear refusals."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning.pytorch as lightning
import pytest
import torch
import transformers
from tests.support.thoroughness import rest_slow
from tests.support.trainings import SmallTraining, small_training

import tmtrain
from tmtrain.errors import InputError
from tmtrain.runtime.loops import huggingface
from tmtrain.runtime.loops import lightning as lightning_callback

BUDGET_BYTES = 8 << 20
STEPS = 8


def rows(small: SmallTraining, *, of: int) -> list[dict[str, torch.Tensor]]:
    batches = [small.batches(number) for number in range(of)]
    return [{name: batch[name][row] for name in batch} for batch in batches for row in range(2)]


def trainer_of(
    small: SmallTraining, folder: Path, callbacks: list[transformers.TrainerCallback], **changes: Any
) -> transformers.Trainer:
    usual: dict[str, Any] = {
        "max_steps": STEPS,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 2,
        "report_to": "none",
        "disable_tqdm": True,
        "use_cpu": True,
        "save_strategy": "no",
        "logging_strategy": "no",
        "dataloader_drop_last": True,
        "seed": 0,
    }
    arguments = transformers.TrainingArguments(str(folder), **usual | changes)
    data: Any = rows(small, of=2 * STEPS)
    return transformers.Trainer(
        small.model, arguments, train_dataset=data, eval_dataset=data, callbacks=callbacks
    )


def parameters_of(small: SmallTraining) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in small.model.parameters()]


def equal(some: list[torch.Tensor], others: list[torch.Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(some, others, strict=True))


@pytest.fixture
def callback(tmp_path: Path) -> Iterator[huggingface.BudgetTrainerCallback]:
    with huggingface.BudgetTrainerCallback(budget_bytes=BUDGET_BYTES, flash=tmp_path) as callback:
        yield callback


def test_the_trainer_of_transformers_computes_the_same(
    tmp_path: Path, callback: huggingface.BudgetTrainerCallback
) -> None:
    plain = small_training("gpt2")
    trainer_of(plain, tmp_path, []).train()
    kept = small_training("gpt2")
    trainer_of(kept, tmp_path, [callback]).train()
    assert equal(parameters_of(plain), parameters_of(kept))
    measured = callback.training.result
    assert [step.how for step in measured.steps[-2:]] == ["planned", "planned"]
    assert max(step.peak_bytes for step in measured.steps) <= BUDGET_BYTES
    assert sum(step.bytes_in for step in measured.steps) > 0


def test_it_evaluates_and_saves_in_between(
    tmp_path: Path, callback: huggingface.BudgetTrainerCallback
) -> None:
    kept = small_training("gpt2")
    changes = {"eval_strategy": "steps", "eval_steps": 3, "save_strategy": "steps", "save_steps": 5}
    trainer = trainer_of(kept, tmp_path, [callback], **changes)
    trainer.train()
    saved = tmtrain.load_checkpoint(tmp_path / f"checkpoint-{STEPS}" / "model.safetensors")
    assert equal([saved["model"][name] for name, _ in kept.model.named_parameters()], parameters_of(kept))
    assert saved["extra"]["global_step"] == STEPS
    assert sorted(path.name for path in (tmp_path / "checkpoint-5").iterdir()) == [
        "model.safetensors",
        "trainer_state.json",
    ]
    assert len([entry for entry in trainer.state.log_history if "eval_loss" in entry]) == 3  # after 3, 6, 8


def test_an_error_in_the_loop_gives_everything_back(tmp_path: Path) -> None:
    class Stops(transformers.TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 4:
                raise ZeroDivisionError

    small = small_training("gpt2")
    callback = huggingface.BudgetTrainerCallback(budget_bytes=BUDGET_BYTES, flash=tmp_path)
    with pytest.raises(ZeroDivisionError), callback:
        trainer_of(small, tmp_path, [callback, Stops()]).train()
    assert all(
        bool(torch.from_numpy(parameter.numpy()).isfinite().all()) for parameter in parameters_of(small)
    )


def test_what_it_cannot_keep_in_a_budget_is_refused(
    tmp_path: Path, callback: huggingface.BudgetTrainerCallback
) -> None:
    small = small_training("gpt2")
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "steps"}
    trainer = trainer_of(small, tmp_path, [callback], **best)
    with pytest.raises(InputError, match="load_best_model_at_end"):
        trainer.train()


EPOCH, WHOLE = 4, 6
"""Steps of an epoch, and of a run that may be interrupted."""


def interrupted_of(
    folder: Path, callbacks: list[transformers.TrainerCallback], *, save_at: int | None = None, **changes: Any
) -> tuple[SmallTraining, transformers.Trainer]:
    """A training with dropout, a schedule, and evaluations that draw from the generators; it is saved after a step."""
    small = small_training("gpt2")
    changes = {"max_steps": WHOLE, "eval_strategy": "steps", "eval_steps": 2, "warmup_steps": 2} | changes
    if save_at is not None:
        changes |= {"save_strategy": "steps", "save_steps": save_at, "save_total_limit": 1}
    trainer = trainer_of(small, folder, callbacks, **changes)
    trainer.train_dataset = rows(small, of=2 * EPOCH)  # pyright: ignore[reportAttributeAccessIssue]
    return small, trainer


class StopsAt(transformers.TrainerCallback):
    """Stops a training as somebody would, after it has saved."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> list[torch.Tensor]:
    """What the trainer of transformers leaves, without us."""
    small, trainer = interrupted_of(tmp_path_factory.mktemp("plain"), [])
    trainer.train()
    return parameters_of(small)


@pytest.mark.parametrize("save_at", [2, *rest_slow([3, EPOCH], quick=0)])
@pytest.mark.parametrize("logging", rest_slow(["no", "steps"]))
def test_a_resumed_trainer_has_the_bits_of_one_that_was_not_interrupted(
    tmp_path: Path, uninterrupted: list[torch.Tensor], save_at: int, logging: str
) -> None:
    changes = {"logging_strategy": logging, "logging_steps": 1}
    with huggingface.BudgetTrainerCallback(budget_bytes=BUDGET_BYTES, flash=tmp_path) as first:
        _, trainer = interrupted_of(tmp_path, [first, StopsAt(save_at)], save_at=save_at, **changes)
        with pytest.raises(KeyboardInterrupt):
            trainer.train()
    torch.manual_seed(99)
    with huggingface.BudgetTrainerCallback(budget_bytes=BUDGET_BYTES, flash=tmp_path) as second:
        resumed, trainer = interrupted_of(tmp_path, [second], **changes)
        with torch.no_grad():
            resumed.model.get_parameter("transformer.wte.weight").zero_()  # all comes from the file
        trainer.train(resume_from_checkpoint=True)
    assert trainer.state.global_step == WHOLE
    assert equal(parameters_of(resumed), uninterrupted)


@pytest.mark.slow
def test_a_checkpoint_that_is_not_the_one_the_trainer_resumes_from_is_refused(tmp_path: Path) -> None:
    runs = [tmp_path / "one", tmp_path / "two"]
    for folder in runs:
        with huggingface.BudgetTrainerCallback(budget_bytes=BUDGET_BYTES, flash=tmp_path) as kept:
            interrupted_of(folder, [kept], save_at=2, max_steps=2)[1].train()
    plain = tmp_path / "plain"
    interrupted_of(plain, [], save_at=2, max_steps=2)[1].train()
    cases = [
        (runs[1], tmp_path / "none", None, r"none.checkpoint-2 has no checkpoint: say .*resume_from=FOLDER"),
        (runs[1], runs[0], None, "one.checkpoint-2 is not the checkpoint whose state the trainer has loaded"),
        (plain, runs[0], None, "was not written in a budget"),
    ]
    for source, output, resume_from, match in cases:
        with huggingface.BudgetTrainerCallback(
            budget_bytes=BUDGET_BYTES, flash=tmp_path, resume_from=resume_from
        ) as kept:
            trainer = interrupted_of(output, [kept], max_steps=3)[1]
            with pytest.raises(InputError, match=match):
                trainer.train(resume_from_checkpoint=str(source / "checkpoint-2"))
    with huggingface.BudgetTrainerCallback(
        budget_bytes=BUDGET_BYTES, flash=tmp_path, resume_from=runs[1] / "checkpoint-2"
    ) as kept:
        trainer = interrupted_of(runs[0], [kept], max_steps=3)[1]
        trainer.train(resume_from_checkpoint=str(runs[1] / "checkpoint-2"))
    assert len(kept.training.result.steps) == 1


class Module(lightning.LightningModule):
    def __init__(self, small: SmallTraining) -> None:
        super().__init__()
        self.model, self.optimizer = small.model, small.optimizer

    def training_step(self, batch: dict[str, torch.Tensor], _: int) -> torch.Tensor:
        return self.model(**batch).loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return self.optimizer


def fit(small: SmallTraining, callbacks: list[lightning.Callback], **changes: Any) -> None:
    usual: dict[str, Any] = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "accumulate_grad_batches": 2,
        "enable_checkpointing": False,
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    data: Any = rows(small, of=2 * STEPS)
    loader = torch.utils.data.DataLoader(data, batch_size=2)
    lightning.Trainer(callbacks=callbacks, **usual | changes).fit(Module(small), loader)


def test_the_trainer_of_lightning_computes_the_same(tmp_path: Path) -> None:
    plain = small_training("gpt2")
    fit(plain, [])
    kept = small_training("gpt2")
    callback = lightning_callback.BudgetCallback(budget_bytes=BUDGET_BYTES, flash=tmp_path)
    fit(kept, [callback])
    assert equal(parameters_of(plain), parameters_of(kept))
    steps = callback.training.result.steps
    assert len(steps) == STEPS
    assert steps[-1].how == "planned"
    assert max(step.peak_bytes for step in steps) <= BUDGET_BYTES


class Stops(lightning.Callback):
    """Ends a training as somebody would, when the second epoch begins."""

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        if trainer.current_epoch == 1:
            raise ZeroDivisionError


def fit_two_epochs(
    small: SmallTraining, folder: Path, *callbacks: lightning.Callback, ckpt_path: Any = None
) -> None:
    data: Any = rows(small, of=EPOCH)
    keeps = lightning.callbacks.ModelCheckpoint(folder, every_n_epochs=1, save_top_k=-1, filename="{epoch}")
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[*callbacks, keeps],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    torch.manual_seed(7 if ckpt_path is None else 8)
    trainer.fit(
        Module(small), torch.utils.data.DataLoader(data, batch_size=2, shuffle=True), ckpt_path=ckpt_path
    )


def test_lightning_resumes_from_its_checkpoints_with_the_same_bits(tmp_path: Path) -> None:
    def budget() -> lightning_callback.BudgetCallback:
        return lightning_callback.BudgetCallback(budget_bytes=BUDGET_BYTES, flash=tmp_path)

    plain = small_training("gpt2")
    fit_two_epochs(plain, tmp_path / "plain")
    with pytest.raises(ZeroDivisionError):
        fit_two_epochs(small_training("gpt2"), tmp_path / "kept", budget(), Stops())
    resumed = small_training("gpt2")
    fit_two_epochs(resumed, tmp_path / "kept", budget(), ckpt_path=tmp_path / "kept" / "epoch=0.ckpt")
    assert equal(parameters_of(resumed), parameters_of(plain))
    saved = tmtrain.load_checkpoint(tmp_path / "kept" / "epoch=1.ckpt")["lightning"]
    assert saved["global_step"] == 2 * EPOCH
    again = small_training("gpt2")  # a checkpoint that was written without a budget
    fit_two_epochs(again, tmp_path / "more", budget(), ckpt_path=tmp_path / "plain" / "epoch=0.ckpt")
