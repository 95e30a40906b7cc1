"""The results table, block by block: the same cells for the terminal and the page."""

from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tmtrain.evaluation.row import Results, Row
from tmtrain.reporting.quantity import change, digits, percent, quantity
from tmtrain.reporting.section import ALL_FAST, OURS, Section, blocks
from tmtrain.units import format_bytes

COLUMNS = (
    "policy", "step", "× ideal", "traffic", "energy", "samples/s", "samples/J", "vs rival",
    "drive life", "memory", "gap",
)  # fmt: skip
"""Headings, in order."""

_LOWER_IS_BETTER = {1: "step_time_s", 3: "traffic_bytes", 4: "energy_j", 10: "gap"}
_HIGHER_IS_BETTER = {5: "samples_per_s", 6: "samples_per_j"}
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
    """Return the table of all blocks for a rich console at least 120 columns wide; the best are bold green.

    >>> from rich.console import Console
    >>> from tmtrain.reporting.example import example_results
    >>> console = Console(width=120)
    >>> with console.capture() as shown:
    ...     console.print(results_table(example_results()))
    >>> "lower bound" in shown.get() and max(map(len, shown.get().splitlines())) <= 120
    True
    """
    return Group(*(_table(block) for block in blocks(results)), *map(Text, refusal_lines(results)))


def refusal_lines(results: Results) -> tuple[str, ...]:
    """Say what could not run, and why: once per reason, with all the places.

    >>> from tmtrain.reporting.example import example_results
    >>> refusal_lines(example_results())
    ()
    """
    places: dict[tuple[str, str], list[str]] = {}
    for refusal in results.refusals:
        place = f"{refusal.model} on {refusal.machine} with {format_bytes(refusal.budget_bytes)}"
        places.setdefault(
            (f"{refusal.policy} did not run" if refusal.policy else "nothing ran", refusal.reason), []
        ).append(place)
    return tuple(f"{what} on {', '.join(own)}: {reason}" for (what, reason), own in places.items())


def block_title(block: Section) -> str:
    """Say in one line what the rows of `block` share.

    >>> from tmtrain.reporting.example import example_block
    >>> block_title(example_block())
    'made-up-small, batch 4, on example with 1.10 GiB fast memory (12.5 % of 8.77 GiB), minimising energy'
    """
    row = block.first
    fast = f"{format_bytes(row.fast_bytes)} fast memory ({percent(row.fast_fraction)} of "
    footprint = f"{format_bytes(row.footprint_bytes)})"
    return (
        f"{row.model}, batch {row.batch}, on {row.machine} with {fast}{footprint}, minimising {row.objective}"
    )


def table_lines(block: Section) -> tuple[TableLine, ...]:
    """Return the lines of `block`: ours, the rivals from best to worst, the certified lower bound, all-fast.

    >>> from tmtrain.reporting.example import example_block
    >>> [line.cells[0] for line in table_lines(example_block())]
    ['tmtrain', 'belady', 'lru', 'paging', 'lower bound', 'all-fast']
    """
    policies = [_line(row, block=block) for row in block.ordered]
    bound = _bound_line(block)
    ideal = [line for line in policies if line.kind == "ideal"]
    return (*(line for line in policies if line.kind != "ideal"), bound, *ideal)


def _table(block: Section) -> Table:
    title = Text(block_title(block), style="bold")
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0), pad_edge=False
    )
    for i, heading in enumerate(COLUMNS):
        table.add_column(heading, justify="left" if i == 0 else "right", no_wrap=True)
    styles = {"ours": "bold", "rival": "", "ideal": "dim", "bound": "italic"}
    for line in table_lines(block):
        cells = [
            Text(cell, style="bold green" if i in line.best else "") for i, cell in enumerate(line.cells)
        ]
        table.add_row(*cells, style=styles[line.kind])
    return table


def _line(row: Row, *, block: Section) -> TableLine:
    rival = block.best_rival("samples_per_j")
    cells = (
        row.policy,
        quantity(row.step_time_s, "s"),
        f"{row.step_time_s / row.ideal_step_time_s:.2f}" if row.ideal_step_time_s else _NONE,
        format_bytes(row.traffic_bytes),
        quantity(row.energy_j, "J"),
        digits(row.samples_per_s),
        digits(row.samples_per_j),
        _NONE if rival is None or rival is row else change(row.samples_per_j, rival.samples_per_j),
        _life(row.lifetime_years),
        f"${row.memory_cost_usd:,.0f}" if row.memory_cost_usd >= 100 else f"${row.memory_cost_usd:.2f}",
        _NONE if row.policy == ALL_FAST else percent(row.gap),
    )
    if row.policy == ALL_FAST:
        return TableLine(kind="ideal", cells=cells, best=frozenset())
    return TableLine(
        kind="ours" if row.policy == OURS else "rival", cells=cells, best=_best(row, block=block)
    )


def _bound_line(block: Section) -> TableLine:
    first, bounds = block.first, block.first.bounds
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


def _best(row: Row, *, block: Section) -> frozenset[int]:
    rows = [other for other in block.rows if other.policy != ALL_FAST]
    lowest = {
        i for i, name in _LOWER_IS_BETTER.items() if getattr(row, name) <= min(getattr(r, name) for r in rows)
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
