"""Dropout in one kernel, which saves a mask of one byte per element; a CPU saves noise of the input's type."""

import torch


def drop(input: torch.Tensor, p: float, train: bool) -> torch.Tensor:  # noqa: A002
    """`torch.dropout` as CUDA runs it (`aten/src/ATen/native/Dropout.cpp`, ``is_fused_kernel_acceptable``)."""
    if not train or not 0 < p < 1 or input.numel() == 0:
        return NotImplemented
    return torch.native_dropout(input, p, True)[0]
