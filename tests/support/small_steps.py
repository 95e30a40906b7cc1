"""Small captured steps of many kinds: each has something that large models have too, and nothing to hide it behind."""

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tmtrain.capturing import capture
from tmtrain.trace import Trace

WIDTH, BATCH = 128, 512


class _Body(nn.Module):
    """A few layers and a function of them."""

    def __init__(self, forward: Callable[[nn.ModuleList, Tensor], Tensor], *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self._forward = forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self.layers, x)


def _linears(count: int, width: int = WIDTH) -> list[nn.Module]:
    return [nn.Linear(width, width) for _ in range(count)]


def _chain(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = torch.relu(layer(x))
    return x


def _gates(layers: nn.ModuleList, x: Tensor) -> Tensor:
    gates = [torch.sigmoid(x * layer.weight[0]) for layer in layers]
    for layer, gate in zip(layers, gates, strict=True):
        x = torch.tanh(layer(x)) * gate
    return x


def _long_skips(layers: nn.ModuleList, x: Tensor) -> Tensor:
    kept = []
    for layer in layers:
        x = torch.relu(layer(x))
        kept.append(x)
    for early in reversed(kept):
        x = torch.tanh(x + early)
    return x


def _in_place(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x).mul_(0.5).relu_()
    return x


def _shared(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for _ in range(4):
        x = torch.tanh(layers[0](x))
    return x


def _recurrent(layers: nn.ModuleList, x: Tensor) -> Tensor:
    state = torch.zeros_like(x)
    for _ in range(5):
        state = torch.tanh(layers[0](x) + layers[1](state))
    return state


def _towers(layers: nn.ModuleList, x: Tensor) -> Tensor:
    left = right = x
    half = len(layers) // 2
    for a, b in zip(layers[:half], layers[half:], strict=True):
        left, right = torch.relu(a(left)), torch.tanh(b(right))
    return left * right


def _u_net(layers: nn.ModuleList, x: Tensor) -> Tensor:
    down, kept = x, []
    for layer in layers[:2]:
        kept.append(down)
        down = torch.relu(layer(down))
    for layer, skip in zip(layers[2:], reversed(kept), strict=True):
        down = torch.relu(layer(down)) + skip
    return down


def _cheap(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
        for function in (torch.sin, torch.sigmoid, torch.tanh):
            x = function(x)
    return x


def _nested(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for layer in layers:
        x = checkpoint(layer, x, use_reentrant=False)
    return x


def _block() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))


def _body(kind: str) -> tuple[nn.Module, int, int]:
    """Return the model, its width and its batch."""
    plain = {
        "gates": (_Body(_gates, *_linears(4)), WIDTH, BATCH),
        "long skips": (_Body(_long_skips, *_linears(4)), WIDTH, BATCH),
        "in-place chain": (_Body(_in_place, *_linears(6)), WIDTH, BATCH),
        "shared weights": (_Body(_shared, *_linears(1)), WIDTH, BATCH),
        "recurrent": (_Body(_recurrent, *_linears(2)), WIDTH, BATCH),
        "two towers": (_Body(_towers, *_linears(6)), WIDTH, BATCH),
        "U-Net": (_Body(_u_net, *_linears(4)), WIDTH, BATCH),
        "cheap activations": (_Body(_cheap, *_linears(3)), WIDTH, BATCH),
        "nested modules": (_Body(_nested, *(_block() for _ in range(3))), WIDTH, BATCH),
        "one huge tensor": (nn.Sequential(nn.Linear(64, 4096), nn.ReLU(), nn.Linear(4096, 16)), 64, BATCH),
        "all parameters": (_Body(_chain, *_linears(6, 512)), 512, 4),
        "all activations": (_Body(_chain, *_linears(6, 16)), 16, 8192),
        "no reuse": (_Body(_chain, *_linears(1)), WIDTH, BATCH),
        "three micro-batches": (_Body(_chain, *_linears(4)), WIDTH, BATCH),
        "tiny": (nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64)), 64, 128),
    }
    return plain[kind]


KINDS = (
    "gates",
    "one huge tensor",
    "three micro-batches",
    "long skips",
    "in-place chain",
    "shared weights",
    "recurrent",
    "two towers",
    "U-Net",
    "all parameters",
    "all activations",
    "cheap activations",
    "no reuse",
    "nested modules",
    "tiny",
)


@cache
def small_trace(kind: str) -> Trace:
    """Return the captured steady step of one of `KINDS`, with SGD with momentum."""
    torch.manual_seed(0)
    model, width, batch = _body(kind)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, foreach=False)
    parts = 3 if kind == "three micro-batches" else 1
    inputs = [torch.randn(batch, width) for _ in range(parts)]

    def step() -> None:
        for x in inputs:
            model(x).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    step()
    with capture(model, optimizer, name=kind) as session:
        step()
    return session.trace
