"""What operators allocate for their results: told by their shapes where that is possible, else remembered.

Shapes are worked out on the meta device, once per operator and arguments. Some have nothing to work them out with,
or results whose size depends on values (``x[mask]``). Others make more than their shapes say: a workspace for backward, a
buffer behind a scalar. What a call has really made is counted as soon as it has run, and is expected of the next one.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils._pytree import tree_leaves, tree_map_only

from tmtrain.capturing.internals import short_name_of
from tmtrain.runtime.dispatch.operands import storages_in
from tmtrain.runtime.tier.pages import SMALLEST_BYTES
from tmtrain.runtime.tier.tier import Tier

MARGIN = 9 / 8
"""What depends on values may be so many times what it was the last time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """What a call allocates, as far as it is known before it runs."""

    call: Hashable
    """Operator and shapes; None where these are no key."""
    told_bytes: int | None
    """By shapes alone, so the same in each step; None where they do not tell."""
    room_bytes: int | None
    """To be made for it; None where nobody knows anything yet."""

    @property
    def is_sure(self) -> bool:
        """Whether shapes told all that it was ever seen to make."""
        return self.told_bytes is not None and self.told_bytes == self.room_bytes


NOTHING = Allocation(call=None, told_bytes=0, room_bytes=0)
"""Of an operator that returns what it was given."""


class AllocationBook:
    """What calls will allocate, by their shapes and by what they made before."""

    def __init__(self) -> None:
        self.sparse: str | None = None
        """An operator that takes or makes a sparse tensor, if there was one."""
        self._known: dict[Hashable, Allocation] = {}
        self._growth: dict[OpOverload, float] = {}
        """The most that an operator made whose shapes do not tell, by byte of its operands."""

    def expected(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Allocation:
        """Return what this call will allocate, of storages that count."""
        # Of elementwise operators numbers, which may be others in each step, say nothing of sizes beyond their type.
        shape = _shape_or_type if torch.Tag.pointwise in func.tags else _shape
        call = (func, *map(shape, args), *kwargs, *map(shape, kwargs.values()))
        try:
            known = self._known.get(call)
        except TypeError:  # an argument that cannot be a key
            return self._first(None, func, args, kwargs)
        if known is None:
            known = self._known[call] = self._first(call, func, args, kwargs)
        return known

    def made(
        self,
        allocation: Allocation,
        made_bytes: int,
        func: OpOverload,
        operands: Iterable[torch.UntypedStorage],
    ) -> None:
        """Take in what a call has really made."""
        if allocation.told_bytes is None:
            growth = made_bytes / max(1, sum(storage.nbytes() for storage in operands))
            self._growth[func] = max(growth, self._growth.get(func, 0.0))
            made_bytes = int(made_bytes * MARGIN)
        if allocation.call is not None and (
            allocation.room_bytes is None or made_bytes > allocation.room_bytes
        ):
            self._known[allocation.call] = replace(allocation, room_bytes=made_bytes)

    def _first(
        self, call: Hashable, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Allocation:
        known_bytes, name = _told_bytes(func, args, kwargs), short_name_of(func)
        if "sparse" in name or any(tensor.layout is not torch.strided for tensor in _tensors((args, kwargs))):
            self.sparse = self.sparse or str(func)
        room = None if name in _MAKES_MORE else known_bytes
        if known_bytes is None and func in self._growth:
            operands = sum(_sizes_of((args, kwargs)).values())
            room = int(self._growth[func] * operands * MARGIN)
        elif known_bytes is None:
            bound = _BOUNDS.get(name)
            room = bound(args[0]) if bound is not None else None
        return Allocation(call=call, told_bytes=known_bytes, room_bytes=room)


class ResultRoom:
    """Sees to the room for what operators make, where shapes do not tell it."""

    def __init__(self, tier: Tier) -> None:
        self.book = AllocationBook()
        self._tier = tier
        self._overruns: dict[str, int] = {}
        """By how much the budget was exceeded, by the operator that did it; 0 where that was said."""

    def wanted(self, makes: Allocation) -> int:
        """Return the room to make before it runs: for all that is remembered, as far as it can be had."""
        if makes.is_sure:
            return makes.told_bytes or 0
        most = self._tier.most_room_bytes()
        return max(makes.told_bytes or 0, most if makes.room_bytes is None else min(makes.room_bytes, most))

    def taken(
        self,
        expected: Allocation,
        made_bytes: int,
        *,
        func: OpOverload,
        operands: Iterable[torch.UntypedStorage],
    ) -> None:
        """Remember what an operator made that nobody could tell, and get back into the budget at once."""
        self.book.made(expected, made_bytes, func, operands)
        over = self._tier.used_bytes - self._tier.budget_bytes
        if over > 0:
            self._tier.make_room(0)
            self._overruns.setdefault(str(func), over)

    def take_overruns(self) -> dict[str, int]:
        """Return by how many bytes operators exceeded the budget since the last time: each operator once in a run."""
        new = {name: over for name, over in self._overruns.items() if over}
        self._overruns.update(dict.fromkeys(new, 0))
        return new


_MAKES_MORE = frozenset(("mkldnn_rnn_layer", "mse_loss", "smooth_l1_loss", "soft_margin_loss"))
"""Than their shapes say: a workspace for backward, or all losses behind their mean. Any other is found out when it runs."""

_BOUNDS: dict[str, Callable[[torch.Tensor], int]] = {
    "nonzero": lambda mask: 8 * mask.numel() * max(1, mask.dim()),
    "index": lambda x: x.nbytes,
    "masked_select": lambda x: x.nbytes,
    "_unique2": lambda x: x.nbytes + 16 * x.numel(),
    "unique_dim": lambda x: x.nbytes + 16 * x.numel(),
    "unique_consecutive": lambda x: x.nbytes + 16 * x.numel(),
}
"""The most that an operator makes whose results depend on values; of `index`, where a mask is all that it is given."""


def _told_bytes(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | None:
    """Return the bytes that the operator allocates and that count, if shapes tell them."""
    try:
        with torch.no_grad():
            meta_args, meta_kwargs = tree_map_only(torch.Tensor, _on_meta, (args, kwargs))
            if "device" in meta_kwargs:
                meta_kwargs["device"] = torch.device("meta")
            out = func(*meta_args, **meta_kwargs)
    except Exception:  # whatever is wrong with the call itself, it says so in its own words when it runs
        return None
    if any(tensor.layout is not torch.strided for tensor in _tensors((args, kwargs, out))):
        return None  # how much of a sparse tensor is there depends on values
    operands = _sizes_of((meta_args, meta_kwargs)).keys()
    results = _sizes_of(out)
    return sum(size for key, size in results.items() if key not in operands and size >= SMALLEST_BYTES)


def _tensors(tree: Any) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _sizes_of(tree: Any) -> dict[int, int]:
    """Return the bytes of the storages in a tree, each once, by its key."""
    return {key: storage.nbytes() for key, storage in storages_in(tree_leaves(tree)).items()}


def _on_meta(tensor: torch.Tensor) -> torch.Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")


def _shape_or_type(leaf: Any) -> Any:
    return type(leaf) if isinstance(leaf, (int, float, complex)) else _shape(leaf)


def _shape(leaf: Any) -> Any:
    if isinstance(leaf, torch.Tensor):
        return leaf.shape, leaf.stride() if leaf.layout is torch.strided else leaf.layout, leaf.dtype
    return tuple(map(_shape, leaf)) if isinstance(leaf, (list, tuple)) else leaf
