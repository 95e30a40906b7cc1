"""What torch says about its operators, written down so that no torch is needed to read a trace of it.

``aten_ops.txt`` lists, of torch 2.13, the operators that only call others (composite: the operators of a step are below
them), those that are pointwise, and those that draw random numbers. A test compares it with the torch that is installed.
"""

from functools import cache
from importlib import resources

FRESH = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_"})
"""Make memory and write nothing."""
OVERWRITES = frozenset(
    {"copy_", "zero_", "fill_", "normal_", "uniform_", "bernoulli_", "random_", "exponential_"}
)
"""Write their first argument without reading it."""


@cache
def kinds_of_operators() -> dict[str, frozenset[str]]:
    """Return what is listed, by qualified overload.

    >>> sorted(kinds_of_operators()["aten.dropout.default"]), "aten.mm.default" in kinds_of_operators()
    (['composite', 'random'], False)
    """
    text = resources.files("tmtrain.importing").joinpath("aten_ops.txt").read_text(encoding="utf-8")
    rows = (line.split() for line in text.splitlines())
    return {name: frozenset(kinds) for name, *kinds in rows}


def is_kind(name: str, kind: str) -> bool:
    """Whether the operator called `name` is listed as "composite", "pointwise" or "random".

    >>> is_kind("aten.relu.default", "pointwise")
    True
    """
    return kind in kinds_of_operators().get(name, frozenset())
