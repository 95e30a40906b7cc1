"""Autocast, which casts below the calls that are taken: what is taken casts by itself."""

import torch


def lowered(*tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the tensors in the lower precision of autocast, as they are without it."""
    kind = tensors[0].device.type
    if not torch.is_autocast_enabled(kind):
        return tensors
    dtype = torch.get_autocast_dtype(kind)
    return tuple(tensor.to(dtype) if tensor.dtype == torch.float32 else tensor for tensor in tensors)
