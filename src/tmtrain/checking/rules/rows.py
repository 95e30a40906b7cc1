"""Which content each row of a storage holds: the version that a recomputation left, where it may not be the step's own.

Rows are fractions of the storage, from 0 to 1. Versions count the operators of the step that write the storage, in order:
version k is what the k-th of them left, -1 is what the step began with.
"""

from bisect import bisect_left
from fractions import Fraction
from typing import NamedTuple, TypeAlias

Rows: TypeAlias = tuple[Fraction, Fraction]
"""From the first to before the second."""
ALL: Rows = (Fraction(0), Fraction(1))
LOST = -2
"""The version of rows whose content was overwritten with something that is none of the step's."""


class _RowStretch(NamedTuple):
    begin: Fraction
    end: Fraction
    version: int | None
    """None: as the step left it."""


class RowVersions:
    """Versions of the rows of one storage.

    >>> rows = RowVersions()
    >>> rows.set((Fraction(1, 4), Fraction(1, 2)), 3)
    >>> [(str(a), str(b), version) for a, b, version in rows.of((Fraction(0), Fraction(1, 3)))]
    [('0', '1/4', None), ('1/4', '1/3', 3)]
    """

    def __init__(self) -> None:
        self._stretches: list[_RowStretch] = [_RowStretch(*ALL, None)]

    def set(self, rows: Rows, version: int | None) -> None:
        """Give `rows` a version."""
        begin, end = rows
        kept: list[_RowStretch] = []
        for old in self._stretches:
            if old.begin < begin:
                kept.append(_RowStretch(old.begin, min(old.end, begin), old.version))
            if old.end > end:
                kept.append(_RowStretch(max(old.begin, end), old.end, old.version))
        kept.append(_RowStretch(begin, end, version))
        kept = sorted(stretch for stretch in kept if stretch.begin < stretch.end)
        self._stretches = _joined(kept)

    def of(self, rows: Rows) -> list[tuple[Fraction, Fraction, int | None]]:
        """Return the stretches that `rows` consist of."""
        begin, end = rows
        return [
            (max(s.begin, begin), min(s.end, end), s.version)
            for s in self._stretches
            if s.begin < end and s.end > begin
        ]


def _joined(stretches: list[_RowStretch]) -> list[_RowStretch]:
    joined: list[_RowStretch] = []
    for stretch in stretches:
        if joined and joined[-1].version == stretch.version:
            joined[-1] = _RowStretch(joined[-1].begin, stretch.end, stretch.version)
        else:
            joined.append(stretch)
    return joined


def version_before(writers: list[int], op: int) -> int:
    """Return the version that `op` finds in the step itself, given who writes the storage.

    >>> version_before([2, 5, 9], 5), version_before([2, 5, 9], 1)
    (0, -1)
    """
    return bisect_left(writers, op) - 1
