"""Measured times: a table of operators and shapes that were timed on a machine, to use instead of what the model says.

A CSV or Parquet file with three columns::

    operator,shapes,seconds
    mm,4096x1024;1024x4096,0.00018
    aten.gelu.default,4096x4096,0.000031

`operator` is a name as in the trace, with namespace and overload or without; `shapes` are those of the tensors that it
reads, in the order of its arguments, sizes joined by ``x``, tensors by ``;`` (``scalar`` for one without dimensions).
`seconds` is the time of the whole operator. Known limitation: a table is for one element type, since none is named in it.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tmtrain.errors import InputError

COLUMNS = ("operator", "shapes", "seconds")
_MORE = "more"
"""Under which the fields of a line that no column has are kept."""
_OPERATOR = re.compile(r"\w+(\.\w+)*")
_SHAPES = re.compile(r"(\d+(x\d+)*|scalar)(;(\d+(x\d+)*|scalar))*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Seconds of whole operators, by name and shapes."""

    seconds: dict[str, float]
    """By ``operator shapes``, sorted."""

    def find(self, operator: str, shapes: str) -> float | None:
        """Return the seconds of an operator, under its full name or its short one, or None.

        >>> table = Calibration(seconds={"mm 2x3;3x4": 1e-6})
        >>> table.find("aten.mm.default", "2x3;3x4"), table.find("aten.mm.default", "2x3;3x5")
        (1e-06, None)
        """
        short = operator.split(".")[1] if "." in operator else operator
        return self.seconds.get(f"{operator} {shapes}", self.seconds.get(f"{short} {shapes}"))


def read_calibration(path: str | Path) -> Calibration:
    """Read a table of measured times; Parquet where the name ends in ``.parquet``, else CSV.

    Raises:
        InputError: no such file, a column is missing, or a value makes no sense; says file, line and field.
    """
    path = Path(path)
    entries: dict[str, tuple[float, str]] = {}
    for where, row in _rows(path):
        key, seconds = _entry(row, where=where)
        if key in entries and entries[key][0] != seconds:
            raise InputError(
                f"{where}: {key} has {seconds:g} s, and {entries[key][0]:g} s in {entries[key][1]}: keep one"
            )
        entries[key] = (seconds, where)
    if not entries:
        raise InputError(f"{path}: no measured times: give one line per operator and shapes")
    # Sorted, so that the fingerprint of a machine does not depend on the order of lines.
    return Calibration(seconds={key: entries[key][0] for key in sorted(entries)})


def _rows(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield where in the file each row is, and the row."""
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
            _check_columns(table.column_names, path=path)
            yield from ((f"{path}: row {n}", row) for n, row in enumerate(table.to_pylist(), start=1))
            return
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file, restkey=_MORE)
            _check_columns(reader.fieldnames or (), path=path)
            for row in reader:
                yield f"{path}: line {reader.line_num}", dict(row)
    except OSError as error:
        raise InputError(f"{path}: cannot read the measured times: {error.strerror or error}") from error
    except (pa.ArrowInvalid, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: neither CSV in UTF-8 nor Parquet: {error}") from error


def _check_columns(names: object, *, path: Path) -> None:
    columns = list(names) if isinstance(names, list | tuple) else []
    if sorted(columns) != sorted(COLUMNS):
        raise InputError(
            f"{path}: has the columns {', '.join(map(str, columns)) or '(none)'}: give {', '.join(COLUMNS)}"
        )


def _entry(row: dict[str, object], *, where: str) -> tuple[str, float]:
    operator, shapes, cell = (row.get(column) for column in COLUMNS)
    if _MORE in row:
        raise InputError(f"{where}: has more than {len(COLUMNS)} fields: join sizes by x and tensors by ;")
    if not isinstance(operator, str) or not _OPERATOR.fullmatch(operator):
        raise InputError(
            f"{where}: operator is {operator!r}: write a name as in the trace, such as mm or aten.mm.default"
        )
    if not isinstance(shapes, str) or not _SHAPES.fullmatch(shapes):
        raise InputError(
            f"{where}: shapes is {shapes!r}: write those of the tensors it reads, such as 4096x1024;1024x4096"
        )
    try:
        seconds = float(cell)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError):
        raise InputError(f"{where}: seconds is {cell!r}: write a number, such as 1.8e-4") from None
    if not (isfinite(seconds) and seconds > 0):
        raise InputError(f"{where}: seconds is {cell!r}: a measured time is finite and above 0")
    return f"{operator} {shapes}", seconds
