"""Low-rank adapters beside frozen weights: Hu et al., "LoRA" (2021)."""

from typing import Any

import torch

_ADAPTED = ("q_proj", "v_proj")


class AdaptedLinear(torch.nn.Module):
    """A frozen layer, and beside it a product of two thin matrices that is trained; as peft does it, without dropout."""

    def __init__(self, base: torch.nn.Linear, *, rank: int) -> None:
        super().__init__()
        device, dtype = base.weight.device, base.weight.dtype
        self.base = base
        self.down = torch.nn.Linear(base.in_features, rank, bias=False, device=device, dtype=dtype)
        self.up = torch.nn.Linear(rank, base.out_features, bias=False, device=device, dtype=dtype)
        self.scaling = 2.0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Return what the layer does with `rows`, and what the adapter adds."""
        return self.base(rows) + self.up(self.down(rows)) * self.scaling


def add_adapters(network: Any, *, rank: int) -> None:
    """Freeze `network`, and give the projections of its queries and values adapters."""
    network.requires_grad_(False)
    layers = [(path, module) for path, module in network.named_modules() if path.endswith(_ADAPTED)]
    for path, layer in layers:
        parent, _, name = path.rpartition(".")
        setattr(network.get_submodule(parent), name, AdaptedLinear(layer, rank=rank))
