"""What a training is: taken from model and optimizer for a checkpoint, and put back bit for bit, tensor by tensor.

Note [What state_dict leaves open]: modules and optimizers may do what they like when they hand out their state and take it
back (hooks, extra state, methods of their own). So what a model hands out as its own memory is filled in place, and
everything else goes the way that torch provides, `load_state_dict`. Two things that torch itself loses are kept: buffers
that are not persistent, which it leaves out, and the state of an optimizer that adds nothing to how torch does it.
`load_state_dict` would cast that to the types of the parameters and take strings to pieces.
"""

# pyright: reportPrivateUsage=false

from collections import OrderedDict, defaultdict
from itertools import chain
from typing import Any

import torch

from tmtrain.capturing.internals import storage_key
from tmtrain.errors import FileFormatError, InputError
from tmtrain.runtime.checkpoints.checkpoint import Checkpoint, Hold
from tmtrain.runtime.checkpoints.values import METADATA, Saved

_PARTS = ("model", "optimizer", "rng", "extra")
_CLUMSY = (AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What `load_state_dict` raises when it gets the state of something else."""


def training_state(model: torch.nn.Module, optimizer: torch.optim.Optimizer, extra: Any) -> dict[str, Any]:
    """Return the tree of a checkpoint."""
    return {
        "model": model.state_dict(),
        "buffers": _buffers_left_out(model),
        "optimizer": optimizer.state_dict(),
        "optimizer_class": type(optimizer).__qualname__,
        "rng": torch.get_rng_state(),
        "extra": extra,
    }


def resume(
    checkpoint: Checkpoint, model: torch.nn.Module, optimizer: torch.optim.Optimizer, *, hold: Hold
) -> Any:
    """Set model, optimizer and torch's generator to what was saved; return what the caller had saved besides.

    Raises:
        InputError: it was saved from another model or optimizer; nothing is changed then, unless only code of the model's
            or the optimizer's own noticed.
        FileFormatError: the file is damaged. What came before the damage is restored already.
    """
    tree = checkpoint.tree
    if not isinstance(tree, dict) or not all(part in tree for part in _PARTS):
        raise FileFormatError(
            "the checkpoint holds no training: it lacks one of " + ", ".join(_PARTS), field="tree"
        )
    _check_model(tree["model"], model)
    _check_optimizer(tree, optimizer)
    _fill_model(checkpoint, tree["model"], model, hold=hold)
    _fill_buffers(checkpoint, tree.get("buffers", {}), model, hold=hold)
    _fill_optimizer(checkpoint, tree["optimizer"], optimizer, hold=hold)
    torch.set_rng_state(checkpoint.restored(tree["rng"], hold=hold))
    return checkpoint.restored(tree["extra"], hold=hold)


def _fill_model(checkpoint: Checkpoint, saved: dict[str, Any], model: torch.nn.Module, *, hold: Hold) -> None:
    """Fill in place what the model hands out of its own; let it take the rest as it provides for."""
    live, own = model.state_dict(), _own_views(model)
    state_dict: OrderedDict[str, Any] = OrderedDict()
    if hasattr(saved, METADATA):
        setattr(state_dict, METADATA, getattr(saved, METADATA))
    filled: set[tuple[str, object]] = set()
    is_all_own = True
    with torch.no_grad():
        for name, value in saved.items():
            mine = live.get(name)
            if mine is None or not _is_own(value, mine, own=own):
                state_dict[name], is_all_own = checkpoint.restored(value, hold=hold), False
                continue
            if (value.name, _view_of(mine)) not in filled:  # else tied
                mine.copy_(checkpoint.restored(value, hold=hold))
                filled.add((value.name, _view_of(mine)))
            state_dict[name] = mine
    if not (is_all_own and _loads_plainly(model)):
        try:
            model.load_state_dict(state_dict)
        except _CLUMSY as error:
            raise InputError(f"the checkpoint is of another model: {error}") from error


def _fill_buffers(
    checkpoint: Checkpoint, saved: dict[str, Any], model: torch.nn.Module, *, hold: Hold
) -> None:
    """Restore the buffers that `state_dict` leaves out; one of another shape, made on the way, takes its place."""
    modules = dict(model.named_modules())
    with torch.no_grad():
        for path, value in saved.items():
            parent, _, name = path.rpartition(".")
            if parent not in modules or name not in modules[parent]._buffers:
                continue  # this model computes without it
            mine, tensor = modules[parent]._buffers[name], checkpoint.restored(value, hold=hold)
            if mine is not None and (mine.shape, mine.dtype) == (tensor.shape, tensor.dtype):
                mine.copy_(tensor)
            else:
                modules[parent]._buffers[name] = tensor


def _fill_optimizer(
    checkpoint: Checkpoint, saved: dict[str, Any], optimizer: torch.optim.Optimizer, *, hold: Hold
) -> None:
    state_dict = checkpoint.restored(saved, hold=hold)
    try:
        if not _is_plain(optimizer):
            optimizer.load_state_dict(state_dict)
            return
        optimizer.load_state_dict(state_dict | {"state": {}})
    except _CLUMSY as error:
        raise InputError(f"the checkpoint is of another optimizer: {error!r}") from error
    numbers = chain.from_iterable(group["params"] for group in state_dict["param_groups"])
    parameters = chain.from_iterable(group["params"] for group in optimizer.param_groups)
    known = dict(zip(numbers, parameters, strict=True))
    state = {known.get(key, key): value for key, value in state_dict["state"].items()}
    optimizer.__setstate__({"state": defaultdict(dict, state), "param_groups": optimizer.param_groups})


def _check_model(saved: dict[str, Any], model: torch.nn.Module) -> None:
    live, own = model.state_dict(), _own_views(model)
    if saved.keys() != live.keys() and _loads_plainly(model):
        one = sorted(saved.keys() ^ live.keys())[0]
        where = "the checkpoint" if one in saved else "the model"
        raise InputError(
            f"the checkpoint is of another model: {one} is in {where} alone; build the model as it was saved"
        )
    for name, value in saved.items():
        mine = live.get(name)
        if mine is None or not _is_own(value, mine, own=own):
            continue  # nobody but the module knows what fits
        there, here = (value.form.shape, value.form.dtype), (tuple(mine.shape), mine.dtype)
        if there != here:
            raise InputError(
                f"the checkpoint is of another model: {name} is {_described(*there)} there and {_described(*here)} here; "
                "build the model as it was saved"
            )


def _check_optimizer(tree: dict[str, Any], optimizer: torch.optim.Optimizer) -> None:
    kind = type(optimizer).__qualname__
    if tree.get("optimizer_class", kind) != kind:
        raise InputError(
            f"the checkpoint is of another optimizer: {tree['optimizer_class']} there, {kind} here; build the optimizer as "
            "it was saved"
        )
    if "param_groups" not in tree["optimizer"]:
        return  # a form of its own
    there = [len(group["params"]) for group in tree["optimizer"]["param_groups"]]
    here = [len(group["params"]) for group in optimizer.param_groups]
    if there != here:
        raise InputError(
            f"the checkpoint is of another optimizer: its groups have {there} parameters, those here {here}; "
            "build the optimizer as it was saved"
        )


def _described(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"{shape} of {str(dtype).removeprefix('torch.')}"


def _own_views(model: torch.nn.Module) -> set[object]:
    return {_view_of(tensor) for tensor in chain(model.parameters(), model.buffers())}


def _is_own(saved: Any, mine: Any, *, own: set[object]) -> bool:
    """Whether the model hands out memory of its own under a name, and what was saved under it can fill that."""
    is_tensor = isinstance(saved, Saved) and saved.array is None
    return is_tensor and isinstance(mine, torch.Tensor) and _view_of(mine) in own


def _view_of(tensor: torch.Tensor) -> object:
    """Return what tells one piece of memory, seen in one way, from others."""
    key = storage_key(tensor.untyped_storage())
    return key, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype


def _buffers_left_out(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {
        f"{path}.{name}".removeprefix("."): buffer
        for path, module in model.named_modules()
        for name in sorted(module._non_persistent_buffers_set)
        if (buffer := module._buffers.get(name)) is not None
    }


def _loads_plainly(model: torch.nn.Module) -> bool:
    """Whether to load this model's state means to fill its own memory, and nothing else."""
    return type(model).load_state_dict is torch.nn.Module.load_state_dict and all(
        type(module)._load_from_state_dict.__module__.startswith("torch.nn.")
        and not module._load_state_dict_pre_hooks
        and not module._load_state_dict_post_hooks
        for module in model.modules()
    )


def _is_plain(optimizer: torch.optim.Optimizer) -> bool:
    """Whether an optimizer hands out its state as it is, and takes it back so."""
    kind, base = type(optimizer), torch.optim.Optimizer
    return (
        kind.state_dict is base.state_dict
        and kind.load_state_dict is base.load_state_dict
        and not (
            optimizer._optimizer_state_dict_pre_hooks
            or optimizer._optimizer_state_dict_post_hooks
            or optimizer._optimizer_load_state_dict_pre_hooks
            or optimizer._optimizer_load_state_dict_post_hooks
        )
    )
