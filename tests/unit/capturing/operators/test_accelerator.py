"""Under the mode each call becomes the operator that an accelerator runs, with what that keeps; fake tensors only."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from tmtrain.capturing import capture
from tmtrain.capturing.operators.choice import running
from tmtrain.capturing.operators.cross_entropy import cross_entropy
from tmtrain.errors import CaptureError

B, S, H = 2, 24, 64
"""Batch, sequence, hidden size."""


class Names(TorchDispatchMode):
    """The operators that run, and the kinds of their results."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.dtypes: dict[str, list[torch.dtype]] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func.namespace != "prim":
            name = func.__name__.removesuffix(".default")
            self.names.append(name)
            results = out if isinstance(out, (tuple, list)) else (out,)
            self.dtypes[name] = [result.dtype for result in results if isinstance(result, torch.Tensor)]
        return out


def ran(step: Callable[[], object], *, operators: str = "accelerator") -> Names:
    with FakeTensorMode(), running(operators), Names() as seen:
        step()
    return seen


def heads(
    number: int = 4, size: int = 16, dtype: torch.dtype = torch.bfloat16, length: int = S
) -> torch.Tensor:
    return torch.empty(B, number, length, size, dtype=dtype, requires_grad=True)


def mask(dtype: torch.dtype) -> torch.Tensor:
    return torch.empty(1, 1, S, S, dtype=dtype)


FLASH, EFFICIENT, UNFUSED = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_softmax",
)


@pytest.mark.parametrize(
    ("attend", "kernel"),
    [
        (lambda q: functional.scaled_dot_product_attention(q, q, q), FLASH),
        (lambda q: functional.scaled_dot_product_attention(q, q, q, dropout_p=0.1, is_causal=True), FLASH),
        (lambda q: functional.scaled_dot_product_attention(q, heads(2), heads(2), enable_gqa=True), FLASH),
        (lambda _: functional.scaled_dot_product_attention(*[heads(size=20)] * 3), FLASH),
        (lambda q: functional.scaled_dot_product_attention(q, q, q, attn_mask=mask(torch.bool)), EFFICIENT),
        (
            lambda q: functional.scaled_dot_product_attention(
                q, q, q, attn_mask=mask(q.dtype), dropout_p=0.1
            ),
            EFFICIENT,
        ),
        (
            lambda q: functional.scaled_dot_product_attention(q, q, q, mask(q.dtype), enable_gqa=True),
            EFFICIENT,
        ),
        (lambda _: functional.scaled_dot_product_attention(*[heads(dtype=torch.float32)] * 3), EFFICIENT),
        (lambda q: functional.scaled_dot_product_attention(q, q, heads(size=32)), EFFICIENT),
        (
            lambda q: functional.scaled_dot_product_attention(
                q, heads(length=48), heads(length=48), is_causal=True
            ),
            EFFICIENT,
        ),
        (lambda _: functional.scaled_dot_product_attention(*[heads(dtype=torch.float64)] * 3), UNFUSED),
        (
            lambda q: functional.scaled_dot_product_attention(
                q, heads(2), heads(2), mask(q.dtype), enable_gqa=True
            ),
            UNFUSED,
        ),
    ],
    ids=[
        *("plain", "dropout", "grouped", "odd-head"),
        *("bool-mask", "bias", "groups-of-one", "fp32", "wide-values", "long-keys"),
        *("fp64", "grouped-masked"),
    ],
)
def test_attention_takes_the_kernel_that_cuda_takes(attend, kernel: str) -> None:
    seen = ran(lambda: attend(heads()).sum().backward())
    kernels = [name for name in seen.names if name in (FLASH, EFFICIENT, UNFUSED, "_safe_softmax")]
    assert [name.replace("_safe", "") for name in kernels] == [kernel]
    if kernel != UNFUSED:
        assert f"{kernel}_backward" in seen.names


def test_attention_under_autocast_is_in_the_lower_precision() -> None:
    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            q = heads(dtype=torch.float32)
            functional.scaled_dot_product_attention(q, q, q).sum().backward()

    assert FLASH in ran(step).names


def test_a_bias_has_its_gradient() -> None:
    bias = []

    def step() -> None:
        bias.append(torch.empty(1, 4, S, S, dtype=torch.bfloat16, requires_grad=True))
        q = heads()
        functional.scaled_dot_product_attention(q, q, q, attn_mask=bias[0]).sum().backward()

    ran(step)
    assert bias[0].grad.shape == (1, 4, S, S)


def tokens(requires_grad: bool = True) -> torch.Tensor:
    return torch.empty(B, S, H, dtype=torch.bfloat16, requires_grad=requires_grad)


def test_dropout_saves_one_byte_per_element() -> None:
    seen = ran(lambda: functional.dropout(tokens(), 0.1).sum().backward())
    assert seen.dtypes["native_dropout"] == [torch.bfloat16, torch.bool]
    assert "native_dropout_backward" in seen.names


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_dropout_of_nothing_or_all_draws_no_mask(p: float) -> None:
    assert "native_dropout" not in ran(lambda: functional.dropout(tokens(), p).sum().backward()).names
    assert "native_dropout" not in ran(lambda: functional.dropout(tokens(), p, training=False)).names


def test_norms_save_their_statistics_in_single_precision() -> None:
    half, single = torch.bfloat16, torch.float32
    layer = ran(lambda: nn.LayerNorm(H, dtype=half)(tokens()).sum().backward())
    assert layer.dtypes["native_layer_norm"] == [half, single, single]
    rms = ran(lambda: nn.RMSNorm(H, dtype=half)(tokens()).sum().backward())
    assert rms.dtypes["_fused_rms_norm"] == [half, single]
    assert rms.dtypes["_fused_rms_norm_backward"] == [half, half]
    assert not {"pow", "rsqrt", "mean.dim"} & set(rms.names)


def test_cross_entropy_makes_no_second_table() -> None:
    def step() -> None:
        logits = torch.empty(8, 128, dtype=torch.bfloat16, requires_grad=True)
        functional.cross_entropy(logits, torch.zeros(8, dtype=torch.long)).backward()

    seen = ran(step)
    assert {"cross_entropy", "cross_entropy_backward"} <= set(seen.names)
    assert not any("softmax" in name for name in seen.names)


@pytest.mark.parametrize(
    "options", [{"label_smoothing": 0.1}, {"weight": torch.ones(128)}, {"reduction": "none"}], ids=str
)
def test_what_the_kernel_of_cross_entropy_lacks_is_torchs(options: dict) -> None:
    def step() -> None:
        logits = torch.empty(8, 128, requires_grad=True)
        given = {k: torch.ones(128) if k == "weight" else v for k, v in options.items()}
        functional.cross_entropy(logits, torch.zeros(8, dtype=torch.long), **given).sum().backward()

    assert "_log_softmax" in ran(step).names


def test_calls_inside_functions_of_torch_are_taken() -> None:
    def step() -> None:
        layer = nn.TransformerEncoderLayer(H, 4, H, dropout=0.1, batch_first=True, dtype=torch.bfloat16)
        layer(tokens()).sum().backward()

    names = ran(step).names
    assert names.count(FLASH) == 1
    assert names.count("native_dropout") == 3


@pytest.mark.parametrize("backward", [torch.Tensor.backward, torch.autograd.backward])
def test_what_backward_computes_again_is_taken(backward) -> None:
    def block(x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(functional.scaled_dot_product_attention(x, x, x), 0.1)

    names = ran(lambda: backward(checkpoint(block, heads(), use_reentrant=False).sum())).names
    assert names.count(FLASH) == names.count("native_dropout") == 2


def test_a_gradient_by_function_computes_again_too() -> None:
    def step() -> None:
        q = heads()
        out = checkpoint(lambda x: functional.scaled_dot_product_attention(x, x, x), q, use_reentrant=False)
        torch.autograd.grad(out.sum(), q)

    assert ran(step).names.count(FLASH) == 2


def test_functions_that_ask_for_others_work() -> None:
    ran(lambda: functional.max_pool2d(torch.empty(2, 3, 8, 8, requires_grad=True), 2).sum().backward())


def test_a_capture_of_fake_tensors_may_ask_for_them_and_one_of_real_tensors_not() -> None:
    def job() -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Sequential(nn.Linear(H, H), nn.Dropout(0.1))
        return model, torch.optim.SGD(model.parameters())

    with pytest.raises(CaptureError, match="fake tensors only"):
        capture(*job(), operators="accelerator")
    with FakeTensorMode():
        model, optimizer = job()
        with capture(model, optimizer, operators="accelerator") as captured:
            model(torch.empty(B, H)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert "aten.native_dropout.default" in captured.trace.operators.name


def test_the_operators_of_a_cpu_are_left_alone() -> None:
    names = ran(lambda: functional.dropout(tokens(), 0.1).sum().backward(), operators="cpu").names
    assert "native_dropout" not in names
    assert "bernoulli_.float" in names


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_on_real_tensors_is_torchs(dtype: torch.dtype, reduction: str) -> None:
    ours = torch.randn(9, 17, generator=torch.Generator().manual_seed(0)).to(dtype).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    target = torch.arange(9)
    target[3] = -100
    loss = cross_entropy(ours, target, None, 1 if reduction == "mean" else 2)
    expected = functional.cross_entropy(theirs, target, reduction=reduction)
    loss.backward()
    expected.backward()
    # torch rounds the logarithms of the probabilities to half precision in between.
    rounding = {"rtol": 0.03, "atol": 1e-4} if dtype == torch.bfloat16 else {}
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(ours.grad, theirs.grad, **rounding)
