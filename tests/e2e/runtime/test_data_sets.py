"""Data larger than the budget, touched in the block: batches come out of it, and it comes under the budget by itself."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.support.thoroughness import rest_slow
from torch.utils.data import DataLoader, TensorDataset

from tmtrain import RunResult, train
from tmtrain.runtime.tier.pages import keep_large_blocks_apart

MIB = 1 << 20
ROWS, WIDTH, BATCH, STEPS = 2048, 2048, 64, 6
Batches = Callable[[torch.Tensor], Iterator[torch.Tensor]]


def _loaded(data: torch.Tensor, *, shuffle: bool) -> Iterator[torch.Tensor]:
    for (batch,) in DataLoader(TensorDataset(data), batch_size=BATCH, shuffle=shuffle):
        yield batch


def _indexed(data: torch.Tensor) -> Iterator[torch.Tensor]:
    order = torch.randperm(ROWS)
    return (data[order[at : at + BATCH]] for at in range(0, ROWS, BATCH))


BATCHES: dict[str, Batches] = {
    "a loader that shuffles": lambda data: _loaded(data, shuffle=True),
    "a loader in order": lambda data: _loaded(data, shuffle=False),
    "rows by their numbers": _indexed,
    "slices": lambda data: (data[at : at + BATCH] for at in range(0, ROWS, BATCH)),
    "splits": lambda data: iter(data.split(BATCH)),
}


def _trained(batches: Batches, flash: Path | None) -> tuple[list[float], RunResult | None]:
    """Train on 16 MiB of data, 0.5 MiB a step."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    keep_large_blocks_apart()
    data = torch.randn(ROWS, WIDTH)
    model = torch.nn.Sequential(torch.nn.Linear(WIDTH, 64), torch.nn.GELU(), torch.nn.Linear(64, 1))
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)

    def step(batch: torch.Tensor) -> float:
        loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    seen: list[float] = []
    if flash is None:
        for _, batch in zip(range(STEPS), batches(data), strict=False):
            seen.append(step(batch))
        return [*seen, data.sum().item()], None
    with train(model, optimizer, step, budget_bytes=8 * MIB, flash=flash) as training:
        for _, batch in zip(range(STEPS), batches(data), strict=False):
            seen.append(training.step(batch))
        result = training.result
    return [*seen, data.sum().item()], result


@pytest.mark.parametrize("name", rest_slow(BATCHES))
def test_batches_come_out_of_data_twice_as_large_as_the_budget(name: str, tmp_path: Path) -> None:
    expected, _ = _trained(BATCHES[name], None)
    seen, result = _trained(BATCHES[name], tmp_path)
    assert seen == expected
    assert result is not None
    assert all(step.peak_bytes <= 8 * MIB for step in result.steps)
    assert [step.how for step in result.steps[-2:]] == ["planned"] * 2
    assert not result.notes
