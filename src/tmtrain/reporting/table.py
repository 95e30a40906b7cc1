"""The results table, section by section: the same cells for the terminal and the page."""

from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tmtrain.evaluation.row import Results, Row
from tmtrain.reporting.quantity import change, digits, percent, quantity
from tmtrain.reporting.section import ALL_FAST, OURS, Section, sections_of
from tmtrain.units import format_bytes

COLUMNS = (
    "policy",
    "step",
    "× ideal",
    "traffic",
    "energy",
    "samples/s",
    "samples/J",
    "vs rival",
    "drive life",
    "memory",
    "gap",
)
"""Headings, in order."""

_LOWER_IS_BETTER = {1: "step_time_s", 3: "traffic_bytes", 4: "energy_j", 10: "gap"}
_HIGHER_IS_BETTER = {5: "samples_per_s", 6: "samples_per_j"}
_RANKS = {"time": "samples_per_s", "bytes": "traffic_bytes", "writes": "bytes_out"}
"""What is compared with the best rival, by objective; samples per joule otherwise."""
_NONE = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLine:
    """One line of the table, as text."""

    kind: Literal["ours", "rival", "ideal", "bound"]
    cells: tuple[str, ...]
    """One per column."""
    best: frozenset[int]
    """Columns in which no policy with the same fast memory is better; never the drive life, which the slowest wins."""


def results_table(results: Results) -> Group:
    """Return the table of all sections for a rich console at least 120 columns wide; the best are bold green.

    >>> from rich.console import Console
    >>> from tmtrain.reporting.example import example_results
    >>> console = Console(width=120)
    >>> with console.capture() as shown:
    ...     console.print(results_table(example_results()))
    >>> "lower bound" in shown.get() and max(map(len, shown.get().splitlines())) <= 120
    True
    """
    return Group(*(_table(section) for section in sections_of(results)), *map(Text, refusal_lines(results)))


def refusal_lines(results: Results) -> tuple[str, ...]:
    """Say what could not run, and why: once per reason, with every setting.

    >>> from tmtrain.reporting.example import example_results
    >>> refusal_lines(example_results())
    ()
    """
    settings: dict[tuple[str, str], list[str]] = {}
    for refusal in results.refusals:
        setting = f"{refusal.model} on {refusal.machine} with {format_bytes(refusal.budget_bytes)}"
        what = f"{refusal.policy} did not run" if refusal.policy else "nothing ran"
        settings.setdefault((what, refusal.reason), []).append(setting)
    return tuple(f"{what} on {', '.join(own)}: {reason}" for (what, reason), own in settings.items())


def section_title(section: Section) -> str:
    """Say in one line what the rows of `section` share.

    >>> from tmtrain.reporting.example import example_section
    >>> section_title(example_section())
    'made-up-small, batch 4, on example with 1.10 GiB fast memory (12.5 % of 8.77 GiB), minimising energy'
    """
    row = section.first
    fast = f"{format_bytes(row.fast_bytes)} fast memory ({percent(row.fast_fraction)} of "
    footprint = f"{format_bytes(row.footprint_bytes)})"
    return (
        f"{row.model}, batch {row.batch}, on {row.machine} with {fast}{footprint}, minimising {row.objective}"
    )


def table_lines(section: Section) -> tuple[TableLine, ...]:
    """Return the lines of `section`: ours, the rivals from best to worst, the certified lower bound, all-fast.

    >>> from tmtrain.reporting.example import example_section
    >>> [line.cells[0] for line in table_lines(example_section())]
    ['tmtrain', 'g10', 'lru', 'paging', 'lower bound', 'all-fast']
    """
    policies = [_line(row, section=section) for row in section.ordered]
    bound = _bound_line(section)
    ideal = [line for line in policies if line.kind == "ideal"]
    return (*(line for line in policies if line.kind != "ideal"), bound, *ideal)


def _table(section: Section) -> Table:
    title = Text(section_title(section), style="bold")
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0), pad_edge=False
    )
    for i, heading in enumerate(COLUMNS):
        table.add_column(heading, justify="left" if i == 0 else "right", no_wrap=True)
    styles = {"ours": "bold", "rival": "", "ideal": "dim", "bound": "italic"}
    for line in table_lines(section):
        cells = [
            Text(cell, style="bold green" if i in line.best else "") for i, cell in enumerate(line.cells)
        ]
        table.add_row(*cells, style=styles[line.kind])
    return table


def _line(row: Row, *, section: Section) -> TableLine:
    cells = (
        row.policy,
        quantity(row.step_time_s, "s"),
        f"{row.step_time_s / row.ideal_step_time_s:.2f}" if row.ideal_step_time_s else _NONE,
        format_bytes(row.traffic_bytes),
        quantity(row.energy_j, "J"),
        digits(row.samples_per_s),
        digits(row.samples_per_j),
        _against(row, section.best_rival()),
        _life(row.lifetime_years),
        f"${row.memory_cost_usd:,.0f}" if row.memory_cost_usd >= 100 else f"${row.memory_cost_usd:.2f}",
        _NONE if row.policy == ALL_FAST else percent(row.gap),
    )
    if row.policy == ALL_FAST:
        return TableLine(kind="ideal", cells=cells, best=frozenset())
    return TableLine(
        kind="ours" if row.policy == OURS else "rival", cells=cells, best=_best(row, section=section)
    )


def _against(row: Row, rival: Row | None) -> str:
    """Say how `row` stands to the best rival, in what the table ranks, or that it is the one."""
    if rival is None:
        return _NONE
    if rival is row:
        return "best rival"
    measure = _RANKS.get(row.objective, "samples_per_j")
    return change(getattr(row, measure), getattr(rival, measure))


def _bound_line(section: Section) -> TableLine:
    first, bounds = section.first, section.first.bounds
    seconds, joules, moved = bounds.time_s, bounds.energy_j, bounds.traffic_bytes
    cells = (
        "lower bound",
        _NONE if seconds is None else quantity(seconds, "s"),
        f"{seconds / first.ideal_step_time_s:.2f}" if seconds and first.ideal_step_time_s else _NONE,
        _NONE if moved is None else format_bytes(moved),
        _NONE if joules is None else quantity(joules, "J"),
        f"≤ {digits(first.batch / seconds)}" if seconds else _NONE,
        f"≤ {digits(first.batch / joules)}" if joules else _NONE,
        *[_NONE] * 4,
    )
    return TableLine(kind="bound", cells=cells, best=frozenset())


def _best(row: Row, *, section: Section) -> frozenset[int]:
    rows = [other for other in section.rows if other.policy != ALL_FAST]
    lowest = {
        i
        for i, name in _LOWER_IS_BETTER.items()
        if getattr(row, name) is not None and getattr(row, name) <= min(getattr(r, name) for r in rows)
    }
    highest = {
        i
        for i, name in _HIGHER_IS_BETTER.items()
        if getattr(row, name) >= max(getattr(r, name) for r in rows)
    }
    return frozenset(lowest | highest)


def _life(years: float | None) -> str:
    if years is None:
        return "no writes"
    return f"{digits(years)} years" if years >= 1 else f"{digits(365.25 * years)} days"
