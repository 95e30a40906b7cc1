"""Storages lent to what runs now, which may give their memory to the allocator: that must not get closed pages."""

from collections.abc import Callable
from typing import Any

import torch

from tmtrain.runtime.dispatch.operands import is_movable, memory_of
from tmtrain.runtime.tier.tier import Tier


class Loans:
    """Lends storages of a tier, and takes them back wherever they are by then."""

    def __init__(self, tier: Tier, *, lost: Callable[[int], None]) -> None:
        """Begin with nothing lent.

        Args:
            tier: Whose storages.
            lost: Called with the key of each that the tier does not manage any more.
        """
        self._tier, self._lost = tier, lost
        self._lent: dict[int, torch.UntypedStorage] = {}
        self._is_running = False

    def run(self, run: Callable[[], Any], storages: dict[int, torch.UntypedStorage]) -> Any:
        """Run what may put storages elsewhere that the running operator touches; by key."""
        if self._is_running:
            return run()  # for what it is doing, they are lent
        self._lent = {key: storage for key, storage in storages.items() if key in self._tier}
        for key in self._lent:
            self._tier.lend(key)
        self._is_running = True
        try:
            return run()
        finally:
            self._is_running = False
            self.take_back()

    def rest(self) -> None:
        """Nothing runs, whatever an exception has kept from being said."""
        self._is_running = False

    def take_back(self) -> None:
        """Take in what was lent, if nothing runs; an exception may have come before that was done."""
        if self._is_running or not self._lent:
            return
        for key, storage in list(self._lent.items()):
            try:
                self._tier.take_back(key, memory_of(storage) if is_movable(storage) else None)
            finally:
                if key not in self._tier:
                    self._lost(key)
        self._lent = {}
