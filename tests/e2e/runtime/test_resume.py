"""`training.load` puts back whatever a module or an optimizer may call its state: bit for bit, type for type."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.support.checkpoints import DTYPES, assert_same, trees
from tests.support.thoroughness import examples

import tmtrain
from tmtrain.errors import InputError
from tmtrain.runtime.training.training import Training

Parts = tuple[torch.nn.Module, torch.optim.Optimizer]


@contextmanager
def entered(parts: Parts, folder: Path) -> Iterator[Training[[], None]]:
    machine = tmtrain.load_machine("v4-slc")  # so that no drive is measured
    with tmtrain.train(*parts, budget_bytes="2 MiB", flash=folder, machine=machine) as training:
        yield training


def saved_then_loaded(saved: Parts, loaded: Parts, folder: Path, *, extra: Any = None) -> Any:
    with entered(saved, folder) as training:
        training.save(folder / "saved.safetensors", extra=extra)
    with entered(loaded, folder) as training:
        return training.load(folder / "saved.safetensors")


def sgd(model: torch.nn.Module, **options: Any) -> Parts:
    return model, torch.optim.SGD(model.parameters(), lr=0.1, **options)


class Remembers(torch.nn.Linear):
    """A module with extra state."""

    def __init__(self, memory: Any) -> None:
        super().__init__(2, 2)
        self.memory = memory

    def get_extra_state(self) -> Any:
        return self.memory

    def set_extra_state(self, state: Any) -> None:
        self.memory = state


@pytest.mark.parametrize(
    "memory",
    [
        *(
            torch.tensor(3),
            torch.ones(2, dtype=torch.complex64),
            torch.empty(0, 4),
            {"a": [torch.ones(1)], 2: None},
        ),
        *(
            [1, "two", (3.0, b"raw")],
            None,
            b"raw",
            {(1, "a"): Counter("abca")},
            {"ema": {"w": 1}, "ema.w": 2},
        ),
    ],
)
def test_extra_state_is_set_to_what_it_was(memory: Any, tmp_path: Path) -> None:
    model = torch.nn.Sequential(Remembers(memory), Remembers("of another"))
    other = torch.nn.Sequential(Remembers("nothing"), Remembers("nothing"))
    saved_then_loaded(sgd(model), sgd(other), tmp_path)
    assert_same(other[0].memory, memory)
    assert other[1].memory == "of another"
    assert_same(other.state_dict(), model.state_dict())


@examples(12)
@given(memory=trees(), kept=st.dictionaries(st.text(max_size=3), trees(), min_size=1, max_size=3))
def test_any_state_comes_back(
    memory: Any, kept: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Of a module, of an optimizer and of the user's own."""
    model, other = Remembers(memory), Remembers(None)
    parts, others = sgd(model), sgd(other)
    parts[1].state[model.weight] = dict(kept)
    parts[1].param_groups[0]["own"] = memory
    extra = saved_then_loaded(parts, others, tmp_path_factory.mktemp("any"), extra=kept)
    assert_same(other.memory, memory)
    assert_same(others[1].state[other.weight], kept)
    assert_same(others[1].param_groups[0]["own"], memory)
    assert_same(extra, kept)


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if not dtype.is_complex])
def test_the_state_of_an_optimizer_keeps_its_types(dtype: torch.dtype, tmp_path: Path) -> None:
    """fp32 masters of bf16 weights, counters of integers, moments of 8 bits."""

    def make(byte: int) -> Parts:
        model = torch.nn.Linear(2, 2).to(torch.bfloat16)
        optimizer = sgd(model)[1]
        state = torch.full((dtype.itemsize,), byte, dtype=torch.uint8).view(dtype)
        for parameter in model.parameters():
            optimizer.state[parameter] = {"moment": state, "nested": {"list": [state, None]}, "how": "text"}
        return model, optimizer

    first, second = make(1), make(0)
    saved_then_loaded(first, second, tmp_path)
    assert_same(second[1].state_dict(), first[1].state_dict())


def _trained(optimizer: torch.optim.Optimizer, model: torch.nn.Module) -> Parts:
    for number in range(3):
        model(torch.ones(2, 3) * number).square().sum().backward()
        optimizer.step(lambda: torch.tensor(1.0)) if isinstance(
            optimizer, torch.optim.LBFGS
        ) else optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (torch.optim.AdamW, {"amsgrad": True}),
        (torch.optim.Adam, {"lr": torch.tensor(1e-3)}),
        (torch.optim.Adafactor, {}),
        (torch.optim.Rprop, {}),
        (torch.optim.NAdam, {}),
        (torch.optim.LBFGS, {}),
        (torch.optim.ASGD, {}),
    ],
)
def test_optimizers_of_torch_go_on_as_they_were(
    kind: Callable[..., torch.optim.Optimizer], options: dict[str, Any], dtype: torch.dtype, tmp_path: Path
) -> None:
    def make(seed: int) -> Parts:
        torch.manual_seed(seed)
        model = torch.nn.Linear(3, 2).to(dtype)
        original = model.forward
        model.forward = lambda x: original(x.to(dtype))  # pyright: ignore[reportAttributeAccessIssue]
        return model, kind(model.parameters(), **options)

    first = make(0)
    _trained(first[1], first[0])
    second = make(1)
    _trained(second[1], second[0])
    saved_then_loaded(first, second, tmp_path)
    assert_same(second[1].state_dict(), first[1].state_dict())
    _trained(first[1], first[0])
    _trained(second[1], second[0])
    assert_same(second[0].state_dict(), first[0].state_dict())
    assert_same(second[1].state_dict(), first[1].state_dict())


class Halves(torch.optim.SGD):
    """Hands its state out in half precision and takes it back in full: what it loads is its own affair."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.register_state_dict_post_hook(Halves._halve)

    def _halve(self, state_dict: dict[str, Any]) -> dict[str, Any]:
        halves = {n: {k: v.half() for k, v in state.items()} for n, state in state_dict["state"].items()}
        return state_dict | {"state": halves}


def test_an_optimizer_that_converts_its_state_does_so_as_without(tmp_path: Path) -> None:
    def make() -> Parts:
        model = torch.nn.Linear(3, 2)
        return _trained(Halves(model.parameters(), lr=0.1, momentum=0.9), model)

    first, second, plain = make(), make(), make()
    saved_then_loaded(first, second, tmp_path)
    plain[1].load_state_dict(first[1].state_dict())
    states = [[*parts[1].state.values()] for parts in (second, plain)]
    assert_same(*states)
    assert states[0][0]["momentum_buffer"].dtype is torch.float32


class Scaled(torch.nn.Linear):
    """Hands its weight out doubled, under another name, and halves what it gets."""

    def __init__(self) -> None:
        super().__init__(3, 2)
        self._register_state_dict_hook(Scaled._double)
        self._register_load_state_dict_pre_hook(Scaled._halve)

    def _double(self, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
        state_dict[prefix + "doubled"] = state_dict.pop(prefix + "weight") * 2

    @staticmethod
    def _halve(state_dict: dict[str, Any], prefix: str, *_: object) -> None:
        state_dict[prefix + "weight"] = state_dict.pop(prefix + "doubled") / 2


def test_hooks_of_a_module_are_heeded(tmp_path: Path) -> None:
    model, other = torch.nn.Sequential(Scaled()), torch.nn.Sequential(Scaled())
    saved_then_loaded(sgd(model), sgd(other), tmp_path)
    assert_same([*other.parameters()], [*model.parameters()])


class Counts(torch.nn.Module):
    """Buffers of all kinds: one that is not saved by torch, one that appears as the training goes."""

    def __init__(self, seen: int) -> None:
        super().__init__()
        self.layer = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(3, 2))
        self.norm = torch.nn.BatchNorm1d(2)
        self.register_buffer("seen", torch.tensor(seen), persistent=False)
        self.register_buffer("cache", torch.arange(seen) if seen else None, persistent=False)


def test_buffers_that_are_not_persistent_come_back(tmp_path: Path) -> None:
    model, other, early = Counts(5), Counts(3), Counts(0)
    for parts in (sgd(other), sgd(early)):
        saved_then_loaded(sgd(model), parts, tmp_path)
        assert_same(dict(parts[0].named_buffers()), dict(model.named_buffers()))
        assert_same(parts[0].state_dict(), model.state_dict())


def test_ties_stay_ties(tmp_path: Path) -> None:
    def make() -> torch.nn.Module:
        model = torch.nn.Sequential(*(torch.nn.Linear(2, 2) for _ in range(3)))
        model[2].weight = model[0].weight
        return model

    model, other = make(), make()
    saved_then_loaded(sgd(model), sgd(other), tmp_path)
    assert other[2].weight is other[0].weight
    assert_same(other.state_dict(), model.state_dict())


def test_schedulers_and_scalers_are_kept_as_they_are(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    parts = sgd(model)
    rates = torch.optim.lr_scheduler
    kinds = [
        *(
            rates.MultiStepLR(parts[1], [2, 2, 5]),
            rates.OneCycleLR(parts[1], 0.1, 9),
            rates.CyclicLR(parts[1], 0.1, 1),
        ),
        *(rates.ReduceLROnPlateau(parts[1]), rates.SequentialLR(parts[1], [rates.ConstantLR(parts[1])], [])),
        torch.amp.GradScaler("cpu"),
    ]
    states = [kind.state_dict() for kind in kinds]
    assert_same(saved_then_loaded(parts, sgd(torch.nn.Linear(2, 2)), tmp_path, extra=states), states)


@pytest.mark.parametrize(
    ("other", "match"),
    [
        (
            lambda: sgd(torch.nn.Linear(2, 2).double()),
            "weight is .2, 2. of float32 there and .2, 2. of float64 here",
        ),
        (lambda: sgd(torch.nn.Linear(2, 3)), r"weight is \(2, 2\) of float32 there and \(3, 2\)"),
        (lambda: sgd(torch.nn.Linear(2, 2, bias=False)), "bias is in the checkpoint alone"),
        (lambda: (m := torch.nn.Linear(2, 2), torch.optim.AdamW(m.parameters())), "SGD there, AdamW here"),
    ],
)
def test_another_model_or_optimizer_is_named(other: Callable[[], Parts], match: str, tmp_path: Path) -> None:
    parts = other()
    before = [tensor.clone() for tensor in parts[0].parameters()]
    with pytest.raises(InputError, match=match):
        saved_then_loaded(sgd(torch.nn.Linear(2, 2)), parts, tmp_path)
    assert_same([tensor.detach() for tensor in parts[0].parameters()], [tensor.detach() for tensor in before])
