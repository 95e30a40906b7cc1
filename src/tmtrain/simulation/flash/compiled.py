"""How the loop is compiled.

Note [Compiled]
    A run is one call of one compiled function, which takes the whole `State`. The others are called by it alone, so they
    need no entry from Python. None of them makes or keeps an array, so none counts references to one: passing the state
    from function to function would otherwise cost more than the simulation. On disk nothing is cached: numba's cache looks
    at the file of the outermost function only, and would run yesterday's version of the others. So the first run of a
    process takes some ten seconds more.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

from numba import njit

Function = TypeVar("Function", bound=Callable[..., object])

_njit = cast(Any, njit)


def compiled(function: Function) -> Function:
    """Compile a function that other compiled ones call."""
    return _njit(_nrt=False, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def entry(function: Function) -> Function:
    """Compile the outermost function."""
    return _njit(_nrt=False, error_model="numpy")(function)
