"""Under autocast an accelerator's step casts what CUDA's autocast casts; a CPU has other lists."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional

from tmtrain.capturing.jobs.options import Operators
from tmtrain.capturing.operators.choice import running

N = 8
HALF, SINGLE = torch.bfloat16, torch.float32
Call = Callable[[torch.Tensor], torch.Tensor]


def classes() -> torch.Tensor:
    return torch.zeros(N, dtype=torch.long)


def attended(x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    x = x[None, None]
    return functional.scaled_dot_product_attention(x, x, x, mask)


IN_SINGLE: dict[str, Call] = {
    "layer_norm": lambda x: nn.LayerNorm(N)(x),
    "group_norm": lambda x: nn.GroupNorm(2, N)(x),
    "rms_norm": lambda x: nn.RMSNorm(N)(x),
    "softmax": lambda x: x.softmax(-1),
    "softmax of functional": lambda x: functional.softmax(x, -1),
    "log_softmax": lambda x: functional.log_softmax(x, -1),
    "cross_entropy": lambda x: functional.cross_entropy(x, classes()),
    "smoothed cross_entropy": lambda x: functional.cross_entropy(x, classes(), label_smoothing=0.1),
    "mse_loss": lambda x: functional.mse_loss(x, x),
    "l1_loss": lambda x: functional.l1_loss(x, x),
    "norm": lambda x: x.norm(),  # pyright: ignore[reportUnknownLambdaType]
    "normalize": lambda x: functional.normalize(x),
    "power operator": lambda x: x**2,
    "reciprocal": lambda x: 1 / x,
    "exp": lambda x: x.exp(),
    "log": lambda x: x.log(),
    "rsqrt": lambda x: x.rsqrt(),
    "sum": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(0),
    "prod": lambda x: x.prod(),
    "cumsum": lambda x: x.cumsum(0),
    "softplus": lambda x: functional.softplus(x),
    "interpolate": lambda x: functional.interpolate(x[None, None], scale_factor=2.0),
    "mixed addcmul": lambda x: torch.addcmul(x, x, x.float()),
    "mixed index_put": lambda x: x.index_put([classes()], x.float()),
}
IN_HALF: dict[str, Call] = {
    "linear": lambda x: nn.Linear(N, N)(x),
    "matmul": lambda x: x @ x.float(),
    "mv": lambda x: x.float().mv(x[0].float()),
    "convolution": lambda x: nn.Conv1d(N, N, 1)(x[None]),
    "lstm": lambda x: nn.LSTM(N, N)(x)[0],
    "lstm cell": lambda x: nn.LSTMCell(N, N)(x.float())[0],
    "attention": lambda x: attended(x.float()),
    "masked attention": lambda x: attended(x, x.float()),
    "gelu": functional.gelu,
    "relu": functional.relu,
    "dropout": lambda x: functional.dropout(x, 0.1),
    "mean": lambda x: x.mean(),
    "addcmul": lambda x: torch.addcmul(x, x, x),
    "sum with a type": lambda x: x.sum(dtype=HALF),
    "softmax with a type": lambda x: functional.softmax(x, -1, dtype=HALF),
    "padding": lambda x: functional.pad(x[None], (1, 1), mode="reflect"),
}


def result_of(call: Call, *, operators: Operators = "accelerator") -> torch.dtype:
    with FakeTensorMode(), running(operators), torch.autocast("cpu", HALF):
        return call(torch.empty(N, N, dtype=HALF, requires_grad=True)).dtype


@pytest.mark.parametrize("name", IN_SINGLE)
def test_what_cuda_computes_in_single_precision_is(name: str) -> None:
    assert result_of(IN_SINGLE[name]) == SINGLE


@pytest.mark.parametrize("name", IN_HALF)
def test_what_cuda_computes_in_the_lower_precision_is(name: str) -> None:
    assert result_of(IN_HALF[name]) == HALF


def saved_by(call: Call, x: torch.Tensor) -> tuple[torch.Tensor, set[torch.dtype]]:
    saved: set[torch.dtype] = set()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        saved.add(tensor.dtype)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        return call(x), saved


def test_a_block_saves_what_it_saves_on_cuda() -> None:
    kept = {}
    with FakeTensorMode(), running("accelerator"), torch.autocast("cpu", HALF):
        x = torch.empty(N, N)
        for name, call in {
            "linear": nn.Linear(N, N),
            "gelu": functional.gelu,
            "second linear": nn.Linear(N, N),
            "norm": nn.LayerNorm(N),  # from here on the activations are in single precision
            "gelu behind": functional.gelu,
            "third linear": nn.Linear(N, N),  # saves its input as it has cast it
            "softmax": IN_SINGLE["softmax"],
        }.items():
            x, kept[name] = saved_by(call, x)
        x.sum().backward()
    assert kept == {
        "linear": {HALF},
        "gelu": {HALF},
        "second linear": {HALF},
        "norm": {SINGLE},
        "gelu behind": {SINGLE},
        "third linear": {HALF},
        "softmax": {SINGLE},
    }


def test_double_precision_is_left_alone() -> None:
    assert result_of(lambda x: x.double().exp()) == torch.float64
    assert result_of(lambda x: x.double().sum()) == torch.float64


def test_without_autocast_nothing_is_cast() -> None:
    with FakeTensorMode(), running("accelerator"):
        x = torch.empty(N, N, dtype=HALF)
        assert [call(x).dtype for call in (IN_SINGLE["power operator"], torch.exp, torch.sum)] == [HALF] * 3


@pytest.mark.parametrize("name", ["softmax", "power operator", "sum"])
def test_a_cpu_casts_as_it_does_before_and_after(name: str) -> None:
    assert result_of(IN_SINGLE[name], operators="cpu") == HALF
    result_of(IN_SINGLE[name])
    assert result_of(IN_SINGLE[name], operators="cpu") == HALF


def test_the_lists_of_a_cpu_come_back_where_a_step_fails() -> None:
    with pytest.raises(ZeroDivisionError), running("accelerator"):
        raise ZeroDivisionError
    assert result_of(IN_HALF["padding"], operators="cpu") == SINGLE
