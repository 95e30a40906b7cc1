"""Sparse gradients: the same bits in the budget, on demand, and it is said why."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.support.thoroughness import rest_slow

from tmtrain import RunResult, train

MIB = 1 << 20
OPTIMIZERS: dict[str, tuple[Callable[[torch.nn.Module], torch.optim.Optimizer], int]] = {
    "sgd": (lambda model: torch.optim.SGD(model.parameters(), lr=0.1), 7),
    "sparse adam": (lambda model: torch.optim.SparseAdam([*model.parameters()][:1]), 14),
    "adagrad": (lambda model: torch.optim.Adagrad(model.parameters()), 13),
}
"""With the budget in MiB that the largest operator allows."""


def _trained(name: str, flash: Path | None) -> tuple[list[float], RunResult | None]:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = torch.nn.Sequential(torch.nn.Embedding(4096, 256, sparse=True), torch.nn.Linear(256, 256))
    make, budget = OPTIMIZERS[name]
    optimizer = make(model)
    norm = torch.eye(256).to_sparse_csr()

    def step() -> float:
        optimizer.zero_grad()
        loss = (norm @ model(torch.randint(0, 4096, (2048,))).T).square().mean()
        loss.backward()
        optimizer.step()
        return loss.item()

    if flash is None:
        seen, result = [step() for _ in range(4)], None
    else:
        with train(model, optimizer, step, budget_bytes=budget * MIB, flash=flash) as training:
            seen = [training.step() for _ in range(4)]
            result = training.result
    return seen + [parameter.sum().item() for parameter in model.parameters()], result


@pytest.mark.filterwarnings("ignore:steps run on demand", "ignore:Sparse")
@pytest.mark.parametrize("name", rest_slow(OPTIMIZERS))
def test_sparse_gradients_are_trained_on_demand_and_it_is_said(name: str, tmp_path: Path) -> None:
    expected, _ = _trained(name, None)
    seen, result = _trained(name, tmp_path)
    assert seen == expected
    assert result is not None
    assert result.steps[0].bytes_out > 0
    assert all(step.peak_bytes <= result.budget_bytes for step in result.steps)
    assert {step.how for step in result.steps} == {"on demand"}
    assert [note for note in result.notes if "sparse tensor" in note] == list(result.notes) != []
    assert "sparse=False" in result.notes[0]
