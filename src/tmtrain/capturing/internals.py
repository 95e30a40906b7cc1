"""What torch keeps private and we need, in one file; checked on torch 2.13."""

# pyright: reportPrivateUsage=false

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket
from torch.utils import _device
from torch.utils._python_dispatch import _disable_current_modes

CROSS_ENTROPY_LOSS: Callable[..., torch.Tensor] = torch._C._nn.cross_entropy_loss  # pyright: ignore[reportAttributeAccessIssue]
"""What `torch.nn.functional.cross_entropy` calls."""
_NO_BACKWARD = -1
_ACCUMULATE_GRAD = 2**64 - 1
"""The sequence number of every AccumulateGrad node."""


def in_backward() -> bool:
    """Return whether autograd runs a graph on this thread."""
    return torch._C._current_graph_task_id() != _NO_BACKWARD


def next_node_number() -> int:
    """Return the number that the next autograd node of this thread will get."""
    return torch.autograd._get_sequence_nr()


def running_node() -> int | torch.Tensor | None:
    """Return the number of the node that backward runs, or the leaf whose gradient it accumulates."""
    node: Any = torch._C._current_autograd_node()
    if node is None:
        return None
    number: int = node._sequence_nr()
    return node.variable if number == _ACCUMULATE_GRAD else number


def without_modes() -> AbstractContextManager[Any]:
    """Leave all dispatch modes for a while."""
    return _disable_current_modes()


def take_content(mine: torch.Tensor, other: torch.Tensor) -> None:
    """Give `mine` the memory, shape and dtype of `other`, also where `mine` is on the meta device; `other` is spent."""
    if torch._has_compatible_shallow_copy_type(mine, other):
        mine.data = other.data
    else:
        torch._C._swap_tensor_impl(mine, other)


def default_device() -> torch.device | None:
    """Return the device of `torch.set_default_device`, or of ``with torch.device(...)``; None where there is none.

    Asked in public, torch makes a tensor to see where that comes to lie.
    """
    return _device.CURRENT_DEVICE


def below_autograd() -> AbstractContextManager[Any]:
    """Let operators be called past autograd: as they are, even where it would compose them of others."""
    return torch._C._AutoDispatchBelowAutograd()


def without_autocast() -> AbstractContextManager[Any]:
    """Let operators be called past autocast, whatever the device."""
    return torch._C._DisableAutocast()


def overload_of(name: str) -> OpOverload:
    """Return torch's operator of a name with its overload, where it is not the default.

    >>> overload_of("pow.Tensor_Scalar"), overload_of("exp")
    (<OpOverload(op='aten.pow', overload='Tensor_Scalar')>, <OpOverload(op='aten.exp', overload='default')>)
    """
    packet, _, overload = name.partition(".")
    return getattr(getattr(torch.ops.aten, packet), overload or "default")


def storage_key(storage: torch.UntypedStorage) -> int:
    """Return a number that no other living storage has."""
    return storage._cdata


def dense_parts(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return the dense tensors that a tensor is made of: itself, or the indices and values of a sparse one.

    >>> [tuple(part.shape) for part in dense_parts(torch.eye(3).to_sparse())]
    [(2, 3), (3,)]
    """
    if tensor.layout is torch.strided:
        return (tensor,)
    with without_modes():
        if tensor.layout is torch.sparse_coo:
            return tensor._indices(), tensor._values()
        if tensor.layout in (torch.sparse_csr, torch.sparse_bsr):
            return tensor.crow_indices(), tensor.col_indices(), tensor.values()
        if tensor.layout in (torch.sparse_csc, torch.sparse_bsc):
            return tensor.ccol_indices(), tensor.row_indices(), tensor.values()
    return (tensor,)


def schema_of(func: OpOverload) -> torch.FunctionSchema:
    """Return arguments and results with their alias information."""
    return func._schema


@cache
def is_composite(func: OpOverload) -> bool:
    """Return whether the operator is nothing but other operators.

    >>> is_composite(torch.ops.aten.linear.default)
    True
    """
    return has_kernel(func, "CompositeImplicitAutograd")


def has_kernel(func: OpOverload, dispatch_key: str) -> bool:
    """Return whether somebody has written a kernel of the operator for this dispatch key itself.

    >>> has_kernel(torch.ops.aten.mm.default, "CPU"), has_kernel(torch.ops.aten.linear.default, "CPU")
    (True, False)
    """
    if func.namespace == "prim":  # of the interpreter, not of the dispatcher
        return False
    return torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), dispatch_key)


def short_name_of(func: OpOverload) -> str:
    """Return the operator without namespace and overload.

    >>> short_name_of(torch.ops.aten.add_.Tensor)
    'add_'
    """
    return func._opname


def packet_of(func: OpOverload) -> OpOverloadPacket:
    """Return all overloads of the operator: the key of torch's FLOP registry."""
    return func._overloadpacket
