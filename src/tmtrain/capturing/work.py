"""FLOPs and matrix dimensions of an operator as it runs; the formulas are those of `tmtrain.counting`."""

from collections.abc import Iterator
from typing import Any

import torch
from torch._ops import OpOverload

from tmtrain.capturing.internals import schema_of, short_name_of
from tmtrain.counting import NO_WORK, OperatorCall, OperatorWork, count_work, has_formula


def work_of(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> OperatorWork:
    """Return FLOPs and matrix dimensions of one call; `NO_WORK` for an operator without a formula.

    >>> import torch
    >>> a, b = torch.empty(3, 5), torch.empty(5, 7)
    >>> work_of(torch.ops.aten.mm.default, (a, b), {}, a @ b)
    OperatorWork(flops=210, batch=1, m=3, n=7, k=5)
    """
    name = short_name_of(func)
    if not has_formula(name):
        return NO_WORK
    results = out if isinstance(out, tuple | list) else (out,)
    return count_work(
        OperatorCall(
            name=name,
            arguments=[_described(value) for value in _by_position(func, args, kwargs)],
            results=[tuple(result.shape) if isinstance(result, torch.Tensor) else None for result in results],
        )
    )


def _by_position(func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    yield from args
    if kwargs:
        for argument in schema_of(func).arguments[len(args) :]:
            yield kwargs.get(argument.name, argument.default_value)


def _described(value: Any) -> Any:
    """A tensor as its shape, a list with what its items are, all else as it is."""
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, tuple | list):
        return [_described(item) for item in value]
    return value
