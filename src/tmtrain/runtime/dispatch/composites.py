"""Composite operators that reach a dispatch mode whole, as they do under `torch.inference_mode`.

With autograd above, an operator that is nothing but other operators is taken apart before a mode sees it. Under inference
mode nobody does so. Such an operator may say that it returns a view and copy all the same (``contiguous``, ``reshape``), and
makes temporaries that nobody sees. So it is taken apart here: law 1 and the budget hold for what it is made of.
"""

from functools import cache
from typing import Any

from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.internals import has_kernel, is_composite


def run_parts(mode: TorchDispatchMode, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run what `func` is made of under `mode`; return NotImplemented where it is an operator of its own.

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


@cache
def comes_apart(func: Any) -> bool:
    """Whether torch itself would run `func` as other operators, on a CPU.

    >>> import torch
    >>> comes_apart(torch.ops.aten.reshape.default), comes_apart(torch.ops.aten.clone.default)
    (True, False)
    """
    return isinstance(func, OpOverload) and is_composite(func) and not has_kernel(func, "CPU")
