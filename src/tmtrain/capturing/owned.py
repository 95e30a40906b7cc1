"""What model and optimizer own now: parameters, buffers, optimizer state and gradients, by name."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch

from tmtrain.trace import Role


class Owner(NamedTuple):
    """What a tensor that model or optimizer hold is to them; the tensor itself is not kept alive by it."""

    name: str
    role: Role
    module: str
    """Path of the module that owns it; "" for the root."""


Owned = tuple[torch.Tensor, Owner]


def owned_tensors(model: torch.nn.Module, *optimizers: torch.optim.Optimizer) -> Iterator[Owned]:
    """Yield what `model` and `optimizers` hold now; a tied parameter comes once, under its first name.

    >>> layer = torch.nn.Linear(2, 1)
    >>> [owner.name for _, owner in owned_tensors(layer, torch.optim.SGD(layer.parameters()))]
    ['weight', 'bias']
    """
    names = parameter_names(model, *optimizers)
    for parameter, name in names.items():
        yield parameter, Owner(name, Role.PARAMETER, _parent(name))
    for name, buffer in model.named_buffers():
        yield buffer, Owner(name, Role.BUFFER, _parent(name))
    for optimizer in optimizers:
        for parameter, state in list(optimizer.state.items()):
            name = names.get(parameter, "optimizer")
            for path, tensor in _tensors_in(state):
                yield tensor, Owner(f"state:{name}{path}", Role.OPTIMIZER_STATE, _parent(name))
    yield from gradients(names)


def gradients(names: dict[torch.Tensor, str]) -> Iterator[Owned]:
    """Yield the gradients that are there now."""
    for parameter, name in names.items():
        if parameter.grad is not None:
            yield parameter.grad, Owner(f"grad:{name}", Role.GRADIENT, _parent(name))


def parameter_names(model: torch.nn.Module, *optimizers: torch.optim.Optimizer) -> dict[torch.Tensor, str]:
    """Return the model's names; a parameter that only an optimizer knows is ``param#i``."""
    names: dict[torch.Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    groups = (group for optimizer in optimizers for group in optimizer.param_groups)
    # Of two optimizers that share a parameter the first one counts.
    extra = dict.fromkeys(p for group in groups for p in group["params"] if p not in names)
    names |= {parameter: f"param#{i}" for i, parameter in enumerate(extra)}
    return names


def _tensors_in(value: Any, path: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors inside nested dicts and lists, with the path of keys to each."""
    if isinstance(value, torch.Tensor):
        yield path, value
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _tensors_in(part, f"{path}.{key}")
    elif isinstance(value, (list, tuple)):
        for index, part in enumerate(value):
            yield from _tensors_in(part, f"{path}.{index}")


def _parent(name: str) -> str:
    return name.rpartition(".")[0]
