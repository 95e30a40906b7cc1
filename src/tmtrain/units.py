"""Units at the edge: people write "8GiB" or "12.5%", the inside has bytes, seconds and joules."""

import re
from dataclasses import dataclass
from fractions import Fraction
from operator import index
from typing import SupportsIndex, cast

from tmtrain.errors import InputError

_BYTES = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}

DAY_S = 86400
YEAR_S = 365 * DAY_S
_DURATIONS = {"S": 1.0, "MIN": 60.0, "H": 3600.0, "D": 86400.0, "W": 7 * 86400.0, "Y": float(YEAR_S)}


@dataclass(frozen=True, slots=True, kw_only=True)
class FastCapacity:
    """Size of the fast tier, as bytes or as a share of the step's footprint (exactly one is set)."""

    bytes: int | None = None
    """Absolute size in bytes."""
    fraction: float | None = None
    """Share of the footprint, in (0, 1]."""

    def of(self, footprint_bytes: int, *, page_bytes: int) -> int:
        """Return whole pages of fast memory, in bytes, for a step of this footprint.

        >>> FastCapacity(fraction=0.125).of(1_000_000, page_bytes=4096)
        122880
        """
        size = self.bytes if self.bytes is not None else int((self.fraction or 0.0) * footprint_bytes)
        return size // page_bytes * page_bytes

    def __str__(self) -> str:
        return f"{self.fraction:.4g}" if self.fraction is not None else format_bytes(self.bytes or 0)


def parse_bytes(text: str) -> int:
    """Read a size such as "8GiB", "512 MB" or "4096".

    Raises:
        InputError: not a positive size with a known unit.

    >>> parse_bytes("8GiB")
    8589934592
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]*)\s*", text)
    # A fraction, not a float: that would round large numbers of bytes.
    size = 0 if match is None else int(Fraction(match[1]) * _BYTES.get(match[2].upper(), 0))
    if size < 1:
        raise InputError(
            f"{text!r} is not a size: write a positive number with B, KB, MB, GB, TB or KiB, MiB, GiB, TiB"
        )
    return size


def parse_budget(budget: object) -> int:
    """Read a budget that somebody gave as a whole number of bytes or as a text such as "3 GiB".

    Raises:
        InputError: neither of the two, or a share: of what, nobody knows yet.

    >>> parse_budget("3 GiB"), parse_budget(5000000)
    (3221225472, 5000000)
    """
    if isinstance(budget, str):
        if budget.strip().endswith("%"):
            raise InputError(
                f"a budget of {budget!r} is a share of what a step needs, which is not known before it ran: give bytes, "
                'such as "3 GiB" (`tmtrain train --budget` takes shares, where it can capture the step)'
            )
        return parse_bytes(budget)
    if isinstance(budget, bool) or not hasattr(budget, "__index__"):
        raise InputError(
            f"a budget of {budget!r} is a {type(budget).__name__}: give a whole number of bytes, or text such as "
            '"3 GiB"'
        )
    return index(cast(SupportsIndex, budget))


def parse_fast(text: str) -> FastCapacity:
    """Read a fast-tier size: bytes ("4GiB") or a share of the footprint ("12.5%").

    Raises:
        InputError: neither of the two, or a share outside (0 %, 100 %].

    >>> parse_fast("12.5%").fraction
    0.125
    """
    stripped = text.strip()
    if not stripped.endswith("%"):
        return FastCapacity(bytes=parse_bytes(stripped))
    try:
        share = float(stripped[:-1]) / 100
    except ValueError:
        share = -1.0
    if not 0 < share <= 1:
        raise InputError(
            f"{text!r} is not a share of the footprint: write a number in (0, 100] and %, e.g. 12.5%"
        )
    return FastCapacity(fraction=share)


def parse_duration(text: str) -> float:
    """Read a duration such as "5y", "30 d" or "90s", in seconds; a year has 365 days.

    Raises:
        InputError: not a positive number with a known unit.

    >>> parse_duration("2y"), parse_duration("1.5 h")
    (63072000.0, 5400.0)
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([A-Za-z]+)\s*", text)
    if match is None or match[2].upper() not in _DURATIONS or float(match[1]) <= 0:
        raise InputError(
            f"{text!r} is not a duration: write a positive number with s, min, h, d, w or y, e.g. 5y"
        )
    return float(match[1]) * _DURATIONS[match[2].upper()]


def format_years(seconds: float) -> str:
    """Print a long duration in years, or in days below one.

    >>> format_years(2.5 * YEAR_S), format_years(86400 * 30), format_years(float("inf"))
    ('2.5 years', '30 days', 'forever')
    """
    if seconds == float("inf"):
        return "forever"
    years = seconds / YEAR_S
    return f"{years:.3g} years" if years >= 1 else f"{seconds / 86400:.3g} days"


def format_bytes(size: float) -> str:
    """Print a size in IEC units.

    >>> format_bytes(1536)
    '1.50 KiB'
    """
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024 or unit == "TiB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.2f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")


def format_seconds(seconds: float) -> str:
    """Print a duration with three significant digits.

    >>> format_seconds(0.01234)
    '12.3 ms'
    """
    for scale, unit in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= scale:
            return f"{seconds / scale:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"
