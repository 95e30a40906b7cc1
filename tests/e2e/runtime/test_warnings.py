"""Warnings point at the user's line, whoever's loop it is."""

import linecache
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import transformers

from tmtrain import train
from tmtrain.runtime.loops.huggingface import BudgetTrainerCallback
from tmtrain.runtime.training import step_plans

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _one_try(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """A step that leaves more than it found cannot be planned; that is warned of at the first one that is recorded."""
    monkeypatch.setattr(step_plans, "MOST_TRIES", 1)


@contextmanager
def warned_at_the_marked_line() -> Iterator[None]:
    """Expect one warning of ours, at a line that says so."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    (ours,) = [warning for warning in caught if "no plan could be made" in str(warning.message)]
    assert Path(ours.filename) == Path(__file__)
    assert linecache.getline(ours.filename, ours.lineno).endswith("# here\n")


def small_step() -> tuple[torch.nn.Module, torch.optim.Optimizer, Callable[[], None]]:
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(model.parameters())
    kept: list[torch.Tensor] = []

    def step() -> None:
        kept.append(torch.zeros(8))
        model(torch.ones(2, 8)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    return model, optimizer, step


def test_a_step_of_the_users_loop(tmp_path: Path) -> None:
    model, optimizer, step = small_step()
    with train(model, optimizer, step, budget_bytes=8 * MIB, flash=tmp_path) as training:
        training.step()
        with warned_at_the_marked_line():
            training.step()  # here


def test_a_block_of_the_users_loop(tmp_path: Path) -> None:
    model, optimizer, step = small_step()
    with train(model, optimizer, budget_bytes=8 * MIB, flash=tmp_path) as training:
        with training.one_step():
            step()
        with warned_at_the_marked_line():  # noqa: SIM117
            with training.one_step():  # here
                step()


def test_the_loop_of_others(tmp_path: Path) -> None:
    config = transformers.GPT2Config(
        n_layer=1, n_embd=16, n_head=2, vocab_size=64, bos_token_id=0, eos_token_id=0, use_cache=False
    )
    rows = [{"input_ids": [7] * 8, "labels": [7] * 8} for _ in range(16)]
    arguments = transformers.TrainingArguments(
        str(tmp_path),
        max_steps=2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        save_strategy="no",
        logging_strategy="no",
    )
    model = transformers.GPT2LMHeadModel(config)
    kept: list[torch.Tensor] = []
    model.register_forward_hook(lambda *_: kept.append(torch.zeros(8)))
    with BudgetTrainerCallback(budget_bytes=8 * MIB, flash=tmp_path) as callback:
        trainer = transformers.Trainer(model, arguments, train_dataset=rows, callbacks=[callback])
        with warned_at_the_marked_line():
            trainer.train()  # here
