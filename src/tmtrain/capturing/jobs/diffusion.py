"""A diffusion transformer, as published and no more: Peebles and Xie, "Scalable Diffusion Models with Transformers" (2023).

Blocks with adaptive layer norm (adaLN-Zero), trained to predict the noise of latents; the part of the loss that trains
the variance needs no operator of the network and is left out.
"""

import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn.functional import mse_loss, scaled_dot_product_attention, silu

_FREQUENCIES = 256


class DiffusionTransformer(nn.Module):
    """Predicts noise from noisy latents, time steps and classes."""

    def __init__(
        self,
        *,
        width: int,
        layers: int,
        heads: int,
        side: int,
        patch: int,
        channels: int,
        classes: int,
        is_fused: bool,
    ) -> None:
        super().__init__()
        self.side, self.channels, self.classes = side, channels, classes
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(torch.empty(1, (side // patch) ** 2, width), requires_grad=False)
        self.times = nn.Sequential(nn.Linear(_FREQUENCIES, width), nn.SiLU(), nn.Linear(width, width))
        self.labels = nn.Embedding(classes + 1, width)
        self.blocks = nn.ModuleList(DiffusionBlock(width, heads, is_fused=is_fused) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        # Noise and variance of each channel.
        self.head = nn.Linear(width, patch**2 * 2 * channels)

    def forward(
        self, *, latents: torch.Tensor, times: torch.Tensor, labels: torch.Tensor, noise: torch.Tensor
    ) -> SimpleNamespace:
        """Return the loss; `noise` is cut into patches, as the head predicts it."""
        tokens = self.patches(latents).flatten(2).transpose(1, 2) + self.positions
        condition = self.times(_waves(times).to(tokens.dtype)) + self.labels(labels)
        for block in self.blocks:
            tokens = block(tokens, condition)
        shift, scale = self.modulation(silu(condition)).chunk(2, dim=1)
        predicted = self.head(_modulated(self.norm(tokens), shift, scale))
        return SimpleNamespace(loss=mse_loss(predicted.chunk(2, dim=2)[0], noise))


class DiffusionBlock(nn.Module):
    """Attention and feed-forward, scaled, shifted and gated by the condition."""

    def __init__(self, width: int, heads: int, *, is_fused: bool) -> None:
        super().__init__()
        self.heads, self.is_fused = heads, is_fused
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.modulation = nn.Linear(width, 6 * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.inner = nn.Linear(width, 4 * width)
        self.outer = nn.Linear(4 * width, width)

    def forward(self, tokens: torch.Tensor, condition: torch.Tensor) -> torch.Tensor:
        """Return the tokens of the next block."""
        shift, scale, gate, shift_2, scale_2, gate_2 = self.modulation(silu(condition)).chunk(6, dim=1)
        tokens = tokens + gate.unsqueeze(1) * self._attend(_modulated(self.norms[0](tokens), shift, scale))
        hidden = nn.functional.gelu(
            self.inner(_modulated(self.norms[1](tokens), shift_2, scale_2)), approximate="tanh"
        )
        return tokens + gate_2.unsqueeze(1) * self.outer(hidden)

    def _attend(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if self.is_fused:
            attended = scaled_dot_product_attention(query, key, value)
        else:
            scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
            attended = scores.softmax(dim=3) @ value
        return self.out(attended.transpose(1, 2).flatten(2))


def _modulated(tokens: torch.Tensor, shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return tokens * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


def _waves(times: torch.Tensor) -> torch.Tensor:
    frequencies = torch.exp(-math.log(10000) * torch.arange(_FREQUENCIES // 2) / (_FREQUENCIES // 2))
    angles = times[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)
