"""Attention of a model whose layers see a window, or all that came before.

Note [Attention with sinks]: GPT-OSS adds a learned number to each row's sum of exponents, its sink. FlashAttention 3 and
4 do so inside their kernel; torch's has no such argument, and composed of single operators attention would keep scores
that nobody's training keeps. So the sinks, one number for each head, are left out: no product and no byte that counts
depends on them. Windows are the kernel's own.
"""

from typing import Any

import torch
from transformers.integrations.sdpa_attention import sdpa_attention_forward

WINDOWED = "tmtrain_windowed"
"""Name under which transformers finds it."""


def windowed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attend causally, as transformers calls it: (batch, heads, length, width) in, (batch, length, heads, width) out."""
    if sliding_window is None or sliding_window >= query.shape[2]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling)
    tensors = (tensor.transpose(1, 2) for tensor in (query, key, value))
    length = query.shape[2]
    attended = torch.ops.aten._flash_attention_forward(
        *tensors,
        None,
        None,
        length,
        length,
        0.0,
        True,
        False,
        scale=scaling,
        window_size_left=sliding_window - 1,
        window_size_right=0,
    )
    return attended[0], None
