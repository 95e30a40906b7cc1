"""The table: every policy once, the bound among them, the best marked, and it fits a terminal."""

from dataclasses import replace

import msgspec
import pytest
from rich.console import Console

from tmtrain.evaluation.row import Results, Row
from tmtrain.reporting.example import example_results, example_section
from tmtrain.reporting.quantity import change, digits, percent, quantity
from tmtrain.reporting.section import Section, sections_of
from tmtrain.reporting.summary import PAPER_HEADLINE, head_lines, overview, sentences
from tmtrain.reporting.table import COLUMNS, results_table, table_lines


def _shown(results: Results) -> str:
    console = Console(width=120)
    with console.capture() as captured:
        console.print(results_table(results))
    return captured.get()


def _grown(row: Row, factor: float) -> Row:
    """The same row for a step that is `factor` times as large."""
    scaled = msgspec.to_builtins(row)
    for name, value in scaled.items():
        if isinstance(value, int | float) and name.endswith(("_s", "_j", "_usd", "_bytes")):
            scaled[name] = type(value)(value * factor)
    scaled["bounds"] = {name: value * factor for name, value in scaled["bounds"].items()}
    scaled |= {"samples_per_s": row.samples_per_s / factor, "samples_per_j": row.samples_per_j / factor}
    return msgspec.convert(scaled | {"gap": 12.3}, Row)


@pytest.mark.parametrize("factor", [1e-6, 1.0, 100.0])
def test_it_fits_120_columns_uncut(factor: float) -> None:
    rows = [_grown(row, factor) for row in example_results().rows]
    rows = [replace(row, policy="largest-first") if row.policy == "lru" else row for row in rows]
    text = _shown(Results(schema=1, rows=rows, refusals=[]))
    assert max(map(len, text.splitlines())) <= 120
    assert "…" not in text
    for policy in ("tmtrain", "g10", "largest-first", "paging", "lower bound", "all-fast"):
        assert sum(line.strip().startswith(policy) for line in text.splitlines()) == 2


def test_the_best_is_marked_among_equals_in_memory_only() -> None:
    lines = {line.cells[0]: line for line in table_lines(example_section())}
    headings = {COLUMNS[i] for i in lines["tmtrain"].best}
    assert headings == {"step", "traffic", "energy", "samples/s", "samples/J", "gap"}
    assert not lines["all-fast"].best
    assert not lines["lower bound"].best


def test_a_tie_marks_both() -> None:
    section = example_section()
    ours = section.ours
    assert ours is not None
    lines = table_lines(Section(rows=(ours, replace(ours, policy="lru"))))
    assert lines[0].best == lines[1].best != frozenset()


def test_a_loss_is_told_as_a_loss() -> None:
    swap = {"tmtrain": "g10", "g10": "tmtrain"}
    section = Section(
        rows=tuple(replace(row, policy=swap.get(row.policy, row.policy)) for row in example_section().rows)
    )
    line = head_lines([section])[0]
    assert line.samples_per_j.startswith("−")
    assert line.traffic.startswith("+")
    assert "Samples per joule: −" in sentences(section)[1]


@pytest.mark.parametrize("apart", ["tmtrain-move", "belady"])
def test_what_nobody_has_published_is_shown_and_is_never_the_rival(apart: str) -> None:
    section = example_section()
    g10 = section.rival("g10")
    assert g10 is not None
    better = replace(g10, policy=apart, energy_j=0.9 * g10.energy_j, traffic_bytes=0, samples_per_j=99.0)
    with_it = Section(rows=(*section.rows, better))
    assert [with_it.best_rival(m) for m in (None, "traffic_bytes", "samples_per_j")] == [g10] * 3
    lines = {line.cells[0]: line.cells[COLUMNS.index("vs rival")] for line in table_lines(with_it)}
    assert lines["g10"] == "best rival"
    assert lines[apart] == change(99.0, g10.samples_per_j)
    assert "(g10)" in sentences(with_it)[1]
    assert Section(rows=tuple(r for r in with_it.rows if r.policy in ("tmtrain", apart))).best_rival() is None


@pytest.mark.parametrize(
    ("objective", "rival"),
    [("energy", "g10"), ("time", "lru"), ("bytes", "paging"), ("writes", "lru"), ("time:1,energy:1", "g10")],
)
def test_the_rival_is_the_best_by_the_objective(objective: str, rival: str) -> None:
    changed = {
        "lru": {"step_time_s": 1e-9, "samples_per_s": 1e9, "bytes_out": 0},
        "paging": {"traffic_bytes": 1},
    }
    rows = (replace(row, **changed.get(row.policy, {})) for row in example_section().rows)
    section = Section(rows=tuple(replace(row, objective=objective) for row in rows))
    best = section.best_rival()
    assert best is not None
    assert best.policy == rival
    assert section.ordered[1] == best


def test_rows_are_compared_at_their_budget() -> None:
    rows = example_results().rows[:5]
    half = [
        replace(
            row,
            budget_bytes=4 * row.budget_bytes,
            fast_fraction=row.fast_fraction if row.policy == "all-fast" else 0.5,
        )
        for row in rows
    ]
    sections = sections_of(Results(schema=1, rows=[*rows, *half], refusals=[]))
    assert [(len(section.rows), section.ideal is not None) for section in sections] == [(5, True), (5, True)]
    assert len({section.key for section in sections}) == 2


def test_without_us_without_rivals_and_alone() -> None:
    rows = example_section().rows
    rivals_only = Section(rows=tuple(row for row in rows if row.policy != "tmtrain"))
    assert head_lines([rivals_only]) == ()
    assert overview([rivals_only]) == ""
    assert sentences(rivals_only) == ("tmtrain did not run here: only rivals are shown.",)
    ours_only = Section(rows=tuple(row for row in rows if row.policy == "tmtrain"))
    assert head_lines([ours_only])[0].traffic == "–"
    ideal_only = Section(rows=tuple(row for row in rows if row.policy == "all-fast"))
    assert [line.kind for line in table_lines(ideal_only)] == ["bound", "ideal"]


def test_the_papers_headline_is_the_published_one() -> None:
    assert PAPER_HEADLINE == ("−64 %", "+55 %", "−87 %")


def test_numbers_are_printed_as_people_read_them() -> None:
    assert [digits(v) for v in (0, 999.7, 99.96, 1e-7, 12)] == ["0", "1,000", "100", "0.000000100", "12.0"]
    assert [quantity(v, "J") for v in (999.6, 1e-13, 2.5e12)] == ["1.00 kJ", "0.100 pJ", "2,500 GJ"]
    assert quantity(0.5, "") == "0.500"
    assert change(0, 0) == "±0 %"
    assert change(1.0004, 1.0) == "±0 %"
    assert [percent(v) for v in (0, 0.5, 12.3456)] == ["0 %", "50 %", "1,235 %"]
