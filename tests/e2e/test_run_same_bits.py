"""Law 2: steps under a budget leave the same bits as steps without one."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from tmtrain.errors import InfeasibleError
from tmtrain.run.flash import FlashFile
from tmtrain.run.mover import Mover
from tmtrain.run.pages import keep_large_blocks_apart
from tmtrain.run.residence import Residence
from tmtrain.run.tier import Tier

MIB = 1 << 20
STEPS = 3


def _training() -> tuple[torch.nn.Module, torch.optim.Optimizer, Callable[[], float]]:
    torch.manual_seed(0)
    config = transformers.GPT2Config(n_layer=2, n_embd=128, n_head=4, vocab_size=2048, n_positions=128)
    config.use_cache = False
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.loss_type = "ForCausalLM"
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, foreach=False, fused=False)
    tokens = torch.randint(0, 2048, (8, 128))

    def step() -> float:
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return model, optimizer, step


def _digest(model: torch.nn.Module, optimizer: torch.optim.Optimizer, losses: list[float]) -> str:
    digest = hashlib.sha256(repr(losses).encode())
    for parameter in model.parameters():
        state = optimizer.state[parameter]
        for tensor in (parameter.detach(), state["exp_avg"], state["exp_avg_sq"]):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _run(folder: Path, budget_bytes: int) -> tuple[str, Tier]:
    model, optimizer, step = _training()
    flash = FlashFile(folder, size_bytes=256 * MIB)
    tier = Tier(flash=flash, mover=Mover(flash), budget_bytes=budget_bytes)
    residence = Residence(tier)
    for parameter in model.parameters():
        residence.adopt(parameter)
    with residence:
        losses = [step() for _ in range(STEPS)]
    tier.close()
    return _digest(model, optimizer, losses), tier


@pytest.fixture(scope="module", autouse=True)
def _alike() -> None:  # pyright: ignore[reportUnusedFunction]
    keep_large_blocks_apart()
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def untouched() -> str:
    model, optimizer, step = _training()
    return _digest(model, optimizer, [step() for _ in range(STEPS)])


@pytest.mark.parametrize("budget", [1000, 48, 32])
def test_a_budget_changes_no_bit(budget: int, untouched: str, tmp_path: Path) -> None:
    digest, tier = _run(tmp_path, budget * MIB)
    assert digest == untouched
    assert tier.counts.peak_bytes <= budget * MIB
    assert (tier.counts.misses > 0) == (budget < 100)


def test_a_budget_below_one_operator_is_refused_with_its_need(tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match=r"operator \d+ needs .* the budget has 4.00 MiB"):
        _run(tmp_path, 4 * MIB)
