"""The schema of an operator as torch spells it, as far as it says which arguments are written."""

import re
from dataclasses import dataclass

_SCHEMA = re.compile(r"^(?P<space>\w+)::(?P<name>\w+)(?:\.(?P<overload>\w+))?\((?P<arguments>.*)\) -> ")


@dataclass(frozen=True, slots=True, kw_only=True)
class OpSchema:
    """One operator."""

    name: str
    """Qualified overload: "aten.add_.Tensor"."""
    base: str
    """"add_"."""
    written: tuple[bool, ...]
    """Of each argument: whether it is written in place (or is an ``out=``)."""


def parse_schema(text: str) -> OpSchema | None:
    """Return what the schema `text` says; None if it is none.

    >>> parse_schema("aten::add_.Tensor(Tensor(a!) self, Tensor other, *, Scalar alpha=1) -> Tensor(a!)")
    OpSchema(name='aten.add_.Tensor', base='add_', written=(True, False, False))
    """
    match = _SCHEMA.match(text)
    if match is None:
        return None
    arguments = [part.strip() for part in _split(match["arguments"])]
    return OpSchema(
        name=f"{match['space']}.{match['name']}.{match['overload'] or 'default'}",
        base=match["name"],
        written=tuple("!" in part.partition(" ")[0] for part in arguments if part not in ("", "*")),
    )


def _split(arguments: str) -> list[str]:
    """Split at the commas outside of brackets and quotes."""
    parts, depth, quoted, start = [""], 0, False, 0
    for place, letter in enumerate(arguments):
        quoted ^= letter in "'\""
        if quoted:
            continue
        depth += (letter in "([") - (letter in ")]")
        if letter == "," and depth == 0:
            parts[-1] = arguments[start:place]
            parts.append("")
            start = place + 1
    parts[-1] = arguments[start:]
    return parts
