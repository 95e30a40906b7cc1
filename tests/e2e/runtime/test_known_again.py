"""Steps that repeat are known again, however they take turns and whatever else the loop does in them."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tests.support.thoroughness import rest_slow

from tmtrain import RunResult, train

MIB = 1 << 20
WIDTH = 512


class _Loop:
    """A loop over two layers of 1 MiB, and what it keeps from step to step."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(1)
        self.model = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH) for _ in range(2)))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), foreach=False)
        self.kept: object = None

    def train(self, rows: int = 256) -> float:
        loss = self.model(torch.randn(rows, WIDTH)).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.item()

    def evaluate(self) -> float:
        with torch.no_grad():
            return self.model(torch.randn(256, WIDTH)).sum().item()


def _copies_parameters(loop: _Loop, _: int) -> float:
    loss = loop.train()
    loop.kept = copy.deepcopy(loop.model.state_dict())
    return loss


def _copies_optimizer(loop: _Loop, _: int) -> float:
    loop.kept = copy.deepcopy(loop.optimizer.state_dict())
    return loop.train()


def _three_sizes_in_turns(loop: _Loop, number: int) -> float:
    return loop.train((256, 192, 320)[number % 3])


def _evaluates_now_and_then(loop: _Loop, number: int) -> float:
    return loop.train() + (loop.evaluate() if number % 4 == 3 else 0.0)


def _saves_now_and_then(loop: _Loop, number: int) -> float:
    return _copies_parameters(loop, number) if number % 4 == 3 else loop.train()


CASES: dict[str, tuple[Callable[[_Loop, int], float], str]] = {
    "copies of parameters": (_copies_parameters, "ooppppppppppp"),
    "three sizes in turns": (_three_sizes_in_turns, "ooDopDopopppp"),
    "an evaluation every fourth step": (_evaluates_now_and_then, "oopDoppDoppop"),
    "copies of optimizer state": (_copies_optimizer, "ooppppppppppp"),
    "copies every fourth step": (_saves_now_and_then, "oopDoppDoppop"),
}
"""With how each step runs: on demand, planned or diverged."""


def _run(step: Callable[[_Loop, int], float], *, steps: int, flash: Path) -> tuple[list[float], RunResult]:
    loop = _Loop()
    with train(
        loop.model, loop.optimizer, lambda n: step(loop, n), budget_bytes=6 * MIB, flash=flash
    ) as training:
        return [training.step(number) for number in range(steps)], training.result


@pytest.mark.parametrize("name", rest_slow(CASES, quick=2))
def test_each_kind_of_step_is_planned_once(name: str, tmp_path: Path) -> None:
    step, hows = CASES[name]
    loop = _Loop()
    expected = [step(loop, number) for number in range(len(hows))]
    seen, result = _run(step, steps=len(hows), flash=tmp_path)
    assert seen == expected
    assert "".join({"on demand": "o", "planned": "p", "diverged": "D"}[s.how] for s in result.steps) == hows
    assert not result.notes


@pytest.mark.slow
def test_a_step_that_is_never_the_same_is_said_to_be_so_with_the_operator_that_differs(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"none of the 8 that are known \(its operator \d+ is aten\."):
        _run(lambda loop, number: loop.train(256 + 8 * number), steps=19, flash=tmp_path)
