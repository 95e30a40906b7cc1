"""Operators whose results nobody can foretell run in the budget, leave the same bits, and their steps are planned."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.support.thoroughness import rest_slow

from tmtrain import RunResult, train
from tmtrain.runtime.tier.pages import keep_large_blocks_apart

MIB = 1 << 20
WIDTH = 512
STEPS = 4
F = torch.nn.functional
Loss = Callable[[torch.Tensor], torch.Tensor]


@torch.library.custom_op("tmtrain_tests::doubled", mutates_args=())
def _doubled(x: torch.Tensor) -> torch.Tensor:
    """Without a fake."""
    return x * 2


_doubled.register_autograd(lambda _, gradient: gradient * 2)


def _routed(y: torch.Tensor) -> torch.Tensor:
    """As mixtures of experts do it: rows go where their values say."""
    out = torch.zeros_like(y)
    for expert in range(4):
        rows = torch.where(y[:, 0].mul(100).long().abs() % 4 == expert)[0]
        out = out.index_add(0, rows, F.gelu(y[rows]) * (expert + 1))
    return out.square().mean()


LOSSES: dict[str, Loss] = {
    "rows by a mask": lambda y: F.gelu(y[y[:, 0] > 0] * 2).square().sum(),
    "an operator without a fake": lambda y: _doubled(y).square().mean(),
    "elements by a mask": lambda y: y[y > 0].square().mean(),
    "nonzero": lambda y: y[(y[:, 0] > 0).nonzero().squeeze(1)].square().sum(),
    "unique": lambda y: y[torch.unique((y[:, 0] * 100).long() % WIDTH)].square().mean(),
    "unique values": lambda y: torch.unique(y.detach()).mean() + y.square().mean(),
    "masked select": lambda y: torch.masked_select(y, y > 0).square().mean(),
    "assignment by a mask": lambda y: y.clone().index_put_((y > 0,), torch.zeros(())).square().mean(),
    "repeated rows": lambda y: y.repeat_interleave((y[:, 0] > 0).long() + 1, dim=0).square().mean(),
    "routed rows": _routed,
}


@pytest.fixture(scope="module", autouse=True)
def _alike() -> None:  # pyright: ignore[reportUnusedFunction]
    keep_large_blocks_apart()
    torch.set_num_threads(1)


def _trained(
    loss: Loss, *, flash: Path | None = None, budget_bytes: int = 0
) -> tuple[list[float], RunResult | None]:
    """Train four layers of 1 MiB for some steps; return all losses and what is left of the parameters."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH) for _ in range(4)))
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)

    def step(number: int) -> float:
        torch.manual_seed(number)
        value = loss(model(torch.randn(WIDTH, WIDTH)) + 0.01 * number)
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return value.item()

    result = None
    if flash is None:
        seen = [step(number) for number in range(STEPS)]
    else:
        with train(model, optimizer, step, budget_bytes=budget_bytes, flash=flash) as training:
            seen = [training.step(number) for number in range(STEPS)]
            result = training.result
    return seen + [parameter.sum().item() for parameter in model.parameters()], result


@pytest.mark.parametrize("name", rest_slow(LOSSES, quick=2))
def test_they_are_run_counted_and_planned(name: str, tmp_path: Path) -> None:
    expected, _ = _trained(LOSSES[name])
    seen, result = _trained(LOSSES[name], flash=tmp_path, budget_bytes=8 * MIB)
    assert seen == expected
    assert result is not None
    assert all(step.peak_bytes <= 8 * MIB for step in result.steps)
    assert [step.how for step in result.steps] == ["on demand"] * 2 + ["planned"] * 2
    assert result.steps[-1].bytes_in > 0


@pytest.mark.slow
def test_a_workspace_that_no_shape_tells_of_is_counted_and_has_its_room(tmp_path: Path) -> None:
    """The layers of an LSTM make 16 MiB each for backward, where their results have 1."""

    def trained(flash: Path | None) -> tuple[list[float], RunResult | None]:
        torch.manual_seed(0)
        model = torch.nn.LSTM(256, 256, 2)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)

        def step() -> float:
            value = model(torch.randn(128, 8, 256))[0].square().mean()
            value.backward()
            optimizer.step()
            optimizer.zero_grad()
            return value.item()

        if flash is None:
            return [step() for _ in range(4)], None
        with train(model, optimizer, step, budget_bytes=26 * MIB, flash=flash) as training:
            return [training.step() for _ in range(4)], training.result

    expected, _ = trained(None)
    seen, result = trained(tmp_path)
    assert seen == expected
    assert result is not None
    assert all(step.peak_bytes <= 26 * MIB for step in result.steps)
    assert result.steps[-1].bytes_out > 0
    assert not result.notes


@pytest.mark.slow
def test_what_exceeds_the_budget_once_is_said_and_has_its_room_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmtrain.runtime.dispatch.allocations._MAKES_MORE", frozenset())
    with pytest.warns(UserWarning, match=r"mse_loss\.default made more than could be known"):
        _, result = _trained(
            lambda y: F.mse_loss(y, torch.ones_like(y)), flash=tmp_path, budget_bytes=8 * MIB
        )
    assert result is not None
    over = [step.peak_bytes > 8 * MIB for step in result.steps]
    assert over == [True, False, False, False]
    assert len(result.notes) == 1
