"""What cannot be kept in a budget is refused in one sentence, before a step is lost."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.support.thoroughness import rest_slow
from tests.support.trainings import small_training
from torch._subclasses.fake_tensor import FakeTensorMode

import tmtrain
from tmtrain.errors import FlashError, InputError
from tmtrain.runtime.loops.huggingface import BudgetTrainerCallback
from tmtrain.runtime.loops.lightning import BudgetCallback
from tmtrain.runtime.training.training import Training
from tmtrain.testing import Fault, faults

MIB = 1 << 20
Step = Callable[[], float]


def parts() -> tuple[torch.nn.Sequential, torch.optim.Optimizer, Step]:
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step() -> float:
        loss = model(torch.ones(2, 4)).sum()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return model, optimizer, step


def training_of(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    step: Step | None,
    folder: Path,
    budget: Any = "2 MiB",
) -> Training[[], float]:
    machine = tmtrain.load_machine("v4-slc")  # so that no drive is measured
    return tmtrain.train(model, optimizer, step, budget_bytes=budget, flash=folder, machine=machine)


NO_SIZES = [
    "",
    "0",
    "-3 GiB",
    "nan",
    "inf",
    "1e9",
    "3 parsecs",
    "0x10",
    "0.4 B",
    "GiB",
    "3 GiB 2 MiB",
    "\u0663 GiB",
]
NO_BUDGETS: list[tuple[Any, str]] = [
    *((text, "is not a size: write a positive number with") for text in NO_SIZES),
    *((text, "is a share of what a step needs") for text in ("33%", "110%", "0 %", "nan%", "%")),
    *(
        (number, "is a float: give a whole number of bytes")
        for number in (3e9, 0.33, math.nan, math.inf, -math.inf)
    ),
    *((flag, "is a bool: give a whole number") for flag in (True, False)),
    (None, "is a NoneType: give a whole number"),
    (np.float32(4e6), "is a float32: give a whole number"),
    (3 + 0j, "is a complex"),
    *((number, "is below one block that moves") for number in (0, -5, 1, np.int64(7), "1023 KiB", "4096")),
]


@pytest.mark.parametrize(("budget", "match"), NO_BUDGETS)
def test_a_budget_that_is_none_is_refused_by_everything_that_takes_one(
    budget: Any, match: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=match) as raised:
        training_of(*parts(), tmp_path, budget)
    assert "\n" not in str(raised.value)
    with training_of(*parts(), tmp_path) as training:
        with pytest.raises(InputError, match=match):
            training.budget_bytes = budget
        assert training.budget_bytes == 2 * MIB
    if "below" not in match:  # which the loop says when it begins
        for callback in (BudgetTrainerCallback, BudgetCallback):
            with pytest.raises(InputError, match=match):
                callback(budget_bytes=budget, flash=tmp_path)


@pytest.mark.parametrize("budget", [2 * MIB, np.int64(2 * MIB), "2 MiB", " 2mib ", "2097152", ".002048 GiB"])
def test_a_budget_may_be_said_in_many_ways(budget: Any, tmp_path: Path) -> None:
    with training_of(*parts(), tmp_path, 3 * MIB) as training:
        training.budget_bytes = budget
    assert training.budget_bytes == pytest.approx(2 * MIB, rel=0.1)
    assert type(training.budget_bytes) is int


def test_many_bytes_are_not_rounded() -> None:
    assert tmtrain.parse_bytes("9007199254740993") == 9007199254740993


def _fake_cuda(*names: str) -> tuple[torch.nn.Module, torch.optim.Optimizer, Step]:
    """A model of which parameters are elsewhere; what a computer without such a device can have of it."""
    model, _, step = parts()
    with FakeTensorMode(allow_non_fake_inputs=True):
        for name in names:
            layer, leaf = name.split(".")
            setattr(model[int(layer)], leaf, torch.nn.Parameter(torch.empty(4, 4, device="cuda:0")))
    return model, torch.optim.SGD(model.parameters()), step


def _on_meta() -> tuple[torch.nn.Module, torch.optim.Optimizer, Step]:
    model, _, step = parts()
    return model, torch.optim.SGD([*model.parameters(), torch.empty(3, device="meta")]), step


def _state_on_meta() -> tuple[torch.nn.Module, torch.optim.Optimizer, Step]:
    model, optimizer, step = parts()
    optimizer.state[model[0].weight]["momentum_buffer"] = torch.empty(4, 4, device="meta")
    return model, optimizer, step


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (
            lambda: _fake_cuda("1.weight"),
            r"^1\.weight is on cuda:0: a budget is kept on the CPU, .*model\.to",
        ),
        (
            lambda: _fake_cuda("0.weight", "1.weight"),
            r"0\.weight is on cuda:0, and 1 others are not on the CPU",
        ),
        (_on_meta, "param#0 is on meta"),
        (_state_on_meta, "state:0.weight.momentum_buffer is on meta"),
    ],
)
def test_what_is_on_other_devices_is_named(make: Callable[[], Any], match: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=match):
        training_of(*make(), tmp_path)


def compiled(what: Any) -> Any:
    return torch.compile(what, backend="eager")


def _compiled_model() -> Any:
    model, optimizer, step = parts()
    return compiled(model), optimizer, step


def _compiled_in_place() -> Any:
    model, optimizer, step = parts()
    model[1].compile(backend="eager")
    return model, optimizer, step


def _compiled_layer() -> Any:
    model, optimizer, step = parts()
    model[1] = compiled(model[1])
    return model, optimizer, step


def _compiled_forward() -> Any:
    model, optimizer, step = parts()
    model.forward = compiled(model.forward)
    return model, optimizer, step


def _compiled_optimizer() -> Any:
    model, optimizer, step = parts()
    optimizer.step = compiled(optimizer.step)
    return model, optimizer, step


def _compiled_step() -> Any:
    model, optimizer, step = parts()
    return model, optimizer, compiled(step)


COMPILED = [
    (_compiled_model, r"^the model is compiled by torch\.compile, .*_orig_mod"),
    (_compiled_in_place, r"^module '1' is compiled .*before compile\(\)"),
    (_compiled_layer, r"^module '1' is compiled .*_orig_mod"),
    (_compiled_forward, "^the model is compiled"),
    (_compiled_optimizer, "^the optimizer's step is compiled"),
    (_compiled_step, "^the step is compiled"),
]


@pytest.mark.parametrize(("make", "match"), COMPILED)
def test_compiled_code_is_refused_before_anything_is_spent(
    make: Callable[[], Any], match: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=match):
        training_of(*make(), tmp_path)


@pytest.mark.parametrize("ran_before", [False, True])
def test_a_compiled_function_inside_of_a_step_is_refused_where_it_is_called(
    ran_before: bool, tmp_path: Path
) -> None:
    model, optimizer, _ = parts()
    activation = compiled(lambda x: x.relu() + 1)
    if ran_before:
        activation(torch.ones(2, 4, requires_grad=True))

    def step() -> float:
        loss = activation(model(torch.ones(2, 4))).sum()
        loss.backward()
        return loss.item()

    with training_of(model, optimizer, step, tmp_path) as training:
        with pytest.raises(InputError, match="a function that the step calls is compiled"):
            training.step()
        assert all(parameter.grad is None for parameter in model.parameters())
    with torch.no_grad():  # outside of the block it is the user's again
        assert activation(torch.ones(2, 4)).tolist() == [[2.0] * 4] * 2


@pytest.mark.filterwarnings("ignore:steps run on demand")
def test_who_asks_for_the_uncompiled_numbers_gets_them(tmp_path: Path) -> None:
    _, _, plain = parts()
    expected = [plain() for _ in range(2)]
    with torch.compiler.set_stance("force_eager"), training_of(*_compiled_step(), tmp_path) as training:
        assert [training.step() for _ in range(2)] == expected


@pytest.mark.filterwarnings(
    "ignore:steps run on demand, no plan could be made. the step of 'Sequential' has no"
)
def test_a_model_too_small_to_move_trains_all_the_same(tmp_path: Path) -> None:
    _, _, plain = parts()
    expected = [plain() for _ in range(4)]
    with training_of(*parts(), tmp_path) as training:
        assert [training.step() for _ in range(4)] == expected


@pytest.mark.parametrize("kind", rest_slow(["full disk", "EIO on write"]))
def test_after_a_step_that_the_drive_ended_it_is_said_what_is_lost(kind: Any, tmp_path: Path) -> None:
    """Half of a step is no state to go on from, and none to save over an older one."""
    small = small_training("gpt2")
    saved = tmp_path / "saved.safetensors"
    with (
        faults() as drive,
        tmtrain.train(
            small.model, small.optimizer, small.step, budget_bytes=6 * MIB, flash=tmp_path
        ) as training,
    ):
        training.step(small.batches(0))
        training.save(saved)
        drive.inject(Fault(kind=kind, times=None))
        with pytest.raises(FlashError, match="cannot"):
            training.step(small.batches(1))
        drive.mend()
        before = saved.read_bytes()
        for go_on in (lambda: training.step(small.batches(1)), lambda: training.save(saved)):
            with pytest.raises(FlashError, match=r"step 2 was not finished.*nothing that was saved is lost"):
                go_on()
        assert saved.read_bytes() == before


def test_a_folder_that_vanishes_takes_nothing_with_it(tmp_path: Path) -> None:
    plain = small_training("gpt2")
    expected = [plain.step(plain.batches(number)) for number in range(4)]
    kept = small_training("gpt2")
    folder = tmp_path / "flash"
    folder.mkdir()
    losses: list[float] = []
    with tmtrain.train(kept.model, kept.optimizer, kept.step, budget_bytes=6 * MIB, flash=folder) as training:
        for number in range(4):
            losses.append(training.step(kept.batches(number)))
            if folder.exists():
                folder.rmdir()  # empty: the file has no name
    assert losses == expected
