"""Operators over lists of tensors run in chunks, with the same bits."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.runtime.dispatch.chunked_optimizers import ChunkedOptimizers

KIB = 1024


class _Calls(TorchDispatchMode):
    """Notes how many tensors each operator over lists was given."""

    def __init__(self) -> None:
        super().__init__()
        self.lengths: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if "foreach" in str(func) or "fused" in str(func):
            self.lengths.append(len(args[0]))
        return func(*args, **(kwargs or {}))


def _tensors(seed: int = 0) -> list[torch.Tensor]:
    dice = torch.Generator().manual_seed(seed)
    return [torch.randn(n, 16, generator=dice) for n in (16, 32, 64, 16, 16)]  # 1, 2, 4, 1, 1 KiB


@pytest.mark.parametrize(
    ("call", "lengths"),
    [
        (lambda a, b: torch._foreach_add(a, b), [1, 1, 1, 2]),
        (lambda a, b: torch._foreach_add_(a, b), [1, 1, 1, 2]),
        (lambda a, b: torch._foreach_mul(a, [1.0, 2.0, 3.0, 4.0, 5.0]), [2, 1, 2]),
        (lambda a, b: torch._foreach_norm(a), [2, 1, 2]),
        (lambda a, b: torch._foreach_lerp_(a, b, 0.3), [1, 1, 1, 2]),
        (lambda a, b: torch._foreach_addcdiv_(a, b, b, torch.arange(5.0)), [5]),  # a number per item
    ],
)
def test_chunks_need_no_more_than_the_limit_and_change_no_bit(
    call: Callable[[Any, Any], Any], lengths: list[int]
) -> None:
    one, two = _tensors(), _tensors()
    whole = call(one, _tensors(1))
    with _Calls() as calls, ChunkedOptimizers(4 * KIB):
        cut = call(two, _tensors(1))
    assert calls.lengths == lengths
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert whole is None or all(torch.equal(a, b) for a, b in zip(whole, cut, strict=True))


@pytest.mark.parametrize("kind", [{"foreach": True}, {"fused": True}])
@pytest.mark.parametrize("optimizer", [torch.optim.AdamW, torch.optim.SGD])
def test_chunked_optimizers_change_no_bit(
    kind: dict[str, bool], optimizer: type[torch.optim.Optimizer]
) -> None:
    def trained(*modes: TorchDispatchMode) -> list[torch.Tensor]:
        parameters = [torch.nn.Parameter(tensor) for tensor in _tensors()]
        tested = optimizer(parameters, lr=0.1, **kind)  # pyright: ignore[reportCallIssue]
        for seed in range(3):
            for parameter, grad in zip(parameters, _tensors(seed), strict=True):
                parameter.grad = grad
            for mode in modes:
                mode.__enter__()
            tested.step()
            for mode in reversed(modes):
                mode.__exit__(None, None, None)
        return parameters

    calls = _Calls()
    cut = trained(calls, ChunkedOptimizers(4 * KIB))
    assert set(calls.lengths) != {5}
    assert all(torch.equal(a, b) for a, b in zip(trained(), cut, strict=True))
