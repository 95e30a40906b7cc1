"""Grouped matrix products of mixtures of experts, for fake tensors that are not bfloat16.

Torch multiplies groups in float32 and float16 too; its shapes for fake tensors refuse all but bfloat16 (2.13).
"""

import functools
from typing import Any

import torch
from torch._subclasses.fake_impls import register_op_impl
from torch._subclasses.fake_tensor import FakeTensorMode

_GROUPED = torch.ops.aten._grouped_mm.default


@functools.cache
def mend_grouped_products() -> None:
    """Tell torch the shapes that it lacks; a second call changes nothing."""
    register_op_impl(_is_grouped)(_grouped_product)


def _is_grouped(func: Any) -> bool:
    return func is _GROUPED


def _grouped_product(
    mode: FakeTensorMode,
    _func: Any,
    left: torch.Tensor,
    right: torch.Tensor,
    offs: torch.Tensor | None = None,
    bias: torch.Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Any:
    if left.dtype not in (torch.float32, torch.float16) or left.dtype != right.dtype or bias is not None:
        return NotImplemented
    groups = () if offs is None else (offs.size(0),)
    match left.dim(), right.dim():
        case 2, 2:  # groups of the inner dimension, a product each
            shape = (*groups, left.size(0), right.size(1))
        case 2, 3:
            shape = (left.size(0), right.size(2))
        case 3, 2:
            shape = (left.size(1), right.size(1))
        case _:
            shape = (left.size(0), left.size(1), right.size(2))
    with mode:
        return torch.empty(shape, dtype=out_dtype or left.dtype, device=left.device)
