"""A programme as text, small enough to read: its objective, and its families with the first rows of each."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tmtrain.planning.programme.family import ColumnFamily, RowFamily

FIRST_ROWS = 2
"""Rows of each family that are spelled out."""
MOST_TERMS = 6
"""Terms of a row that are spelled out."""


def print_programme(
    columns: Sequence[ColumnFamily],
    rows: Sequence[RowFamily],
    matrix: csr_array,
    *,
    constant: float = 0.0,
    first_rows: int = FIRST_ROWS,
) -> str:
    """Return a programme as text.

    Args:
        columns: Families, in order.
        rows: Families, in order.
        matrix: Shape (rows, columns).
        constant: Of the objective.
        first_rows: So many rows of each family are spelled out.

    Example:
        >>> x = ColumnFamily(name="x", lower=np.zeros(2), upper=np.ones(2), cost=np.array([2.0, 3]), nudge=np.zeros(2))
        >>> cover = RowFamily(name="cover", lower=np.array([1.0]), upper=np.array([np.inf]))
        >>> print(print_programme([x], [cover], csr_array([[1.0, -0.5]])))
        minimise
          [2 .. 3]*x
        subject to
          cover: 1 row, >=
            x[0] - 0.5*x[1] >= 1
        columns
          x: 2 in [0 .. 1]
    """
    lines = ["minimise", f"  {_objective(columns, constant)}", "subject to"]
    first = 0
    for family in rows:
        if not len(family):
            continue
        lines.append(f"  {family.name}: {_counted(len(family))}, {_senses(family)}")
        shown = min(first_rows, len(family))
        lines += [f"    {_row(family, i, matrix[[first + i]], columns)}" for i in range(shown)]
        if shown < len(family):
            lines.append(f"    ... {len(family) - shown} more")
        first += len(family)
    lines.append("columns")
    lines += [f"  {family.name}: {len(family)} in {_bounds(family)}" for family in columns if len(family)]
    return "\n".join(lines)


def _objective(columns: Sequence[ColumnFamily], constant: float) -> str:
    priced = [family for family in columns if family.cost.any()]
    terms = [f"{_range(family.cost)}*{family.name}" for family in priced]
    return " + ".join([_number(constant), *terms] if constant or not terms else terms)


def _counted(count: int) -> str:
    return f"{count} row" if count == 1 else f"{count} rows"


def _senses(family: RowFamily) -> str:
    """Return the senses that occur among the rows of a family."""
    senses = {
        _sense(low, high) for low, high in zip(family.lower.tolist(), family.upper.tolist(), strict=True)
    }
    return " and ".join(sorted(senses))


def _sense(lower: float, upper: float) -> str:
    if lower == upper:
        return "=="
    if np.isfinite(lower) and np.isfinite(upper):
        return "between"
    return ">=" if np.isfinite(lower) else "<="


def _row(family: RowFamily, i: int, entries: csr_array, columns: Sequence[ColumnFamily]) -> str:
    lower, upper = float(family.lower[i]), float(family.upper[i])
    left = _sum(entries, columns)
    sense = _sense(lower, upper)
    if sense == "between":
        return f"{_number(lower)} <= {left} <= {_number(upper)}"
    return f"{left} {sense} {_number(upper if sense == '<=' else lower)}"


def _sum(entries: csr_array, columns: Sequence[ColumnFamily]) -> str:
    terms = list(_terms(entries, columns))
    text = " ".join(terms[:MOST_TERMS]) or "0"
    text = text.removeprefix("+ ") if text.startswith("+") else text.replace("- ", "-", 1)
    left_out = len(terms) - MOST_TERMS
    return f"{text} + ... {left_out} more" if left_out > 0 else text


def _terms(entries: csr_array, columns: Sequence[ColumnFamily]) -> Iterator[str]:
    """Yield "+ 2*name[3]" for each entry of a row that is not zero."""
    starts = np.concatenate([[0], np.cumsum([len(family) for family in columns])])
    order = np.argsort(entries.indices, kind="stable")
    for column, value in zip(entries.indices[order].tolist(), entries.data[order].tolist(), strict=True):
        if value:
            family = int(np.searchsorted(starts, column, side="right")) - 1
            factor = "" if abs(value) == 1 else f"{_number(abs(value))}*"
            sign = "-" if value < 0 else "+"
            yield f"{sign} {factor}{columns[family].name}[{column - int(starts[family])}]"


def _bounds(family: ColumnFamily) -> str:
    return f"[{_number(float(family.lower.min()))} .. {_number(float(family.upper.max()))}]"


def _range(values: NDArray[np.float64]) -> str:
    low, high = _number(float(values.min())), _number(float(values.max()))
    return low if low == high else f"[{low} .. {high}]"


def _number(value: float) -> str:
    """Return four digits; no "-0".

    >>> _number(-0.0), _number(1 / 3), _number(5.0)
    ('0', '0.3333', '5')
    """
    return f"{value + 0.0:.4g}"
