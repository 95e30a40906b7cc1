"""`tmtrain.train` keeps what the user has, knows steps again, and refuses what it cannot do, with the reason."""

import gc
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.thoroughness import rest_slow
from tests.support.trainings import HOST, small_training

from tmtrain import train
from tmtrain.errors import InputError
from tmtrain.runtime.tier.local_drive import LocalDrive, drives_from
from tmtrain.testing import Fault, faults

MIB = 1 << 20
WIDTH = 512


class _Tied(torch.nn.Module):
    """Three layers, the last with the weight of the first, the middle one frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.ModuleList(torch.nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.layers[2].weight = self.layers[0].weight
        self.layers[1].requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = torch.nn.functional.gelu(layer(x))
        return x


@pytest.fixture(autouse=True)
def _alike() -> None:  # pyright: ignore[reportUnusedFunction]
    torch.manual_seed(0)
    torch.set_num_threads(1)


def _rich_training() -> tuple[torch.nn.Module, torch.optim.Optimizer, Callable[[int], float]]:
    """Accumulation, clipping, a scheduler, autocast, dropout noise, tied and frozen weights."""
    torch.manual_seed(0)
    model = _Tied()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, foreach=False)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 / (1 + n))

    def step(rows: int) -> float:
        optimizer.zero_grad()
        total = 0.0
        for _ in range(2):
            with torch.autocast("cpu", torch.bfloat16):
                loss = torch.nn.functional.dropout(model(torch.randn(rows, WIDTH))).square().mean()
            (loss / 2).backward()
            total += loss.item()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()
        scheduler.step()
        return total

    return model, optimizer, step


def _left(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> list[Any]:
    states = optimizer.state_dict()["state"]
    kept = [tensor.clone() for state in states.values() for tensor in state.values()]
    return [tensor.clone() for tensor in model.state_dict().values()] + kept


def _same(one: list[Any], two: list[Any]) -> bool:
    return len(one) == len(two) and all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_everything_around_the_model_stays_the_users(tmp_path: Path) -> None:
    model, optimizer, step = _rich_training()
    losses = [step(256) for _ in range(6)]
    untouched = _left(model, optimizer)
    model, optimizer, step = _rich_training()
    with train(model, optimizer, step, budget_bytes="6 MiB", flash=tmp_path) as training:
        assert [training.step(256) for _ in range(6)] == losses
        result = training.result
    assert _same(_left(model, optimizer), untouched)
    assert result.steps[-1].how == "planned"
    assert result.steps[-1].bytes_in > 0


@pytest.mark.parametrize("objective", rest_slow(["bytes", None]))
def test_steps_of_different_shapes_get_a_plan_each_and_are_known_again(
    objective: str | None, tmp_path: Path
) -> None:
    rows = [256, 256, 256, 128, 128, 256, 128, 256, 64, 64]
    model, optimizer, step = _rich_training()
    losses = [step(n) for n in rows]
    untouched = _left(model, optimizer)
    model, optimizer, step = _rich_training()
    with train(model, optimizer, step, budget_bytes="6 MiB", flash=tmp_path, objective=objective) as training:
        assert [training.step(n) for n in rows] == losses
        hows = [step.how for step in training.result.steps]
    assert _same(_left(model, optimizer), untouched)
    assert hows == [
        *("on demand", "on demand", "planned"),
        *("diverged", "on demand"),  # shorter: seen, then written down
        *("planned", "planned", "planned"),  # both are known now
        *("diverged", "on demand"),
    ]


@pytest.mark.filterwarnings("ignore:this step is none")
def test_too_many_shapes_run_on_demand_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmtrain.runtime.training.step_plans.MOST_PLANNED_STEPS", 1)
    model, optimizer, step = _rich_training()
    with train(model, optimizer, step, budget_bytes="6 MiB", flash=tmp_path) as training:
        for rows in (256, 256, 128, 128):
            training.step(rows)
    assert [step.how for step in training.result.steps] == ["on demand", "on demand", "diverged", "diverged"]
    assert len(training.result.notes) == 1
    assert "none of the 1 that are known" in training.result.notes[0]


@pytest.mark.filterwarnings("ignore:steps run on demand")
def test_a_step_without_an_optimizer_runs_on_demand_and_it_is_said(tmp_path: Path) -> None:
    small = small_training("gpt2")
    small.model.eval()

    def evaluate(number: int) -> float:
        with torch.no_grad():
            return small.model(**small.batches(number)).loss.item()

    expected = [evaluate(n) for n in range(5)]
    with train(small.model, small.optimizer, evaluate, budget_bytes=4 * MIB, flash=tmp_path) as training:
        assert [training.step(n) for n in range(5)] == expected
    assert {step.how for step in training.result.steps} == {"on demand"}
    assert "a trace without optimizer step" in training.result.notes[0]


def test_what_is_shared_with_numpy_stays_in_memory(tmp_path: Path) -> None:
    model = torch.nn.Linear(WIDTH, WIDTH)
    shared = model.weight.detach().numpy()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, foreach=False)

    def step() -> None:
        model(torch.ones(2048, WIDTH)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    with train(model, optimizer, step, budget_bytes=13 * MIB, flash=tmp_path) as training:
        for _ in range(3):
            training.step()
            assert np.isfinite(shared.sum())  # read where nobody sees it: not closed
    assert np.array_equal(shared, model.weight.detach().numpy())


def test_an_operator_that_looks_beyond_its_argument_finds_what_is_there(tmp_path: Path) -> None:
    model = torch.nn.Linear(8, 8)
    optimizer = torch.optim.SGD(model.parameters())
    with train(model, optimizer, budget_bytes=6 * MIB, flash=tmp_path) as training:
        with training.one_step():
            whole = torch.arange(MIB, dtype=torch.float32)
            torch.ones(MIB).mul_(2)  # 4 MiB each: most of the other one leaves
            far = torch.as_strided_copy(whole[-4:], (4,), (1,), 5)
        assert far.tolist() == [5.0, 6.0, 7.0, 8.0]
        assert training.result.steps[0].bytes_out > 0


def test_tensors_may_be_used_between_steps(tmp_path: Path) -> None:
    small = small_training("gpt2")
    with train(small.model, small.optimizer, small.step, budget_bytes=6 * MIB, flash=tmp_path) as training:
        for n in range(3):
            training.step(small.batches(n))
            norms = [parameter.norm().item() for parameter in small.model.parameters()]
        hows = [step.how for step in training.result.steps]
    assert norms == [parameter.norm().item() for parameter in small.model.parameters()]
    assert hows[-1] == "planned"


def test_an_error_of_the_users_leaves_everything_in_memory(tmp_path: Path) -> None:
    small = small_training("gpt2")

    def fail() -> None:
        with train(
            small.model, small.optimizer, small.step, budget_bytes=6 * MIB, flash=tmp_path
        ) as training:
            training.step(small.batches(0))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert all(torch.isfinite(parameter).all() for parameter in small.model.parameters())


def test_the_peak_of_the_process_is_the_budget_and_what_is_said_to_be_beside_it(tmp_path: Path) -> None:
    small = small_training("gpt2")
    with train(small.model, small.optimizer, small.step, budget_bytes=6 * MIB, flash=tmp_path) as training:
        for n in range(4):
            training.step(small.batches(n))
        result = training.result
    for step in result.steps:
        assert step.peak_resident_bytes <= result.fixed_bytes + step.peak_bytes + result.unmoved_bytes
        assert (
            step.drive_read_bytes >= step.bytes_in
        )  # the kernel saw what we say, and perhaps a page of code


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"budget_bytes": "3 parsecs"}, "is not a size"),
        ({"budget_bytes": 1000}, "below one block that moves"),
        ({"model": object()}, "the model is a object, a torch.nn.Module is needed"),
        ({"optimizer": object()}, "the optimizer is a object"),
        ({"step": 3}, "the step is a int"),
        ({"flash": "/dev/shm"}, "which is memory itself"),
        ({"flash": "/nowhere"}, "no such folder"),
        ({"flash": ()}, "flash names no folder"),
        ({"flash": (".", "/dev/shm")}, "/dev/shm is on tmpfs"),
        ({"flash": "/proc/self"}, "cannot make a file|has .* free"),
    ],
)
def test_bad_input_is_refused_before_anything_is_spent(
    change: dict[str, Any], match: str, tmp_path: Path
) -> None:
    model = torch.nn.Linear(8, 8)
    arguments: dict[str, Any] = {
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters()),
        "step": lambda: None,
        "budget_bytes": "8 MiB",
        "flash": tmp_path,
    } | change
    with pytest.raises(InputError, match=match):
        train(
            arguments.pop("model"), arguments.pop("optimizer"), arguments.pop("step"), **arguments
        ).__enter__()


def test_a_training_is_entered_once_and_steps_run_inside(tmp_path: Path) -> None:
    model = torch.nn.Linear(8, 8)
    training = train(
        model, torch.optim.SGD(model.parameters()), lambda: None, budget_bytes=8 * MIB, flash=tmp_path
    )
    with pytest.raises(InputError, match=re.escape("write `with tmtrain.train(...) as training:`")):
        training.step()
    with training, pytest.raises(InputError, match="has begun already"):
        training.__enter__()


def test_a_step_may_be_a_block_of_the_users_own_loop(tmp_path: Path) -> None:
    plain = small_training("gpt2")
    expected = [plain.step(plain.batches(n)) for n in range(4)]
    kept = small_training("gpt2")
    with train(kept.model, kept.optimizer, budget_bytes=9 * MIB, flash=tmp_path) as training:
        losses: list[float] = []
        for number in range(4):
            with training.one_step():
                losses.append(kept.step(kept.batches(number)))
        assert [step.how for step in training.result.steps] == ["on demand"] * 2 + ["planned"] * 2
        with pytest.raises(InputError, match="one_step"):
            training.step()
        with training.one_step(), pytest.raises(InputError, match="has begun"), training.one_step():
            pass
        assert training.result.steps[-1].how == "diverged"  # it did nothing, which is not that step
    assert losses == expected


def test_a_measured_host_is_not_measured_again(tmp_path: Path) -> None:
    opened: list[Path] = []

    def open_drive(folder: Path) -> LocalDrive:
        opened.append(folder)
        return LocalDrive()

    kept = small_training("gpt2")
    with (
        drives_from(open_drive),
        train(
            kept.model, kept.optimizer, kept.step, budget_bytes=9 * MIB, flash=tmp_path, machine=HOST
        ) as training,
    ):
        for number in range(3):
            training.step(kept.batches(number))
        assert training.planned_step is not None
        assert training.planned_step.machine is HOST
    assert opened == [tmp_path]  # for the run; measuring would open it once more


@pytest.mark.slow
def test_a_drive_that_becomes_slower_is_planned_for(tmp_path: Path) -> None:
    """From the eighth step on every block takes 20 ms longer; two at a time, the drive moves 100 MiB/s at most.

    The monitor expects it once three steps have shown it, and thinks while the next one runs.
    """
    model = torch.nn.Sequential(*(torch.nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(16)))
    optimizer = torch.optim.AdamW(model.parameters(), foreach=False)

    def step() -> None:
        model(torch.randn(8, WIDTH)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    late = (
        Fault(kind="slow write", times=None, seconds=0.02),
        Fault(kind="slow read", times=None, seconds=0.02),
    )
    rates: list[float] = []
    with (
        faults() as drive,
        train(model, optimizer, step, budget_bytes=12 * MIB, flash=tmp_path) as training,
    ):
        for number in range(15):
            if number == 7:
                drive.inject(*late)
            training.step()
            if training.planned_step is not None:
                rates.append(training.planned_step.machine.shared_bytes_per_s)
        drive.mend()
    assert rates[-1] <= 100 * MIB
    assert [step.how for step in training.result.steps[-3:]] == ["planned"] * 3


def test_memory_that_was_left_closed_is_open_when_it_is_freed(tmp_path: Path) -> None:
    """Whoever gets the memory next would die of it, long after the training."""
    kept = small_training("gpt2")
    with train(
        kept.model, kept.optimizer, kept.step, budget_bytes=5 * MIB, flash=tmp_path, restores=False
    ) as training:
        training.step(kept.batches(0))
    tier = training._session.tier  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
    assert tier.away_bytes > 0
    del training
    gc.collect()
    del kept
    gc.collect()
    assert len(tier) == 0
