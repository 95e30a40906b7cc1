"""Catch, save, exit: an exception anywhere in a step, as Ctrl-C raises one, costs that step and nothing else."""

from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tests.support.interruptions import Interruption, interrupted_at
from tests.support.thoroughness import rest_slow

import tmtrain
import tmtrain.runtime
from tmtrain.runtime.tier.pages import keep_large_blocks_apart

ROOM = Path(tmtrain.runtime.__path__[0])
Parameters = dict[str, NDArray[np.float32]]


class _Small:
    """Layers that do not fit together, and an optimizer whose every write to a parameter is one operator."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.batch = torch.randn(64, 256)
        layers = (layer for _ in range(8) for layer in (torch.nn.Linear(256, 256), torch.nn.Tanh()))
        self.model = torch.nn.Sequential(*layers)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0, foreach=False)

    def step(self) -> None:
        """One step."""
        self.optimizer.zero_grad()
        self.model(self.batch).square().mean().backward()
        self.optimizer.step()

    def parameters(self) -> Parameters:
        """Copies of its parameters."""
        return {name: tensor.detach().numpy().copy() for name, tensor in self.model.named_parameters()}


def _plain(steps: int) -> list[Parameters]:
    small, after = _Small(), []
    for _ in range(steps):
        small.step()
        after.append(small.parameters())
    return after


def test_after_an_exception_at_any_line_of_a_step_s_beginning_and_end_the_next_one_runs(
    tmp_path: Path,
) -> None:
    small, line, hows = _Small(), 1, set[str]()
    with tmtrain.train(
        small.model, small.optimizer, small.step, budget_bytes="3 MiB", flash=tmp_path
    ) as training:
        for _ in range(3):
            training.step()
        while True:
            with suppress(Interruption), interrupted_at(line, folder=ROOM / "training", times=3) as count:
                training.step()
            if not count.where:
                break
            training.step()
            hows.add(training.result.steps[-1].how)
            line += 1
    assert line > 50
    assert "planned" in hows


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # in the callback of a weak reference
@pytest.mark.parametrize(("first", "every"), rest_slow([(40, 97), (1, 1)]))
def test_who_catches_and_saves_has_saved_what_was_there(first: int, every: int, tmp_path: Path) -> None:
    keep_large_blocks_apart()
    torch.set_num_threads(1)
    (*_, before, after), small, line = _plain(4), _Small(), first
    with tmtrain.train(
        small.model, small.optimizer, small.step, budget_bytes="3 MiB", flash=tmp_path
    ) as training:
        for _ in range(3):
            training.step()
        training.save(tmp_path / "third")
        while True:
            with suppress(Interruption), interrupted_at(line, folder=ROOM, times=3) as count:
                training.step()
            if not count.where:
                break  # it has fewer lines
            training.save(tmp_path / "caught")
            saved = load_file(tmp_path / "caught")
            for name in before:
                found = saved[name]
                same = np.array_equal(found, before[name]) or np.array_equal(found, after[name])
                assert same, f"{name}, interrupted at {count.where}"
            training.load(tmp_path / "third")
            line += every
        assert line > 800
    assert all(np.array_equal(found, after[name]) for name, found in small.parameters().items())
