"""Checkpoints of a training in a budget: what is in them, that resuming changes no bit, and that damage is refused."""

import datetime
from pathlib import Path

import pytest
import safetensors
import torch
from tests.support.checkpoints import assert_same
from tests.support.thoroughness import rest_slow
from tests.support.trainings import SmallTraining, small_training

import tmtrain
from tmtrain.errors import FileFormatError, InputError

BUDGET = "8 MiB"
BEFORE, AFTER = 3, 3
RESUMED = rest_slow([("gpt2", "adamw"), ("resnet", "sgd"), ("t5", "adafactor")])


def trained(small: SmallTraining, *, steps: range) -> list[float]:
    return [small.step(small.batches(number)) for number in steps]


@pytest.mark.parametrize(("name", "optimizer"), RESUMED)
def test_a_resumed_training_goes_on_bit_for_bit(tmp_path: Path, name: str, optimizer: str) -> None:
    whole = small_training(name, optimizer=optimizer)
    expected = whole.digest(trained(whole, steps=range(BEFORE + AFTER))[BEFORE:])
    first = small_training(name, optimizer=optimizer)
    with tmtrain.train(
        first.model, first.optimizer, first.step, budget_bytes=BUDGET, flash=tmp_path
    ) as training:
        for number in range(BEFORE):
            training.step(first.batches(number))
        training.save(tmp_path / "saved.safetensors", extra={"next": BEFORE})
        assert training._session.tier.counts.peak_bytes <= 8 << 20  # pyright: ignore[reportPrivateUsage]
    torch.manual_seed(99)
    second = small_training(name, optimizer=optimizer)
    trained(second, steps=range(50, 51))  # other weights, other state
    torch.manual_seed(123)
    with tmtrain.train(
        second.model, second.optimizer, second.step, budget_bytes=BUDGET, flash=tmp_path
    ) as training:
        begin = training.load(tmp_path / "saved.safetensors")["next"]
        losses = [training.step(second.batches(number)) for number in range(begin, begin + AFTER)]
    assert second.digest(losses) == expected


def test_a_checkpoint_holds_what_torch_would_have_saved(tmp_path: Path) -> None:
    plain = small_training("gpt2")
    trained(plain, steps=range(BEFORE))
    kept = small_training("gpt2")
    with tmtrain.train(
        kept.model, kept.optimizer, kept.step, budget_bytes=BUDGET, flash=tmp_path
    ) as training:
        for number in range(BEFORE):
            training.step(kept.batches(number))
        training.save(tmp_path / "saved.safetensors")
    saved = tmtrain.load_checkpoint(tmp_path / "saved.safetensors")
    assert_same(saved["model"], plain.model.state_dict())
    assert_same(saved["optimizer"], plain.optimizer.state_dict())
    assert saved["model"]["lm_head.weight"] is saved["model"]["transformer.wte.weight"]  # tied: held once
    with safetensors.safe_open(tmp_path / "saved.safetensors", framework="pt") as opened:
        name = "optimizer.state.0.exp_avg"
        assert torch.equal(opened.get_tensor(name), saved["optimizer"]["state"][0]["exp_avg"])
    other = small_training("gpt2")
    other.model.load_state_dict(saved["model"])
    other.optimizer.load_state_dict(saved["optimizer"])
    torch.set_rng_state(saved["rng"])
    resumed = trained(other, steps=range(BEFORE, BEFORE + 1))
    plain = small_training("gpt2")
    assert trained(plain, steps=range(BEFORE + 1))[-1:] == resumed


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    small = small_training("resnet", optimizer="sgd")
    with tmtrain.train(
        small.model, small.optimizer, small.step, budget_bytes=BUDGET, flash=folder
    ) as training:
        training.step(small.batches(0))
        training.save(
            folder / "saved.safetensors", extra=(1, "two", None, [3.5], torch.ones(2, dtype=torch.bool))
        )
    return folder / "saved.safetensors"


def test_what_the_caller_saves_comes_back_as_it_was(checkpoint: Path) -> None:
    number, text, none, floats, flags = tmtrain.load_checkpoint(checkpoint)["extra"]
    assert (number, text, none, floats, flags.tolist()) == (1, "two", None, [3.5], [True, True])


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_cut_checkpoint_is_refused(checkpoint: Path, tmp_path: Path, keep: int) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(checkpoint.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match=r"cut\.safetensors"):
        tmtrain.load_checkpoint(cut)


def test_a_flipped_bit_is_found(checkpoint: Path, tmp_path: Path) -> None:
    content = bytearray(checkpoint.read_bytes())
    content[-1000] ^= 1
    (tmp_path / "flipped.safetensors").write_bytes(content)
    with pytest.raises(FileFormatError, match="is not what was written"):
        tmtrain.load_checkpoint(tmp_path / "flipped.safetensors")


def test_another_model_or_optimizer_is_refused_before_anything_changes(
    checkpoint: Path, tmp_path: Path
) -> None:
    other = small_training("vit")
    before = other.digest([])
    with (
        tmtrain.train(
            other.model, other.optimizer, other.step, budget_bytes=BUDGET, flash=tmp_path
        ) as training,
        pytest.raises(InputError, match=r"of another model: .* is in"),
    ):
        training.load(checkpoint)
    assert other.digest([]) == before
    part = small_training("resnet", optimizer="sgd")
    fewer = torch.optim.SGD(list(part.model.parameters())[:3], lr=1e-2)
    with (
        tmtrain.train(part.model, fewer, part.step, budget_bytes=BUDGET, flash=tmp_path) as training,
        pytest.raises(InputError, match="of another optimizer: its groups have"),
    ):
        training.load(checkpoint)


def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "kept.safetensors"
    path.write_bytes(checkpoint.read_bytes())
    small = small_training("resnet", optimizer="sgd")
    with tmtrain.train(
        small.model, small.optimizer, small.step, budget_bytes=BUDGET, flash=tmp_path
    ) as training:
        with pytest.raises(InputError, match=r"extra\.when is a date: a checkpoint holds"):
            training.save(path, extra={"when": datetime.date(2026, 1, 1)})
        with pytest.raises(InputError, match="cannot write the checkpoint"):
            training.save(checkpoint / "below a file")
    assert path.read_bytes() == checkpoint.read_bytes()
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept.safetensors"]


def test_before_the_block_there_is_nothing_to_save(tmp_path: Path) -> None:
    small = small_training("resnet", optimizer="sgd")
    training = tmtrain.train(small.model, small.optimizer, small.step, budget_bytes=BUDGET, flash=tmp_path)
    with pytest.raises(InputError, match="has not begun"):
        training.save(tmp_path / "none.safetensors")
