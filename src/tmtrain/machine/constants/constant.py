"""A Constant: one number of a machine as people wrote it, with its unit, range, source and date."""

import re
from dataclasses import dataclass
from typing import cast

import msgspec

from tmtrain.errors import MachineError
from tmtrain.machine.constants.field import Field
from tmtrain.machine.constants.quantity import Dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """One number of a machine: a row of ``tmtrain machine show`` and of the report's table of constants."""

    path: str
    """Of the number in a machine file, e.g. "slow.read_bandwidth"."""
    value: float
    """In `unit`, as are `low` and `high`."""
    unit: str
    """As written, e.g. "GB/s"; "" for a pure number."""
    low: float | None
    """Least value that the sources support; None if the file gives no range."""
    high: float | None
    source: str
    """Who says so, or how it was derived; "" if the file does not say."""
    date: str
    """When the source was published, or read if it is a living page."""
    scale: float
    """SI units in one `unit`."""

    @property
    def value_si(self) -> float:
        """The value in the SI unit that `tmtrain.machine.Machine` holds."""
        return self.value * self.scale

    @property
    def low_si(self) -> float | None:
        """The low end in SI units; None if there is no range."""
        return None if self.low is None else self.low * self.scale

    @property
    def high_si(self) -> float | None:
        """The high end in SI units; None if there is no range."""
        return None if self.high is None else self.high * self.scale


class _Number(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The table form of a number in a machine file."""

    value: float
    unit: str = ""
    range: tuple[float, float] | None = None
    source: str = ""
    date: str = ""


def read_constant(raw: object, *, field: Field, file: str) -> Constant:
    """Read a number as a machine file has it: a table, a text such as "34.6 GB/s", or a bare number.

    Raises:
        MachineError: not a number, not in a unit of this field, or outside what makes sense.
    """
    number = _number_of(raw, field=field, file=file)
    scale = field.dimension.scale_of(number.unit)
    if scale is None:
        raise MachineError(f"{file}: {field.path}: {_unit_problem(number.unit, dimension=field.dimension)}")
    low, high = number.range or (None, None)
    for value in (number.value, *(number.range or ())):
        problem = field.problem_with(value * scale)
        if problem is not None:
            raise MachineError(f"{file}: {field.path} is {f'{value:g} {number.unit}'.strip()}: it {problem}")
    if low is not None and high is not None and low > high:
        raise MachineError(
            f"{file}: {field.path} has the range [{low:g}, {high:g}]: write the lower end first"
        )
    if low is not None and high is not None and not low <= number.value <= high:
        raise MachineError(
            f"{file}: {field.path} is {number.value:g}, outside its own range [{low:g}, {high:g}]"
        )
    return Constant(
        path=field.path,
        value=number.value,
        unit=number.unit,
        low=low,
        high=high,
        source=number.source,
        date=number.date,
        scale=scale,
    )


def _number_of(raw: object, *, field: Field, file: str) -> _Number:
    if isinstance(raw, str):
        return _number_in(raw, field=field, file=file)
    table = {"value": raw} if isinstance(raw, int | float) else raw
    try:
        return msgspec.convert(table, _Number)
    except msgspec.ValidationError as error:
        what = str(error).replace("$", field.path)
        raise MachineError(f"{file}: {field.path}: {what}; write for example {field.example}") from error


def _number_in(text: str, *, field: Field, file: str) -> _Number:
    match = re.fullmatch(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\D.*?)?\s*", text)
    if match is None:
        raise MachineError(
            f"{file}: {field.path}: {text!r} is not a number and a unit; write for example {field.example}"
        )
    return _Number(value=float(match[1]), unit=cast(str | None, match[2]) or "")


def _unit_problem(unit: str, *, dimension: Dimension) -> str:
    if not dimension.kind:
        return f"this is a pure number, {unit!r} is too much: leave the unit out"
    wrong = f"{unit!r} is not a unit of {dimension.name}" if unit else f"a {dimension.name} needs a unit"
    return f"{wrong}: write it for example in {dimension.example}"
