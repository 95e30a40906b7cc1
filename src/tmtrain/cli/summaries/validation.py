"""What ``tmtrain machine validate`` prints of its rows."""

import dataclasses
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from tmtrain.validation import Comparison


def record_of(row: Comparison) -> dict[str, object]:
    """Return a row with what follows from it, for JSON."""
    return {**dataclasses.asdict(row), "error": row.error, "holds": row.holds}


def table_of(rows: Sequence[Comparison]) -> Table:
    """Lay the rows out; whole numbers in full, others to four digits."""
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("case", overflow="fold")
    table.add_column("quantity", overflow="fold")
    for name in ("model", "reference", "error"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("holds", no_wrap=True)
    for row in rows:
        error = "0" if row.model == row.reference else f"{row.error:+.1%}"
        cells = (row.case, row.quantity, _number(row.model), _number(row.reference), error, _holds(row))
        table.add_row(*(Text(cell) for cell in cells))
    return table


def verdict(rows: Sequence[Comparison]) -> str:
    """Say how many claims there are and hold, and name those that do not."""
    claims = [row for row in rows if row.is_claimed]
    broken = [f"{row.case}: {row.quantity}" for row in claims if not row.holds]
    held = f"{len(claims) - len(broken)} of {len(claims)} claims hold"
    rest = f"{len(rows) - len(claims)} rows are shown without a claim"
    return "\n".join([f"{held}; {rest}", *(f"does not hold: {name}" for name in broken)])


def _holds(row: Comparison) -> str:
    if not row.is_claimed:
        return "not claimed"
    within = f"within {row.tolerance:.0%}" if row.tolerance else "exact"
    return f"{'yes' if row.holds else 'NO'}, {within}"


def _number(value: float) -> str:
    return f"{value:.0f}" if value == round(value) else f"{value:.4g}"
