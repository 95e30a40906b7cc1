"""What the schema of an ATen operator says about its tensor arguments, looked up once per operator."""

import functools
from dataclasses import dataclass
from typing import Any

import torch
from torch._ops import OpOverload

from tmtrain.capturing.internals import schema_of, short_name_of

_IGNORED_NAMESPACES = frozenset({"prim", "profiler"})
"""Questions about a tensor's device and profiler marks: no work, no bytes."""

_OVERWRITERS = frozenset(
    (
        "zero_",
        "fill_",
        "copy_",
        "_foreach_zero_",
        "_foreach_copy_",
        "normal_",
        "uniform_",
        "bernoulli_",
        "random_",
        "exponential_",
        "geometric_",
        "cauchy_",
        "log_normal_",
    )
)
"""In-place operators whose result does not depend on what was there; the schema cannot say so."""

_UNDECLARED_WRITES = {
    name: frozenset(("running_mean", "running_var"))
    for name in ("native_batch_norm", "cudnn_batch_norm", "miopen_batch_norm")
}
"""Arguments that an operator updates although its schema is silent; in evaluation mode it does not."""

_UNWRITTEN = frozenset(
    ("empty", "empty_like", "empty_strided", "empty_permuted", "new_empty", "new_empty_strided")
)
"""Allocate without touching a byte."""

_SHAPE_ONLY = _UNWRITTEN | frozenset(
    (
        "zeros_like",
        "ones_like",
        "full_like",
        "rand_like",
        "randn_like",
        "randint_like",
        "new_zeros",
        "new_ones",
        "new_full",
    )
)
"""Ask their argument for its shape and nothing else: to write or to read it no byte of it is needed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorArgument:
    """One argument that can hold a tensor or a list of tensors."""

    position: int
    name: str
    reads: bool
    writes: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """The facts about one operator overload that the recorder needs at every call."""

    name: str
    """Qualified overload, e.g. "aten.mm.default"."""
    short_name: str
    """The operator alone, e.g. "mm"."""
    recorded: bool
    arguments: tuple[TensorArgument, ...]
    num_results: int
    writes_argument: bool
    writes_results: bool
    """False where a new result is left as it was allocated."""
    pointwise: bool
    random: bool
    dropout_position: int | None
    """Schema position of the dropout probability; None where there is none."""

    def draws(self, args: tuple[Any, ...]) -> bool:
        """Return whether this call draws random numbers; with dropout probability 0 it does not."""
        if not self.random or self.dropout_position is None:
            return self.random
        # Left at its default, which is 0 wherever an operator has the argument.
        return self.dropout_position < len(args) and args[self.dropout_position] != 0


@functools.cache
def signature_of(func: OpOverload) -> Signature:
    """Return the facts about `func`, worked out at its first call.

    >>> signature = signature_of(torch.ops.aten.add_.Tensor)
    >>> signature.name, [(a.name, a.reads, a.writes) for a in signature.arguments]
    ('aten.add_.Tensor', [('self', True, True), ('other', True, False)])
    """
    schema = schema_of(func)
    short_name = short_name_of(func)
    arguments = tuple(
        _argument(short_name, position, argument)
        for position, argument in enumerate(schema.arguments)
        if "Tensor" in str(argument.type)
    )
    return Signature(
        name=str(func),
        short_name=short_name,
        recorded=func.namespace not in _IGNORED_NAMESPACES,
        arguments=arguments,
        num_results=len(schema.returns),
        writes_argument=any(argument.writes for argument in arguments),
        writes_results=short_name not in _UNWRITTEN,
        pointwise=torch.Tag.pointwise in func.tags,
        random=torch.Tag.nondeterministic_seeded in func.tags,
        dropout_position=_dropout_position(short_name, [argument.name for argument in schema.arguments]),
    )


def _argument(operator: str, position: int, argument: Any) -> TensorArgument:
    declared = argument.alias_info is not None and argument.alias_info.is_write
    overwritten = declared and (operator in _OVERWRITERS or argument.is_out)
    return TensorArgument(
        position=position,
        name=argument.name,
        reads=not overwritten and operator not in _SHAPE_ONLY,
        writes=declared or argument.name in _UNDECLARED_WRITES.get(operator, ()),
    )


def _dropout_position(short_name: str, names: list[str]) -> int | None:
    if "dropout_p" in names:
        return names.index("dropout_p")
    return names.index("p") if "dropout" in short_name and "p" in names else None
