"""Devices that this computer lacks: what asks for one gets the CPU, for all memory of a trace is one tier.

A fake tensor needs no device, but autograd does: on a fake device that torch was not built for, backward ends the
process. So nothing is ever put there.
"""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch.amp.autocast_mode import autocast
from torch.overrides import TorchFunctionMode

from tmtrain.capturing.internals import default_device

_CPU = torch.device("cpu")
_MOVES = frozenset((torch.Tensor.cuda, torch.Tensor.xpu, torch.Tensor.pin_memory))


class AbsentDevices(TorchFunctionMode):
    """Turns requests for devices that are not there into requests for the CPU."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call `func` with devices that exist."""
        if func in _MOVES and not _accelerators():
            return args[0]
        asked = dict(kwargs or {})
        if "device" in asked:
            asked["device"] = _present(asked["device"])
        if asked.get("pin_memory") and not _accelerators():
            asked["pin_memory"] = False
        if func is torch.Tensor.to:
            args = (args[0], *(_present(arg) for arg in args[1:]))
        else:
            args = tuple(_present(arg) if isinstance(arg, torch.device) else arg for arg in args)
        with ExitStack() as default:
            if _is_absent(default_device()):
                default.enter_context(_CPU)
            return func(*args, **asked)


@contextmanager
def absent_devices() -> Generator[None]:
    """Let code that asks for a device that is not there have the CPU, also in autocast; the default device is kept."""
    default = default_device()
    patches = (
        patch.object(autocast, "__init__", _autocast()),
        patch.object(torch.nn.Module, "to", _conversion()),
    )
    try:
        with patches[0], patches[1], AbsentDevices():
            yield
    finally:
        if default_device() != default:
            torch.set_default_device(default)


def _autocast() -> Callable[..., None]:
    """Return what makes an autocast of a device that is there."""
    original = autocast.__init__

    def init(
        self: autocast, device_type: Any, dtype: torch.dtype | None = None, *args: Any, **kwargs: Any
    ) -> None:
        if isinstance(device_type, str) and _is_absent(device_type):
            # Its dtype stays that of the device: half on GPUs.
            dtype = torch.get_autocast_dtype(device_type) if dtype is None else dtype
            device_type = _CPU.type
        original(self, device_type, dtype, *args, **kwargs)

    return init


def _conversion() -> Callable[..., torch.nn.Module]:
    """Return what converts a module, which looks up numbers of devices before any tensor is asked."""
    original = torch.nn.Module.to

    def to(self: torch.nn.Module, *args: Any, **kwargs: Any) -> torch.nn.Module:
        return original(
            self, *map(_present, args), **{name: _present(value) for name, value in kwargs.items()}
        )

    return to


def _present(device: Any) -> Any:
    return _CPU if _is_absent(device) else device


def _is_absent(device: Any) -> bool:
    """Return whether it names a device, as torch's functions take one, that is neither here nor meta."""
    if isinstance(device, bool) or not isinstance(device, (str, int, torch.device)):
        return False
    try:
        kind = torch.device(device).type
    except RuntimeError:  # a number where there is no accelerator, or a word that is no device
        return isinstance(device, int)
    return kind not in ("cpu", "meta", *_accelerators())


def _accelerators() -> tuple[str, ...]:
    here = torch.accelerator.current_accelerator(check_available=True)
    return () if here is None else (here.type,)
