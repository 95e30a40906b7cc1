"""RMS norm in one kernel, which saves its input and one number per row; a CPU composes it of single operators."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tmtrain.capturing.internals import below_autograd
from tmtrain.capturing.operators.autocast import raised

_aten = torch.ops.aten


def rms_norm(
    input: torch.Tensor,  # noqa: A002
    normalized_shape: Sequence[int],
    weight: torch.Tensor | None = None,
    eps: float | None = None,
) -> torch.Tensor:
    """`torch.rms_norm` as CUDA runs it (`aten/src/ATen/native/layer_norm.cpp`): fused where types agree."""
    input, weight = raised(input, weight)  # noqa: A001
    if weight is not None and weight.dtype != input.dtype:
        return NotImplemented
    return _RmsNorm.apply(input, tuple(normalized_shape), weight, eps)


class _RmsNorm(torch.autograd.Function):
    """The fused kernel with its derivative: torch has neither for CPU tensors."""

    @staticmethod
    def forward(
        ctx: Any, source: torch.Tensor, shape: tuple[int, ...], weight: torch.Tensor | None, eps: float | None
    ) -> torch.Tensor:
        with below_autograd():
            result, deviation = _aten._fused_rms_norm(source, shape, weight, eps)
        ctx.save_for_backward(source, weight, deviation)
        ctx.shape = shape
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        source, weight, deviation = ctx.saved_tensors
        mask = [ctx.needs_input_grad[0], ctx.needs_input_grad[2]]
        with below_autograd():
            of_source, of_weight = _aten._fused_rms_norm_backward(
                *gradients, source, ctx.shape, deviation, weight, mask
            )
        return of_source, None, of_weight, None
