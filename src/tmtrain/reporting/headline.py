"""Over all models: ours against every rival in geometric means, per machine and capacity."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from tmtrain.evaluation.row import Results, Row
from tmtrain.reporting.quantity import change
from tmtrain.reporting.section import Measure, Section, sections_of
from tmtrain.reporting.summary import PAPER_HEADLINE

MEASURES: dict[Measure, str] = {
    "samples_per_j": "samples/J",
    "traffic_bytes": "bytes",
    "step_time_s": "time",
}
"""Of each capacity, with their headings."""
BEST = "best of each model"
BOUND = "lower bound"
PAPER = "the paper's headline, for comparison"
_NONE = "–"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One machine."""

    machine: str
    models: int
    capacities: tuple[str, ...]
    """Shares of the footprint, largest first."""
    lines: tuple[tuple[str, ...], ...]
    """A rival, then per capacity the change of each measure from it to ours, then of how many settings it ran in all."""


def headlines(results: Results) -> tuple[Headline, ...]:
    """Compare ours with every rival over all models of a machine; nothing where there is one model only.

    A cell is the geometric mean over the models that the rival ran on. Where neither, or only one, of the two moves bytes
    there is no ratio: that model is left out of the mean of bytes.

    >>> from tmtrain.reporting.example import example_results
    >>> first = headlines(example_results())[0]
    >>> first.models, first.capacities, [line[0] for line in first.lines][:2]
    (2, ('12.5 %',), ['g10', 'lru'])
    """
    machines: dict[str, list[Section]] = {}
    for section in sections_of(results):
        if section.ours is not None and section.rivals:
            machines.setdefault(section.first.machine, []).append(section)
    of_machines = (_headline(machine, own) for machine, own in machines.items())
    return tuple(headline for headline in of_machines if headline.models > 1)


def headline_columns(headline: Headline) -> tuple[str, ...]:
    """Return the headings of the lines.

    >>> from tmtrain.reporting.example import example_results
    >>> headline_columns(headlines(example_results())[0])
    ('ours against', '12.5 % samples/J', '12.5 % bytes', '12.5 % time', 'ran')
    """
    cells = (f"{capacity} {name}" for capacity in headline.capacities for name in MEASURES.values())
    return ("ours against", *cells, "ran")


def headline_tables(results: Results) -> Group:
    """Return the tables for a rich console, one per machine.

    >>> from rich.console import Console
    >>> from tmtrain.reporting.example import example_results
    >>> console = Console(width=120)
    >>> with console.capture() as shown:
    ...     console.print(headline_tables(example_results()))
    >>> "geometric means over 2 models" in shown.get()
    True
    """
    return Group(*(_table(headline) for headline in headlines(results)))


def headline_title(headline: Headline) -> str:
    """Say what the lines are."""
    return f"tmtrain against each rival on {headline.machine}: geometric means over {headline.models} models"


def _table(headline: Headline) -> Table:
    title = Text(headline_title(headline), style="bold")
    table = Table(
        box=box.SIMPLE_HEAD, title=title, title_justify="left", padding=(0, 1, 0, 0), pad_edge=False
    )
    for i, heading in enumerate(headline_columns(headline)):
        table.add_column(heading.replace("% ", "%\n"), justify="right" if i else "left", no_wrap=True)
    for line in headline.lines:
        table.add_row(*(Text(cell) for cell in line))
    return table


def _headline(machine: str, own: Sequence[Section]) -> Headline:
    shares = sorted({_share(section) for section in own}, reverse=True)
    # By capacity, then over models: a mean over capacities would compare settings that nobody chooses between.
    at = {share: [section for section in own if _share(section) == share] for share in shares}
    rivals = dict.fromkeys(row.policy for section in own for row in section.rows if row in section.rivals)
    lines = [_line(name, at, [section.rival(name) for section in own]) for name in rivals]
    best = [
        [
            _change_of(group, [section.best_rival(measure) for section in group], measure)
            for measure in MEASURES
        ]
        for group in at.values()
    ]
    lines.append((BEST, *(cell for cells in best for cell in cells), ""))
    bound = [[*_bound_cells(group)] for group in at.values()]
    lines.append((BOUND, *(cell for cells in bound for cell in cells), ""))
    # The paper gives one capacity; its numbers go into that column and no other.
    traffic, samples, _ = PAPER_HEADLINE
    paper = [(samples, traffic, _NONE) if math.isclose(share, 0.125) else (_NONE,) * 3 for share in shares]
    lines.append((PAPER, *(cell for cells in paper for cell in cells), ""))
    return Headline(
        machine=machine,
        models=len({section.first.model for section in own}),
        capacities=tuple(f"{100 * share:.4g} %" for share in shares),
        lines=tuple(lines),
    )


def _line(name: str, at: dict[float, list[Section]], everywhere: Sequence[Row | None]) -> tuple[str, ...]:
    cells = [
        _change_of(group, [section.rival(name) for section in group], measure)
        for group in at.values()
        for measure in MEASURES
    ]
    ran = sum(row is not None for row in everywhere)
    return (name, *cells, f"{ran}/{len(everywhere)}")


def _change_of(group: Sequence[Section], rivals: Sequence[Row | None], measure: Measure) -> str:
    """Print the geometric mean of ours over the rival's, as a change."""
    pairs = [
        (getattr(section.ours, measure), getattr(rival, measure))
        for section, rival in zip(group, rivals, strict=True)
        if section.ours is not None and rival is not None
    ]
    return _mean_change(pairs)


def _bound_cells(group: Sequence[Section]) -> Iterable[str]:
    """How far ours is from the bound of its class; nothing where a bound was not asked for."""
    for measure in MEASURES:
        pairs = []
        for section in group:
            bounds, ours = section.first.bounds, section.ours
            assert ours is not None
            limit = {
                "samples_per_j": ours.batch / bounds.energy_j if bounds.energy_j else None,
                "traffic_bytes": bounds.traffic_bytes,
                "step_time_s": bounds.time_s,
            }[measure]
            if limit is not None:
                pairs.append((getattr(ours, measure), limit))
        yield _mean_change(pairs)


def _mean_change(pairs: Sequence[tuple[float, float]]) -> str:
    ratios = [ours / rival for ours, rival in pairs if ours > 0 and rival > 0]
    if not ratios:
        return _NONE
    return change(math.exp(sum(map(math.log, ratios)) / len(ratios)), 1.0)


def _share(section: Section) -> float:
    """Return the capacity as a share: budgets are whole pages, shares that were asked for are round."""
    return round(section.first.fast_fraction, 4)
