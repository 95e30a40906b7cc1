"""What `torch.compile` has made cannot be kept in a budget: it is refused before a training, or where a step comes upon it.

A compiled region touches memory past the operators that the budget is kept by. Inside of a dispatch mode torch would run it
uncompiled, without a word, and the losses would not be those of the compiled training.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, NoReturn

import torch

from tmtrain.capturing.internals import (
    COMPILED_CALLS,
    is_compiled_in_place,
    runs_uncompiled,
    runs_under,
    wrapped_by_compile,
)
from tmtrain.errors import InputError
from tmtrain.runtime.dispatch.residency_mode import ResidencyMode


def check_not_compiled(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, step: Callable[..., Any] | None
) -> None:
    """Refuse compiled modules, optimizers and steps.

    Raises:
        InputError: says which, and what to give instead.

    >>> check_not_compiled(torch.nn.Linear(2, 2), torch.optim.SGD([torch.ones(1)]), print)
    """
    if runs_uncompiled():
        return
    for name, module in model.named_modules():
        called = f"module {name!r}" if name else "the model"
        if wrapped_by_compile(module) is not None:
            _refuse(called, "what torch.compile was given, its _orig_mod")
        if is_compiled_in_place(module) or wrapped_by_compile(module.forward) is not None:
            _refuse(called, "the module as it was before compile()")
    if wrapped_by_compile(optimizer.step) is not None:
        _refuse("the optimizer's step", "the optimizer as it was before")
    if wrapped_by_compile(step) is not None:
        _refuse("the step", "the function that torch.compile was given")


def refusing_compiled() -> AbstractContextManager[None]:
    """Return a context in which an operator of a training may not come from compiled code.

    Raises:
        InputError: in the step, before the compiled code begins.
    """
    return COMPILED_CALLS.asking(_refuse_in_budget)


def _refuse_in_budget() -> None:
    if runs_under(ResidencyMode):
        _refuse("a function that the step calls", "the function as it was before")


def _refuse(what: str, instead: str) -> NoReturn:
    raise InputError(
        f"{what} is compiled by torch.compile, and a budget is kept operator by operator: use {instead} (or, "
        'for the numbers of the uncompiled training, say torch.compiler.set_stance("force_eager") before)'
    )
