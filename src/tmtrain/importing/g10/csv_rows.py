"""CSV tables of other programs, cell by cell: an error names file, line and field."""

import csv
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tmtrain.errors import FileFormatError, InputError

MOST = 1 << 60
"""Larger numbers are in no table: sums of them would not fit."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table below its header."""

    source: str
    """The file, as messages call it."""
    number: int
    """Of the line in the file, from 1."""
    cells: dict[str, str]

    def word(self, field: str, *, among: Collection[str] | None = None) -> str:
        """Return the cell `field`.

        Raises:
            FileFormatError: it is none of the words `among`.
        """
        word = self.cells[field]
        if among is not None and word not in among:
            raise self.wrong(field, f"one of {', '.join(sorted(among))}")
        return word

    def integer(self, field: str, *, low: int, high: int = MOST) -> int:
        """Return the cell `field` as a whole number.

        Raises:
            FileFormatError: it is none, or not in ``low..high``.
        """
        text = self.cells[field]
        need = f"a whole number in {low}..{high}"
        try:
            value = int(text)
        except ValueError:
            raise self.wrong(field, need) from None
        if not low <= value <= high:
            raise self.wrong(field, need)
        return value

    def integers(self, field: str, *, low: int, high: int) -> tuple[int, ...]:
        """Return the cell `field` as whole numbers with spaces between them, no number twice.

        Raises:
            FileFormatError: one of them is no number or not in ``low..high``, or two are alike.
        """
        need = f"different whole numbers in {low}..{high}, with spaces between them"
        try:
            values = tuple(int(word) for word in self.cells[field].split())
        except ValueError:
            raise self.wrong(field, need) from None
        if len(set(values)) < len(values) or any(not low <= value <= high for value in values):
            raise self.wrong(field, need)
        return values

    def wrong(self, field: str, need: str) -> FileFormatError:
        """Return the error that says that the cell `field` is not what it needs to be."""
        return FileFormatError(
            f"{self.source}, line {self.number}, field {field!r}: {self.cells[field]!r} needs to be {need}",
            path=self.source,
            line=self.number,
            field=field,
        )


def read_lines(path: Path, *, fields: Collection[str]) -> Iterator[Line]:
    """Yield the lines of the table at `path`, whose header has `fields`, in any order and among others.

    Raises:
        InputError: there is no such file.
        FileFormatError: a field is missing, or a line is cut off or has cells too many.
    """
    source = f"{path}"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            missing = [field for field in fields if field not in header]
            if missing:
                raise FileFormatError(
                    f"{source}, line 1: the header has no field {missing[0]!r}",
                    path=path,
                    line=1,
                    field=missing[0],
                )
            for cells in reader:
                if len(cells) != len(header):
                    beyond = header[len(cells)] if len(cells) < len(header) else header[-1]
                    raise FileFormatError(
                        f"{source}, line {reader.line_num}, field {beyond!r}: the line has {len(cells)} cells, "
                        f"needs {len(header)}; was the file cut off?",
                        path=path,
                        line=reader.line_num,
                        field=beyond,
                    )
                yield Line(source, reader.line_num, dict(zip(header, cells, strict=True)))
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise FileFormatError(f"{source}: not a CSV table in UTF-8: {error}", path=path) from error
