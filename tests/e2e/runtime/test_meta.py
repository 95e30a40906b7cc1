"""Models that begin on the meta device: built in the budget, trained in it, and left without coming back."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import transformers

from tmtrain import load_checkpoint, train
from tmtrain.errors import InputError
from tmtrain.runtime.training.materialise import materialise

BUDGET_BYTES = 12 << 20
STEPS = 4


def llama() -> torch.nn.Module:
    config = transformers.LlamaConfig(
        vocab_size=2048, hidden_size=256, intermediate_size=688, num_hidden_layers=4, num_attention_heads=4
    )
    config.use_cache = False
    model = transformers.LlamaForCausalLM(config)
    model.loss_type = "ForCausalLM"
    return model.train()


def draw(module: torch.nn.Module) -> None:
    """Fill a module of its own dice."""
    for parameter in module.parameters(recurse=False):
        torch.nn.init.normal_(parameter, std=0.02)
    if isinstance(module, torch.nn.Module) and hasattr(module, "original_inv_freq"):
        inverse, _ = module.compute_default_rope_parameters(module.config)  # pyright: ignore
        module.inv_freq.copy_(inverse)  # pyright: ignore
        module.original_inv_freq.copy_(inverse)  # pyright: ignore


def stepper(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> float:
    tokens = torch.arange(128).reshape(2, 64)
    loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def test_a_model_on_the_meta_device_is_built_in_the_budget(tmp_path: Path) -> None:
    torch.manual_seed(1)
    plain = llama()
    torch.manual_seed(7)
    with torch.no_grad():
        for module in plain.modules():
            draw(module)
    usual = torch.optim.AdamW(plain.parameters(), foreach=False)
    expected = [stepper(plain, usual) for _ in range(STEPS)]

    with torch.device("meta"):
        model = llama()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    torch.manual_seed(7)
    with train(
        model,
        optimizer,
        lambda: stepper(model, optimizer),
        budget_bytes=BUDGET_BYTES,
        flash=tmp_path,
        init=draw,
    ) as training:
        assert training._session.tier.counts.peak_bytes <= BUDGET_BYTES  # pyright: ignore[reportPrivateUsage]
        assert training._session.tier.managed_bytes > BUDGET_BYTES  # pyright: ignore[reportPrivateUsage]
        losses = [training.step() for _ in range(STEPS)]
    assert losses == expected
    for one, other in zip(plain.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_models_of_transformers_know_how_they_begin(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = llama()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)
    with train(
        model, optimizer, lambda: stepper(model, optimizer), budget_bytes=BUDGET_BYTES, flash=tmp_path
    ) as training:
        assert training.step() == pytest.approx(torch.log(torch.tensor(2048.0)).item(), rel=0.05)


def test_what_nobody_fills_is_refused() -> None:
    class Scaled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = torch.nn.Parameter(torch.empty(3))

    class Resettable(Scaled):
        def reset_parameters(self) -> None:
            pass

    with torch.device("meta"):
        unknown, forgotten = torch.nn.Sequential(Scaled()), torch.nn.Sequential(Resettable())
    with pytest.raises(
        InputError, match=r"module '0' \(Scaled\) is on the meta device and has no reset_parameters"
    ):
        materialise(unknown, None)
    with pytest.raises(InputError, match=r"nothing was put into scale of module '0' \(Resettable\)"):
        materialise(forgotten, None)


def test_tied_tensors_stay_tied() -> None:
    with torch.device("meta"):
        model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
        model[1].weight = model[0].weight
    materialise(model, None)
    assert model[1].weight is model[0].weight
    assert not model[0].weight.is_meta


_LEAVES = """
import sys, torch, tmtrain
model = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(8)))
optimizer = torch.optim.SGD(model.parameters())
def step():
    model(torch.ones(64, 512)).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()
with tmtrain.train(model, optimizer, step, budget_bytes="5 MiB", flash=sys.argv[1], restores=False) as training:
    for _ in range(4):
        training.step()
    training.save(sys.argv[1] + "/last.safetensors")
print("left", flush=True)
total = sum(parameter.sum().item() for parameter in model.parameters())
print("read", total)
"""


def test_without_restoring_what_is_out_is_gone_but_never_zeros(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEAVES, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONFAULTHANDLER": ""},
    )
    assert done.stdout == "left\n", done.stderr
    assert done.returncode < 0
    saved = load_checkpoint(tmp_path / "last.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in saved["model"].values())


def test_more_on_flash_than_memory_is_free_for_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tmtrain.errors import InfeasibleError

    model = torch.nn.Sequential(*(torch.nn.Linear(512, 512) for _ in range(8)))
    optimizer = torch.optim.SGD(model.parameters())
    training = train(model, optimizer, lambda: None, budget_bytes="3 MiB", flash=tmp_path)
    training.__enter__()
    monkeypatch.setattr("tmtrain.runtime.training.session.available_bytes", lambda: 1000)
    with pytest.raises(InfeasibleError, match="restores=False"):
        training.__exit__(None, None, None)
