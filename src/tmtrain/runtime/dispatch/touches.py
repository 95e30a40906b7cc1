"""Methods of torch that touch memory past the operators, while a session is entered: what they touch is there.

* `Tensor.numpy` and DLPack hand memory out. It stays until it dies, since whoever has it touches it when they please.
* `Tensor.tolist`, `Tensor.data_ptr` and `torch.save` are for who reads it then and there, before the next operator. So is
  printing, for which torch puts all modes aside.
* `share_memory_`, sending a tensor to another process and `UntypedStorage.resize_` put it elsewhere. The tier would go on
  with the memory that was, which may be somebody else's by then.

Only the thread that trains may do so; another one is refused in a sentence.
"""

# pyright: reportPrivateUsage=false

import functools
import threading
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from tmtrain.capturing.internals import storage_key
from tmtrain.errors import InputError
from tmtrain.runtime.dispatch.residency_mode import ResidencyMode
from tmtrain.runtime.tier.tier import Tier

_HAND_OUT = ("numpy", "__dlpack__")
_READ = ("tolist", "data_ptr", "__repr__")
_PUT_ELSEWHERE = ("share_memory_", "_share_fd_cpu_", "_share_filename_cpu_", "resize_")


class WatchedTouches(ExitStack):
    """Watches those methods from the constructor to `close`."""

    def __init__(self, residency: ResidencyMode, tier: Tier) -> None:
        super().__init__()
        self._residency, self._tier = residency, tier
        self._thread = threading.get_ident()
        for name in _HAND_OUT:
            self._replace(torch.Tensor, name, functools.partial(self._touch_tensor, stays=True))
        for name in _READ:
            self._replace(torch.Tensor, name, functools.partial(self._touch_tensor, stays=False))
        for name in _PUT_ELSEWHERE:
            self._replace(torch.UntypedStorage, name, self._put_elsewhere)
        writer = torch._C.PyTorchFileWriter
        torch._C.PyTorchFileWriter = self._holding(writer)
        self.callback(setattr, torch._C, "PyTorchFileWriter", writer)

    def _replace(self, owner: type, name: str, wrapped: Callable[..., Any]) -> None:
        """Let a method of `owner` go through `wrapped`; one that it inherits is not its own afterwards."""
        own, original = owner.__dict__.get(name), getattr(owner, name)

        @functools.wraps(original)
        def method(touched: Any, *args: Any, **kwargs: Any) -> Any:
            return wrapped(original, touched, *args, **kwargs)

        setattr(owner, name, method)
        if own is None:
            self.callback(delattr, owner, name)
        else:
            self.callback(setattr, owner, name, own)

    def _touch_tensor(
        self, original: Callable[..., Any], tensor: torch.Tensor, *args: Any, stays: bool, **kwargs: Any
    ) -> Any:
        is_plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
        if is_plain and tensor.device.type == "cpu" and tensor.layout is torch.strided:
            storage = tensor.untyped_storage()
            if self._is_ours(storage, what=original.__name__):
                self._residency.hold(storage, what=original.__name__, stays=stays)
        return original(tensor, *args, **kwargs)

    def _put_elsewhere(
        self, original: Callable[..., Any], storage: torch.UntypedStorage, *args: Any, **kwargs: Any
    ) -> Any:
        what = original.__name__
        if not self._is_ours(storage, what=what):
            return original(storage, *args, **kwargs)
        self._residency.hold(storage, what=what, fills=True)
        lent = {storage_key(storage): storage}
        return self._residency.loans.run(lambda: original(storage, *args, **kwargs), lent)

    def _holding(self, writer: Any) -> Any:
        """Return the class that writes the records of `torch.save`, such that it finds them in memory."""
        watched = self

        class HoldingWriter(writer):
            def write_record(self, name: str, data: Any, size: int) -> None:
                if isinstance(data, torch.UntypedStorage) and watched._is_ours(data, what="torch.save"):
                    watched._residency.hold(data, what="torch.save")
                super().write_record(name, data, size)

        return HoldingWriter

    def _is_ours(self, storage: torch.UntypedStorage, *, what: str) -> bool:
        """Whether something has to be done first: not inside an operator, which has its operands in memory.

        Raises:
            InputError: another thread asks for what may be on the drive.
        """
        if storage_key(storage) not in self._tier:
            return False
        if threading.get_ident() != self._thread:
            raise InputError(
                f"{what} of a tensor in the budget, in a thread that does not train: call it in the one that does, or "
                "copy the tensor there first"
            )
        return self._residency in _get_current_dispatch_mode_stack()
