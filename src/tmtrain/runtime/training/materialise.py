"""A model that is larger than memory, built in the budget: on the meta device first, then part by part for real."""

from collections.abc import Callable
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.internals import storage_key
from tmtrain.capturing.signature import signature_of
from tmtrain.errors import InputError
from tmtrain.runtime.dispatch.operands import storages_in, written_arguments

Init = Callable[[torch.nn.Module], None]
"""Fills a module's own parameters and buffers, not those of its children."""


def materialise(model: torch.nn.Module, init: Init | None) -> None:
    """Give each tensor of `model` on the meta device memory and content, module by module; what is filled may leave.

    Tensors stay the same Python objects, so an optimizer that knows them still does, and tied ones stay tied.

    Args:
        model: To be changed. Modules without tensors on the meta device are left alone.
        init: As PyTorch's FSDP takes one. Without it: the module's ``reset_parameters()``, or the ``_init_weights`` that
            models of transformers have.

    Raises:
        InputError: nobody knows how to fill a module, or somebody forgot one of its tensors.

    Example:
        >>> with torch.device("meta"):
        ...     model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU())
        >>> weight = model[0].weight
        >>> materialise(model, None)
        >>> model[0].weight is weight, weight.device.type, bool(weight.isfinite().all())
        (True, 'cpu', True)
    """
    for name, module in model.named_modules():
        absent = {path: tensor for path, tensor in _own_tensors(module).items() if tensor.is_meta}
        if absent:
            fill = init or _usual_init(model, module, name=name)
            with torch.no_grad(), _Writes() as writes:
                for tensor in absent.values():
                    _give_memory(tensor)
                fill(module)
            forgotten = [path for path, tensor in absent.items() if tensor not in writes]
            if forgotten:  # memory that nobody wrote holds whatever was there before
                raise InputError(
                    f"nothing was put into {', '.join(forgotten)} of {_called(module, name)}, which came from the meta "
                    "device: fill it in tmtrain.train(..., init=FUNCTION)"
                )


class _Writes(TorchDispatchMode):
    """Sees which storages are written."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: set[int] = set()

    def __contains__(self, tensor: torch.Tensor) -> bool:
        return storage_key(tensor.untyped_storage()) in self._keys

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note what the operator writes, and run it."""
        kwargs = kwargs or {}
        if isinstance(func, OpOverload):
            self._keys.update(storages_in(written_arguments(signature_of(func), args, kwargs)))
        return func(*args, **kwargs)


def _own_tensors(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return dict(module.named_parameters(recurse=False)) | dict(module.named_buffers(recurse=False))


def _give_memory(tensor: torch.Tensor) -> None:
    real = torch.empty_like(tensor, device="cpu")
    if isinstance(tensor, torch.nn.Parameter):
        real = torch.nn.Parameter(real, requires_grad=tensor.requires_grad)
    torch.utils.swap_tensors(tensor, real)


def _usual_init(model: torch.nn.Module, module: torch.nn.Module, *, name: str) -> Init:
    if hasattr(model, "_init_weights"):
        return model._init_weights  # pyright: ignore
    if hasattr(module, "reset_parameters"):
        return lambda module: module.reset_parameters()  # pyright: ignore
    raise InputError(
        f"{_called(module, name)} is on the meta device and has no reset_parameters(): say how its tensors begin with "
        "tmtrain.train(..., init=FUNCTION)"
    )


def _called(module: torch.nn.Module, name: str) -> str:
    return (
        f"module {name!r} ({type(module).__name__})"
        if name
        else f"the model itself ({type(module).__name__})"
    )
