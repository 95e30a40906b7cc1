"""Laws 1 and 2 whatever autograd is told: operators arrive whole under `torch.inference_mode`, and are the same numbers."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
import torch
from tests.support.thoroughness import rest_slow
from tests.support.trainings import small_training

from tmtrain import train

MIB = 1 << 20
SIDE = 512
F = torch.nn.functional
Expression = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

EXPRESSIONS: dict[str, Expression] = {
    "contiguous": lambda x, _: x.t().contiguous(),
    "to another type": lambda x, _: x.to(torch.float64),
    "to the same type": lambda x, _: x.to(torch.float32),
    "reshape that copies": lambda x, _: x.t().reshape(-1),
    "reshape that does not": lambda x, _: x.reshape(-1),
    "flatten": lambda x, _: x.t().flatten(),
    "flatten in part": lambda x, _: x.view(8, 64, SIDE).transpose(0, 1).flatten(1),
    "linear": lambda x, w: F.linear(x, w),
    "product": lambda x, w: x @ w,
    "einsum": lambda x, w: torch.einsum("ij,kj->ik", x, w),
    "layer norm": lambda x, _: F.layer_norm(x, (SIDE,)),
    "batch norm": lambda x, w: F.batch_norm(x, w[0], w[1].abs()),
    "cross entropy": lambda x, w: F.cross_entropy(x, w.argmax(1)),
    "attention": lambda x, w: F.scaled_dot_product_attention(*(t.view(1, 8, 64, SIDE) for t in (x, x, w))),
    "convolution": lambda x, w: F.conv1d(x, w.view(SIDE, SIDE, 1)[:64]),
    "chunk": lambda x, _: x.chunk(2, 1)[1].contiguous(),
    "tile": lambda x, _: x.tile(2, 1),
    "pad": lambda x, _: F.pad(x, (1, 1)),
    "dropout in evaluation": lambda x, _: F.dropout(x, training=False),
    "moveaxis": lambda x, _: x.view(8, 64, SIDE).moveaxis(0, 2).reshape(64, -1),
    "real of complex": lambda x, w: torch.complex(x, w).conj().resolve_conj().real,
    "type as": lambda x, w: x.type_as(w.double()).float(),
    "unflatten": lambda x, _: x.unflatten(0, (8, 64)).swapaxes(0, 1).ravel(),
}

MODES: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "inference": torch.inference_mode,
    "no grad": torch.no_grad,
    "grad": nullcontext,
}


def _values(mode: Callable[[], AbstractContextManager[object]]) -> list[list[float]]:
    """Each expression on each pair of twelve tensors of 1 MiB."""
    torch.manual_seed(0)
    tensors = [torch.randn(SIDE, SIDE) for _ in range(12)]
    with mode():
        return [
            [expression(x, w).double().sum().item() for x, w in zip(tensors, tensors[1:], strict=False)]
            for expression in EXPRESSIONS.values()
        ]


@pytest.mark.parametrize("name", rest_slow(MODES))
def test_expressions_are_the_same_numbers_in_a_budget_of_three_quarters(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    expected = _values(MODES[name])
    model = torch.nn.Linear(8, 8)
    with train(model, torch.optim.SGD(model.parameters()), budget_bytes=9 * MIB, flash=tmp_path) as training:
        with training.one_step():
            assert _values(MODES[name]) == expected
        assert _values(MODES[name]) == expected  # outside of a step too
        (step,) = training.result.steps
    assert step.bytes_out > 0
    assert step.peak_bytes <= 9 * MIB


def test_a_model_is_evaluated_between_steps_and_in_them(tmp_path: Path) -> None:
    """In every mode, one within another, on parameters that were changed meanwhile."""
    torch.set_num_threads(1)

    def losses(flash: Path | None = None) -> list[float]:
        small = small_training("gpt2")
        seen: list[float] = []

        def evaluate() -> None:
            small.model.eval()
            with torch.inference_mode():
                seen.append(small.model(**small.batches(9)).loss.item())
                with torch.inference_mode(mode=False), torch.no_grad():
                    seen.append(small.model(**small.batches(8)).loss.item())
            small.model.train()

        def step(number: int) -> None:
            seen.append(small.step(small.batches(number)))
            evaluate()

        if flash is None:
            for number in range(4):
                step(number)
                evaluate()
            return seen
        with train(small.model, small.optimizer, step, budget_bytes=5 * MIB, flash=flash) as training:
            for number in range(4):
                training.step(number)
                evaluate()
            assert training.result.steps[-1].how == "planned"
            assert all(step.peak_bytes <= 5 * MIB for step in training.result.steps)
        return seen

    assert losses(tmp_path) == losses()
