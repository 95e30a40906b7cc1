"""Loans: managed storages whose memory an operator may give to the allocator, which must not get closed pages."""

from collections.abc import Callable
from typing import Any

import torch

from tmtrain.runtime.dispatch.operands import is_movable, memory_of
from tmtrain.runtime.tier.tier import Tier


class Loans:
    """Lends storages to operators that resize what they write to, and takes them back wherever they are then."""

    def __init__(self, tier: Tier, *, gone: Callable[[int], None]) -> None:
        """Begin.

        Args:
            tier: That manages them.
            gone: Is told of those that came back such that they cannot be managed any more.
        """
        self._tier, self._gone = tier, gone
        self._lent: dict[int, torch.UntypedStorage] = {}

    def run(
        self,
        func: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        written: dict[int, torch.UntypedStorage],
    ) -> Any:
        """Run the operator, which writes to those."""
        self._lent = {key: storage for key, storage in written.items() if key in self._tier}
        for key in self._lent:
            self._tier.lend(key)
        try:
            return func(*args, **kwargs)
        finally:
            self.settle()

    def settle(self) -> None:
        """Take back what is lent; a second call does what an exception has left undone."""
        if not self._lent:
            return
        for key, storage in list(self._lent.items()):
            try:
                self._tier.take_back(key, memory_of(storage) if is_movable(storage) else None)
            finally:
                if key not in self._tier:
                    self._gone(key)
        self._lent = {}
