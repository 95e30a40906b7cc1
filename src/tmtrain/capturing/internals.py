"""What torch keeps private and we need, in one file; checked on torch 2.13."""

# pyright: reportPrivateUsage=false

import sys
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any

import torch
from torch._ops import OpOverload, OpOverloadPacket
from torch.utils import _device
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _disable_current_modes,
    _get_current_dispatch_mode_stack,
)

CROSS_ENTROPY_LOSS: Callable[..., torch.Tensor] = torch._C._nn.cross_entropy_loss  # pyright: ignore[reportAttributeAccessIssue]
"""What `torch.nn.functional.cross_entropy` calls."""
_COMPILER_OF_CALL = "_callback_from_stance"
"""The function of torch's that every call of compiled code asks for its compiler."""
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


def runs_under(mode: type[TorchDispatchMode]) -> bool:
    """Return whether this thread is inside of a dispatch mode of this kind."""
    return any(isinstance(entered, mode) for entered in _get_current_dispatch_mode_stack())


def wrapped_by_compile(function: object) -> Callable[..., Any] | None:
    """Return what `torch.compile` was given, if it has made this, and None otherwise.

    >>> wrapped_by_compile(print) is None
    True
    """
    # What `torch.compiler.disable` has made has the one, and not the other.
    if not hasattr(function, "get_compiler_config"):
        return None
    return getattr(function, "_torchdynamo_orig_callable", None)


def runs_uncompiled() -> bool:
    """Return whether the user has asked torch to run compiled code uncompiled (`torch.compiler.set_stance`)."""
    eval_frame = sys.modules.get("torch._dynamo.eval_frame")  # where nobody has imported it, nobody has asked
    return eval_frame is not None and eval_frame._stance.stance == "force_eager"


def is_compiled_in_place(module: torch.nn.Module) -> bool:
    """Return whether `module.compile()` was called."""
    return module._compiled_call_impl is not None


class CompiledCalls:
    """Asks before anything that `torch.compile` has made is called, in any thread, while somebody is there to be asked.

    Inside of a dispatch mode, torch runs such a function uncompiled and says nothing, or runs what it had compiled before,
    past the mode.
    """

    def __init__(self) -> None:
        self._asked: list[Callable[[], None]] = []
        self._plainly: Callable[[Any], Any] | None = None
        """How torch looks for the compiler, once it is replaced."""

    @contextmanager
    def asking(self, before: Callable[[], None]) -> Generator[None]:
        """Call `before` whenever compiled code is about to run; it may raise."""
        from torch._dynamo import eval_frame  # seconds to import; whoever runs an optimizer has it

        self._asked.append(before)
        if self._plainly is None:
            self._plainly = getattr(eval_frame, _COMPILER_OF_CALL)
            setattr(eval_frame, _COMPILER_OF_CALL, self._ask)
        try:
            yield
        finally:
            self._asked.remove(before)
            if not self._asked:
                setattr(eval_frame, _COMPILER_OF_CALL, self._plainly)
                self._plainly = None

    def _ask(self, callback: Any) -> Any:
        assert self._plainly is not None
        compiler = self._plainly(callback)
        if callable(compiler):  # not where the user asked for eager execution (`torch.compiler.set_stance`)
            for before in self._asked:
                before()
        return compiler


COMPILED_CALLS = CompiledCalls()


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
