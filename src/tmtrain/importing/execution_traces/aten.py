"""What torch says about its operators, written down so that no torch is needed to read a trace of it.

``aten_ops.txt`` lists three kinds of operators of torch 2.13: those that only call others (composite: the operators of a
step are below them), those that are pointwise, and those that draw random numbers. A test compares the list with the torch
that is installed.
"""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

FRESH = frozenset({"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_"})
"""Make memory and write nothing."""
OVERWRITES = frozenset(
    {"copy_", "zero_", "fill_", "normal_", "uniform_", "bernoulli_", "random_", "exponential_"}
)
"""Write their first argument without reading it."""

_SCHEMA = re.compile(r"^(?P<space>\w+)::(?P<name>\w+)(?:\.(?P<overload>\w+))?\((?P<arguments>.*)\) -> ")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpSchema:
    """The schema of an operator, as far as it says which arguments are written."""

    name: str
    """Qualified overload: "aten.add_.Tensor"."""
    base: str
    """"add_"."""
    written: tuple[bool, ...]
    """Of each argument: whether it is written in place (or is an ``out=``)."""


def parse_schema(text: str) -> OpSchema | None:
    """Return what a schema says, as torch spells it; None if `text` is none.

    >>> parse_schema("aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)")
    OpSchema(name='aten.add_.Tensor', base='add_', written=(True, False, False))
    """
    match = _SCHEMA.match(text)
    if match is None:
        return None
    arguments = [part.strip() for part in split_list(match["arguments"])]
    return OpSchema(
        name=f"{match['space']}.{match['name']}.{match['overload'] or 'default'}",
        base=match["name"],
        # The type alone: a default value may hold a "!" too.
        written=tuple("!" in part.partition(" ")[0] for part in arguments if part not in ("", "*")),
    )


@cache
def kinds_of_operators() -> dict[str, frozenset[str]]:
    """Return what is listed, by qualified overload.

    >>> sorted(kinds_of_operators()["aten.dropout.default"]), "aten.mm.default" in kinds_of_operators()
    (['composite', 'random'], False)
    """
    file = resources.files("tmtrain.importing.execution_traces") / "aten_ops.txt"
    rows = (line.split() for line in file.read_text(encoding="utf-8").splitlines())
    return {name: frozenset(kinds) for name, *kinds in rows}


def is_kind(name: str, kind: str) -> bool:
    """Whether the operator called `name` is listed as "composite", "pointwise" or "random".

    >>> is_kind("aten.relu.default", "pointwise")
    True
    """
    return kind in kinds_of_operators().get(name, frozenset())


def split_list(text: str) -> list[str]:
    """Split at the commas outside of brackets and quotes.

    >>> split_list("GenericList[Tensor(float),Int],Int")
    ['GenericList[Tensor(float),Int]', 'Int']
    """
    parts, depth, quoted, start = [""], 0, False, 0
    for end, letter in enumerate(text):
        quoted ^= letter in "'\""
        if quoted:
            continue
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts[-1] = text[start:end]
            parts.append("")
            start = end + 1
    parts[-1] = text[start:]
    return parts
