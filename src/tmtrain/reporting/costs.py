"""What the memory of a step costs at each price date: ours, the best rival and fast memory for everything."""

from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.table import Table
from rich.text import Text

from tmtrain.evaluation.row import Cost, Results, Row
from tmtrain.reporting.quantity import digits
from tmtrain.reporting.section import ALL_FAST, OURS, Section, sections_of

COST_COLUMNS = (
    "prices",
    "fast",
    "flash",
    "policy",
    "to buy",
    "a million steps",
    "of it flash",
    "flash ends by",
    "break-even fast",
)
"""Headings, in order; prices are in USD per GB."""
_NONE = "–"
_GB = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class CostLine:
    """One line, as text."""

    kind: Literal["ours", "rival", "ideal"]
    date: str
    cells: tuple[str, ...]
    """One per column."""


def cost_lines(section: Section) -> tuple[CostLine, ...]:
    """Return the lines of `section`, date by date: ours, the best rival in samples per joule, all-fast.

    >>> from tmtrain.reporting.example import example_section
    >>> [line.cells[3] for line in cost_lines(example_section()) if line.date == "paper"]
    ['tmtrain', 'g10', 'all-fast']
    """
    rows = [row for row in (section.ours, section.best_rival(), section.ideal) if row is not None]
    return tuple(_line(row, date=date) for date in section.first.costs for row in rows)


def costs_table(results: Results) -> Table:
    """Return what memory costs in every section, at the default date of its machine, for a rich console of 120 columns.

    >>> from tmtrain.reporting.example import example_results
    >>> costs_table(example_results()).row_count
    6
    """
    title = Text("memory: to buy, and per step with wear (USD)", style="bold")
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0), pad_edge=False
    )
    for i, heading in enumerate(("model", *COST_COLUMNS[1:])):
        table.add_column(heading, justify="left" if i in (0, 3) else "right", no_wrap=True)
    for section in sections_of(results):
        default = next(iter(section.first.costs))
        for line in cost_lines(section):
            if line.date == default:
                table.add_row(Text(section.first.model), *(Text(cell) for cell in line.cells[1:]))
    return table


def _line(row: Row, *, date: str) -> CostLine:
    cost = row.costs[date]
    even = cost.break_even_fast_usd_per_byte
    cells = (
        date,
        digits(cost.fast_usd_per_byte * _GB),
        digits(cost.flash_usd_per_byte * _GB),
        row.policy,
        f"${digits(cost.usd)}",
        f"${digits(1e6 * cost.usd_per_step)}",
        f"${digits(1e6 * cost.flash_usd_per_step)}" if cost.flash_usd else _NONE,
        _end_of_flash(cost),
        digits(even * _GB) if even is not None else "never" if cost.flash_usd else _NONE,
    )
    kind = "ours" if row.policy == OURS else "ideal" if row.policy == ALL_FAST else "rival"
    return CostLine(kind=kind, date=date, cells=cells)


def _end_of_flash(cost: Cost) -> str:
    if not cost.flash_usd:
        return _NONE
    return "wear" if cost.wear_usd_per_step >= cost.flash_usd_per_step else f"age, {cost.life_years:g} years"
