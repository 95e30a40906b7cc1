"""What a dispatch mode needs to know of an operator at every call, worked out at its first one."""

import functools
from dataclasses import dataclass
from typing import Any

from torch._ops import OpOverload

from tmtrain.capturing.internals import schema_of, short_name_of
from tmtrain.capturing.signature import Signature, signature_of
from tmtrain.runtime.dispatch.composites import comes_apart

_RESIZERS = frozenset(("resize_", "resize_as_", "set_"))

_COMMUNICATORS = frozenset(("c10d",))
"""Namespaces of operators whose threads go on with the operands after the operator has returned."""


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
