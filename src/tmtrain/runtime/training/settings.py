"""What the user asked for, checked before anything is spent."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Generic, ParamSpec, TypeVar

import torch

from tmtrain.capturing.owned import owned_tensors
from tmtrain.errors import InputError
from tmtrain.machine import Machine
from tmtrain.planning import check_objective
from tmtrain.runtime.following.planned_step import OBJECTIVE
from tmtrain.runtime.tier.managed_storage import BLOCK_BYTES
from tmtrain.runtime.training.compiled import check_not_compiled
from tmtrain.runtime.training.materialise import Init
from tmtrain.units import format_bytes

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSettings(Generic[P, R]):
    """The arguments of `tmtrain.train`, with its defaults."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[P, R] | None
    """None for loops that are no function."""
    budget_bytes: int
    flash: tuple[Path, ...]
    """A folder on each drive."""
    init: Init | None = None
    restores: bool = True
    machine: Machine | None = None
    """None: the drives are measured on entering."""
    objective: str = OBJECTIVE
    monitor: bool = True
    """Let the timing monitor change plans where durations or the drive's rate have changed for good."""


def check_settings(settings: TrainingSettings[P, R]) -> None:
    """Refuse what makes no sense.

    Raises:
        InputError: says which argument, and what is needed.
    """
    _check_kind("model", settings.model, torch.nn.Module, need="a torch.nn.Module")
    _check_kind("optimizer", settings.optimizer, torch.optim.Optimizer, need="a torch.optim.Optimizer")
    if settings.step is not None and not callable(settings.step):
        raise InputError(
            f"the step is a {type(settings.step).__name__}, a function that trains for one step is needed"
        )
    _check_places(settings.model, settings.optimizer)
    _check_plain(settings.model)
    check_not_compiled(settings.model, settings.optimizer, settings.step)
    check_budget(settings.budget_bytes)
    if not settings.flash:
        raise InputError("flash names no folder: give one on a local drive, or one on each of several")
    check_objective(settings.objective)


def check_budget(budget_bytes: int) -> None:
    """Refuse a budget in which nothing can move.

    Raises:
        InputError: says the least.
    """
    if budget_bytes < BLOCK_BYTES:
        raise InputError(
            f"a budget of {format_bytes(budget_bytes)} is below one block that moves, {format_bytes(BLOCK_BYTES)}: "
            "give the largest operator at least what it touches"
        )


def _check_kind(name: str, value: object, kind: type, *, need: str) -> None:
    if not isinstance(value, kind):
        raise InputError(f"the {name} is a {type(value).__name__}, {need} is needed")


def _check_places(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Refuse what is elsewhere; what is on the meta device in the model is built on entering."""
    built = {tensor for tensor in chain(model.parameters(), model.buffers()) if tensor.is_meta}
    elsewhere = {
        owner.name: tensor.device
        for tensor, owner in owned_tensors(model, optimizer)
        if tensor.device.type != "cpu" and tensor not in built
    }
    if elsewhere:
        name, device = next(iter(elsewhere.items()))
        others = f", and {len(elsewhere) - 1} others are not on the CPU" if len(elsewhere) > 1 else ""
        raise InputError(
            f"{name} is on {device}{others}: a budget is kept on the CPU, so bring model and optimizer there, such as by "
            "model.to('cpu') before the optimizer is made (the meta device is for parameters and buffers of the model)"
        )


def _check_plain(model: torch.nn.Module) -> None:
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter):
            raise InputError(
                f"{name} is a {type(tensor).__name__}, whose memory others manage: plain tensors are needed (DDP is fine; "
                "FSDP and DTensors are not, give the model as it was before fully_shard)"
            )
