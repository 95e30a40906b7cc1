"""Quantities as people read them: three significant digits, a prefix, and a sign on every change."""

from decimal import Decimal

_PREFIXES = (
    (1e9, "G"),
    (1e6, "M"),
    (1e3, "k"),
    (1.0, ""),
    (1e-3, "m"),
    (1e-6, "µ"),
    (1e-9, "n"),
    (1e-12, "p"),
)
_ROUNDING = 1e-9


def digits(value: float) -> str:
    """Print three significant digits, never an exponent; from 100 on whole, with thousands separators.

    >>> digits(0.01234), digits(3.14159), digits(98765.4)
    ('0.0123', '3.14', '98,765')
    """
    if value == 0:
        return "0"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    return f"{Decimal(f'{value:#.3g}'):f}"


def quantity(value: float, unit: str) -> str:
    """Print `value` in `unit` with the SI prefix for one to three leading digits; no kiloseconds.

    >>> quantity(12345.0, "J"), quantity(6.2e-11, "J/B"), quantity(1234.0, "s"), quantity(0, "J")
    ('12.3 kJ', '62.0 pJ/B', '1,234 s', '0 J')
    """
    if not unit or value == 0:
        return f"{digits(value)} {unit}".rstrip()
    scales = [(scale, prefix) for scale, prefix in _PREFIXES if scale <= 1 or unit != "s"]
    scale, prefix = next((pair for pair in scales if abs(value) >= 0.9995 * pair[0]), scales[-1])
    return f"{digits(value / scale)} {prefix}{unit}"


def change(new: float, old: float) -> str:
    """Print the relative change from `old` to `new` with its sign, or "n/a" where `old` is 0.

    >>> change(36, 100), change(1.55, 1.0), change(2.0, 2.0), change(1.0, 0.0)
    ('−64 %', '+55 %', '±0 %', 'n/a')
    """
    if old == 0:
        return "±0 %" if new == 0 else "n/a"
    percent = 100 * (new - old) / old
    places = 1 if abs(percent) < 9.95 else 0
    text = f"{abs(percent):,.{places}f}"
    if float(text.replace(",", "")) == 0:
        return "±0 %"
    return f"{'−' if percent < 0 else '+'}{text} %"


def percent(share: float | None) -> str:
    """Print a share as a percentage with three significant digits at most; "–" where it is undefined.

    What is less than a billionth is the rounding of sums: 0.

    >>> percent(0.125), percent(1.0), percent(0.0312345), percent(-5e-14), percent(None)
    ('12.5 %', '100 %', '3.12 %', '0 %', '–')
    """
    if share is None:
        return "–"
    if abs(share) < _ROUNDING:
        return "0 %"
    return f"{100 * share:.3g} %" if abs(share) < 9.995 else f"{100 * share:,.0f} %"
