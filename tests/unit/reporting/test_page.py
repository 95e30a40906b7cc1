"""The page: one file, whole or not at all, with every number and figure of the evaluation in it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.claims import IN_FULL, sentences_of, unclassed

from tmtrain.bundle import sealed
from tmtrain.errors import FileFormatError, InputError
from tmtrain.evaluation.fate_record import load_fates
from tmtrain.machine import describe_machine
from tmtrain.plans import CLASS
from tmtrain.reporting import read_results, write_report
from tmtrain.reporting.costs import cost_lines
from tmtrain.reporting.example import write_example
from tmtrain.reporting.section import sections_of
from tmtrain.reporting.table import table_lines
from tmtrain.units import format_bytes

FIGURES = ["rivals", "memory", "overlap", "power", "prices", "monitor", "sensitivity", "tornado"]
Edit = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture
def folder(example: Path, tmp_path: Path) -> Path:
    """A copy of the example, to be changed."""
    return shutil.copytree(example, tmp_path, dirs_exist_ok=True)


@pytest.fixture(scope="module")
def page(example: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of the example as it is."""
    return write_report(shutil.copytree(example, tmp_path_factory.mktemp("page") / "example")).read_text()


def _edit(folder: Path, edit: Edit) -> None:
    path = folder / "results.json"
    content = json.loads(path.read_text())
    for row in content["rows"]:
        edit(row)
    path.write_text(json.dumps(sealed(content)))


def _figures(page: str) -> list[str]:
    return re.findall(r'data-figure="([a-z]+)"', page)


def test_it_needs_nothing_from_elsewhere(page: str) -> None:
    for link in re.findall(r'(?:href|src)="([^"]*)"', page):
        assert link.startswith("#") or link == "data:,"
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page


def test_every_number_of_the_table_and_every_figure_is_there(page: str, example: Path) -> None:
    sections = sections_of(read_results(example / "results.json"))
    for section in sections:
        for line in table_lines(section):
            for cell in line.cells:
                assert f">{cell}</td>" in page
        for cost in cost_lines(section):
            assert "".join(f"<td>{cell}</td>" for cell in cost.cells) in page
    assert _figures(page) == FIGURES * len(sections)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_what_turns_a_ranking_round_is_said_below_the_tornado(page: str, folder: Path) -> None:
    assert "No constant turns a ranking round anywhere in its range." in page
    path = folder / "sensitivity.json"
    content = json.loads(path.read_text())
    for case in content["cases"]:
        if case["policy"] == "tmtrain" and case["value"] > 2e-9:
            case["samples_per_j"] /= 100
    path.write_text(json.dumps(sealed(content)))
    said = "slow.program_energy_j_per_byte: at 2.40 nJ/B instead of 800 pJ/B g10 is ahead of tmtrain."
    assert said in write_report(folder).read_text().replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.slow
def test_the_fates_of_our_plan_are_told_where_they_were_kept(page: str, folder: Path) -> None:
    for group in load_fates(folder / "runs/made-up-small.example.12.5%.tmtrain.fates").groups:
        assert f"<td>{group.role}</td><td>{group.module}</td>" in page
        assert f"<td>{format_bytes(group.bytes)}</td>" in page or group.recomputed_bytes
    shutil.rmtree(folder / "runs/made-up-small.example.12.5%.tmtrain.fates")
    assert _figures(write_report(folder).read_text()).count("prices") == 1


def test_the_page_says_what_the_monitor_is_worth_and_where_it_is_worth_nothing(page: str) -> None:
    said = page.replace("\N{NO-BREAK SPACE}", " ")
    assert "The timing monitor saves +10.00 % of the step time and +8.00 % of the energy." in said
    nothing = "is worth nothing here: it saves +0.04 % of the step time and −0.01 % of the energy."
    assert said.count(nothing) == 1


@pytest.mark.slow
def test_a_run_of_the_monitor_is_shown_in_its_own_section_only(folder: Path) -> None:
    path = folder / "monitor.json"
    content = json.loads(path.read_text())
    content["runs"][1]["budget_bytes"] += 1
    path.write_text(json.dumps(sealed(content)))
    assert _figures(write_report(folder).read_text()).count("monitor") == 1


def test_the_page_says_the_class_in_full_wherever_it_claims_a_bound(page: str) -> None:
    plain = re.sub(r"(?s)<(style|script|svg).*?</\1>", "", page)
    words = " ".join(" ".join(sentences_of(plain)).split())
    assert words.count(CLASS) >= 4, "under the figure, in how to read it, and of each model"
    assert unclassed(plain, by=IN_FULL) == []


def test_the_headline_of_the_paper_is_labelled(page: str) -> None:
    assert "the paper's headline, for comparison" in page
    assert "reproduce" not in page.lower()


def test_the_same_folder_gives_the_same_page(page: str, folder: Path) -> None:
    assert write_report(folder).read_text() == page


def test_what_was_not_kept_is_not_shown_and_said(folder: Path) -> None:
    (folder / "sensitivity.json").unlink()
    (folder / "monitor.json").unlink()
    shutil.rmtree(folder / "runs")
    _edit(folder, lambda row: row.update(run=None))
    page = write_report(folder).read_text()
    assert _figures(page) == ["rivals", "rivals"]
    assert "No per-slice series were kept for: tmtrain, g10, lru, paging, all-fast." in page


@pytest.mark.slow
def test_constants_of_a_preset_are_listed_with_their_sources(folder: Path) -> None:
    _edit(folder, lambda row: row.update(machine="v4-slc"))
    page = write_report(folder).read_text()
    for constant in describe_machine("v4-slc"):
        assert f"<code>{constant.path}</code>" in page
    assert "Not a preset of this release" not in page


def test_names_are_text_never_markup(folder: Path) -> None:
    evil = '<script>alert("x")</script>'
    _edit(folder, lambda row: row.update(model=evil if row["model"] == "made-up-small" else row["model"]))
    page = write_report(folder).read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_a_broken_folder_leaves_the_old_page(folder: Path) -> None:
    page = write_report(folder)
    before = page.read_bytes()
    (folder / "runs/made-up-small.example.12.5%.lru/series.parquet").write_bytes(b"")
    with pytest.raises(FileFormatError, match=r"series\.parquet"):
        write_report(folder)
    assert page.read_bytes() == before
    shutil.rmtree(folder / "runs")
    with pytest.raises(InputError, match="no such file"):
        write_report(folder)
    (folder / "results.json").write_text('{"schema": 1, "rows": [], "refusals": []}')
    with pytest.raises(InputError, match="no rows"):
        write_report(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "monitor.json",
        "report.html",
        "results.json",
        "sensitivity.json",
    ]
