"""Results as an accelerator's kernels give them, where torch has fakes of the CPU's kernels only.

Note [Statistics]: norms compute their mean and reciprocal deviation in single precision and save them so on CUDA
(`aten/src/ATen/native/cuda/layer_norm_kernel.cu`, `Normalization.cu`); a CPU rounds them to the precision of the weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


class AcceleratorKernels(TorchDispatchMode):
    """Gives the fake results of an accelerator; enter it inside a fake tensor mode and outside the recorder."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run the operator, or give its results."""
        kernel = _KERNELS.get(func)
        return func(*args, **(kwargs or {})) if kernel is None else kernel(func, *args, **(kwargs or {}))


def _with_exact_statistics(norm: OpOverload, *args: Any, **kwargs: Any) -> Any:
    result, *statistics = norm(*args, **kwargs)
    return (result, *(tensor.to(_exact(tensor.dtype)) for tensor in statistics))


def _rms_norm(
    _norm: OpOverload, source: torch.Tensor, shape: Sequence[int], _weight: Any, _eps: Any
) -> tuple[torch.Tensor, torch.Tensor]:
    result = torch.empty_like(source, memory_format=torch.contiguous_format)
    rows = (*source.shape[: source.dim() - len(shape)], *(1 for _ in shape))
    return result, torch.empty(rows, dtype=_exact(source.dtype), device=source.device)


def _rms_norm_backward(
    _norm: OpOverload,
    _gradient: torch.Tensor,
    source: torch.Tensor,
    _shape: Sequence[int],
    _deviation: torch.Tensor,
    weight: torch.Tensor | None,
    mask: Sequence[bool],
) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    of_source = torch.empty_like(source, memory_format=torch.contiguous_format) if mask[0] else None
    return of_source, torch.empty_like(weight) if mask[1] and weight is not None else None


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


_KERNELS: dict[OpOverload, Callable[..., Any]] = {
    _aten.native_layer_norm.default: _with_exact_statistics,
    _aten.native_batch_norm.default: _with_exact_statistics,
    _aten._fused_rms_norm.default: _rms_norm,
    _aten._fused_rms_norm_backward.default: _rms_norm_backward,
}
