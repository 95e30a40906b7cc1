"""Puts a checkpoint back into a model and its optimizer, tensor by tensor."""

from collections.abc import Callable
from typing import Any

import torch

from tmtrain.errors import InputError
from tmtrain.runtime.checkpoints.checkpoint import Checkpoint, Saved, restored

Hold = Callable[[torch.Tensor, str], torch.Tensor]


def resume(
    checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, hold: Hold
) -> Any:
    """Set model, optimizer and torch's generator to what was saved; return what the caller had saved besides.

    Raises:
        InputError: it was saved from another model or optimizer; nothing is changed then.
        FileFormatError: the file is damaged. What came before the damage is restored already.
    """
    tree = checkpoint.tree
    _check_model(tree["model"], model)
    _check_optimizer(tree["optimizer"], optimizer)
    _fill_model(checkpoint, tree["model"], model, hold=hold)
    optimizer.load_state_dict(restored(checkpoint, tree["optimizer"], hold=hold))
    torch.set_rng_state(restored(checkpoint, tree["rng"], hold=hold))
    return restored(checkpoint, tree["extra"], hold=hold)


def _fill_model(checkpoint: Checkpoint, saved: dict[str, Any], model: torch.nn.Module, *, hold: Hold) -> None:
    live = model.state_dict()
    filled: set[tuple[str, int]] = set()
    with torch.no_grad():
        for name, value in saved.items():
            if isinstance(value, Saved) and (value.name, live[name].data_ptr()) not in filled:  # else tied
                live[name].copy_(restored(checkpoint, value, hold=hold))
                filled.add((value.name, live[name].data_ptr()))
    extra = {name: value for name, value in saved.items() if not isinstance(value, Saved)}
    if extra:  # `get_extra_state` of a module
        model.load_state_dict(restored(checkpoint, extra, hold=hold), strict=False)


def _check_model(saved: dict[str, Any], model: torch.nn.Module) -> None:
    live = model.state_dict()
    if saved.keys() != live.keys():
        one = sorted(saved.keys() ^ live.keys())[0]
        where = "the checkpoint" if one in saved else "the model"
        raise InputError(
            f"the checkpoint is of another model: {one} is in {where} alone; build the model as it was saved"
        )
    for name, value in saved.items():
        if isinstance(value, Saved) and value.shape != tuple(live[name].shape):
            raise InputError(
                f"the checkpoint is of another model: {name} is {value.shape} there and {tuple(live[name].shape)} here; "
                "build the model as it was saved"
            )


def _check_optimizer(saved: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    there = [len(group["params"]) for group in saved["param_groups"]]
    here = [len(group["params"]) for group in optimizer.param_groups]
    if there != here:
        raise InputError(
            f"the checkpoint is of another optimizer: its groups have {there} parameters, those here {here}; "
            "build the optimizer as it was saved"
        )
