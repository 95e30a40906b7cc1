"""Scaled dot product attention: which of torch's kernels an accelerator runs, after torch's own choice on CUDA.

In order, as `aten/src/ATen/native/transformers/cuda/sdp_utils.cpp` has it (torch 2.13, with the same names):

* *flash*: half precision, no mask or the causal one, heads of at most 256 elements, grouped heads as they are. Saves
  output and one log-sum-exp per row, and a seed where it drops;
* *memory-efficient*: single precision too, and any additive mask, for which it has a gradient; not grouped heads. Saves
  the same, and the mask;
* *math*: single operators, whose scores go to memory. Everything else.

cuDNN's kernel, which newer GPUs prefer, saves what flash does.
"""

import torch

from tmtrain.capturing.operators.autocast import lowered

_aten = torch.ops.aten
_HALF = (torch.bfloat16, torch.float16)
_HEAD_ALIGNMENT = 8
"""Elements; the flash kernel takes heads that are padded to it, the memory-efficient one refuses others."""
_BIAS_ALIGNMENT = 16
_LARGEST_HEAD = 256


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """`torch.nn.functional.scaled_dot_product_attention` by the kernel that CUDA takes; its arguments."""
    query, key, value = lowered(query, key, value)
    if attn_mask is not None:
        (attn_mask,) = lowered(attn_mask)
    if attn_mask is None and _is_for_flash(query, key, value, is_causal=is_causal, grouped=enable_gqa):
        return _flash(query, key, value, dropout_p, is_causal=is_causal, scale=scale)
    if _is_for_efficient(query, key, value):
        bias = None if attn_mask is None else _bias(attn_mask, query, key)
        saves = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value))
        return _aten._scaled_dot_product_efficient_attention(
            query, key, value, bias, saves, dropout_p, is_causal, scale=scale
        )[0]
    return _aten._scaled_dot_product_attention_math(
        query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa
    )[0]


def _is_for_flash(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, is_causal: bool, grouped: bool
) -> bool:
    head = query.shape[-1]
    return (
        _is_regular(query, key, value)
        and query.dtype in _HALF
        and key.shape[-1] == value.shape[-1] == head <= _LARGEST_HEAD
        and (grouped or query.shape[1] == key.shape[1] == value.shape[1])
        and not (is_causal and query.shape[-2] != key.shape[-2])
    )


def _is_for_efficient(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> bool:
    return (
        _is_regular(query, key, value)
        and query.dtype in (*_HALF, torch.float32)
        and query.shape[1] == key.shape[1] == value.shape[1]
        and query.shape[-1] == key.shape[-1]
        and not (query.shape[-1] % _HEAD_ALIGNMENT or value.shape[-1] % _HEAD_ALIGNMENT)
    )


def _is_regular(*tensors: torch.Tensor) -> bool:
    """Whether these are (batch, heads, length, head) of one batch and type, none empty, heads in one piece."""
    first = tensors[0]
    return all(
        t.dim() == 4
        and t.shape[0] == first.shape[0]
        and t.dtype == first.dtype
        and t.numel() > 0
        and t.stride(-1) == 1
        for t in tensors
    )


def _flash(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    dropout_p: float,
    *,
    is_causal: bool,
    scale: float | None,
) -> torch.Tensor:
    head = query.shape[-1]
    missing = -head % _HEAD_ALIGNMENT
    if missing:
        query, key, value = (torch.nn.functional.pad(tensor, (0, missing)) for tensor in (query, key, value))
        scale = head**-0.5 if scale is None else scale
    output = _aten._scaled_dot_product_flash_attention(
        query, key, value, dropout_p, is_causal, False, scale=scale
    )[0]
    return output[..., :head] if missing else output


def _bias(mask: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
    """Return the mask as the kernel adds it: in numbers, for every head, its rows aligned."""
    if mask.dtype == torch.bool:
        allowed = mask
        mask = torch.zeros_like(allowed, dtype=query.dtype)
        mask.masked_fill_(allowed.logical_not(), -torch.inf)
    bias = mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
    if not any(stride % _BIAS_ALIGNMENT for stride in bias.stride()[:-1]):
        return bias
    length = bias.shape[-1]
    return torch.nn.functional.pad(bias, (0, -length % _BIAS_ALIGNMENT))[..., :length]
