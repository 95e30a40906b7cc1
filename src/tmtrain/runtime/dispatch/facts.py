"""What a dispatch mode needs to know of an operator at every call, worked out at its first one.

Note [Composite operators]: with autograd above, an operator that is nothing but other operators is taken apart before a
mode sees it. Under `torch.inference_mode` nobody does. Such an operator may say that it returns a view, and copy all
the same (``contiguous``, ``reshape``), and make temporaries that nobody sees. So the modes take it apart: law 1 and
the budget hold for what it is made of.
"""

import functools
from dataclasses import dataclass
from typing import Any

from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.internals import has_kernel, is_composite, schema_of, short_name_of
from tmtrain.capturing.signature import Signature, signature_of

_RESIZERS = frozenset(("resize_", "resize_as_", "set_"))

_COMMUNICATORS = frozenset(("c10d",))
"""Namespaces of operators whose threads go on with the operands after the operator has returned."""


class UncompiledMode(TorchDispatchMode):
    """A mode for operators as they are; else torch asks at each whether it is compiled, for as long as the rest takes."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorFacts:
    """What the schema of an operator says."""

    signature: Signature
    is_view: bool
    """All results share memory with arguments, and nothing is written."""
    communicates: bool
    """What it touches goes to other processes."""
    makes_tensors: bool
    """Some result is new."""
    may_resize: bool
    """An argument's storage may be at another address afterwards."""
    goes_beyond: bool
    """It may touch of an argument's storage what lies outside of the argument."""


@functools.cache
def facts_of(func: Any) -> OperatorFacts | None:
    """Return the facts; None for what is no operator of its own: composite ones, marks, and those of higher order.

    >>> import torch
    >>> facts = facts_of(torch.ops.aten.view.default)
    >>> facts is not None and facts.is_view, facts_of(torch.ops.aten.reshape.default)
    (True, None)
    """
    if not isinstance(func, OpOverload) or comes_apart(func):
        return None
    signature = signature_of(func)
    if not signature.recorded:
        return None
    schema, is_torchs = schema_of(func), func.namespace == "aten"
    infos = [result.alias_info for result in schema.returns]
    may_resize = short_name_of(func) in _RESIZERS or any(argument.is_out for argument in schema.arguments)
    return OperatorFacts(
        signature=signature,
        # Torch's own views are views. What others say of theirs is judged by what comes out.
        is_view=is_torchs and bool(infos) and all(info is not None and not info.is_write for info in infos),
        communicates=func.namespace in _COMMUNICATORS,
        makes_tensors=any(
            "Tensor" in str(result.type) and (result.alias_info is None or not is_torchs)
            for result in schema.returns
        ),
        may_resize=may_resize,
        goes_beyond=may_resize or short_name_of(func).startswith("as_strided"),
    )


def run_parts(mode: TorchDispatchMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run what `func` is made of under `mode`, see Note [Composite operators]; NotImplemented where it is none.

    Args:
        mode: To see the parts; it has been left, as it is inside of its own ``__torch_dispatch__``.
        func: The operator that has arrived.
        args: Its arguments.
        kwargs: Likewise.
    """
    if not comes_apart(func):
        return NotImplemented
    with mode:
        return func.decompose(*args, **kwargs)


@functools.cache
def comes_apart(func: Any) -> bool:
    """Whether torch itself would run `func` as other operators, on a CPU.

    >>> import torch
    >>> comes_apart(torch.ops.aten.reshape.default), comes_apart(torch.ops.aten.clone.default)
    (True, False)
    """
    return isinstance(func, OpOverload) and is_composite(func) and not has_kernel(func, "CPU")
