"""results.json and sensitivity.json: what is not whole is refused, with the path and what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tmtrain.bundle import sealed
from tmtrain.errors import FileFormatError, InputError
from tmtrain.evaluation.row import SCHEMA
from tmtrain.reporting import read_results, read_sensitivity
from tmtrain.reporting.example import (
    example_monitored,
    example_results,
    example_sensitivity,
    write_example,
)
from tmtrain.reporting.results import read_monitor

Edit = Callable[[dict[str, Any]], object]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_example(tmp_path)


def _edit(path: Path, edit: Edit) -> None:
    """Edit a file and give it a right digest, as somebody's own program might."""
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(sealed(content)))


def test_what_was_written_is_read(folder: Path) -> None:
    rows = read_results(folder / "results.json").rows
    examples = example_results().rows
    assert [(r.policy, r.energy_j, r.bounds) for r in rows] == [
        (r.policy, r.energy_j, r.bounds) for r in examples
    ]
    assert read_sensitivity(folder / "sensitivity.json") == example_sensitivity()
    assert read_monitor(folder / "monitor.json").runs[0] == example_monitored()


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda c: c.update(schema=SCHEMA + 1), "update tmtrain"),
        (lambda c: c.update(schema="1"), "does not say which schema"),
        (lambda c: c.pop("schema"), "does not say which schema"),
        (lambda c: c["rows"][3].pop("policy"), r"rows\[3\]"),
        (lambda c: c["rows"][2].update(step_time_s="fast"), r"rows\[2\]\.step_time_s"),
        (lambda c: c["rows"][1].update(colour="red"), r"rows\[1\]\.colour"),
        (lambda c: c["rows"][1]["bounds"].update(joy=1), r"rows\[1\]\.bounds\.joy"),
        (lambda c: c["rows"][0].update(bytes_in=1), "traffic_bytes"),
        (lambda c: c["rows"][0].update(energy_j=1.0), "energy_j"),
        (lambda c: c["rows"][0].update(samples_per_s=9.9), "samples_per_s"),
        (lambda c: c["rows"][0].update(stall_s=-1.0), "stall_s"),
        (lambda c: c["rows"][0].update(batch=0), "batch"),
        (lambda c: c["rows"].append(c["rows"][0]), "repeats tmtrain"),
    ],
)
def test_an_edited_file_is_refused(folder: Path, edit: Edit, complaint: str) -> None:
    path = folder / "results.json"
    _edit(path, edit)
    with pytest.raises(FileFormatError, match=complaint) as raised:
        read_results(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_file_is_refused(folder: Path, share: float) -> None:
    readers = {
        "results.json": read_results,
        "sensitivity.json": read_sensitivity,
        "monitor.json": read_monitor,
    }
    for name, read in readers.items():
        path = folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(FileFormatError, match=name):
            read(path)


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda c: c.update(schema=99), "update tmtrain"),
        (lambda c: c["cases"][0].update(nominal=1.0), "not ordered"),
        (lambda c: c["cases"][0].update(energy_j=0.0), "must be positive"),
        (lambda c: c["cases"][0].update(extra=0.0), r"cases\[0\]\.extra"),
    ],
)
def test_an_edited_sensitivity_is_refused(folder: Path, edit: Edit, complaint: str) -> None:
    _edit(folder / "sensitivity.json", edit)
    with pytest.raises(FileFormatError, match=complaint):
        read_sensitivity(folder / "sensitivity.json")


@pytest.mark.parametrize(
    ("edit", "complaint"),
    [
        (lambda c: c.update(schema=99), "update tmtrain"),
        (lambda c: c["runs"][0].update(time_gain=0.5), "not what the mean step times say"),
        (lambda c: c["runs"][1]["contenders"].pop(0), "a gain is of a monitor over a static plan"),
        (lambda c: c["runs"][0]["contenders"][1]["steps"].pop(), "have not run the same steps"),
        (lambda c: c["runs"][0]["strikes"][0].update(last_step="5"), r"runs\[0\]\.strikes\[0\]\.last_step"),
    ],
)
def test_an_edited_record_of_the_monitor_is_refused(folder: Path, edit: Edit, complaint: str) -> None:
    _edit(folder / "monitor.json", edit)
    with pytest.raises(FileFormatError, match=complaint):
        read_monitor(folder / "monitor.json")


def test_an_absent_file_is_named_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no such file: .*results\.json.*tmtrain evaluate"):
        read_results(tmp_path / "results.json")


def test_all_fast_stands_once_per_budget(folder: Path) -> None:
    path = folder / "results.json"

    def add(contents: dict[str, Any], budget: int) -> None:
        ideal = next(r for r in contents["rows"] if r["policy"] == "all-fast")
        contents["rows"].append(ideal | {"budget_bytes": budget})

    _edit(path, lambda c: add(c, 1 << 20))
    assert len(read_results(path).rows) == 11
    _edit(path, lambda c: add(c, 1 << 20))
    with pytest.raises(FileFormatError, match="repeats all-fast"):
        read_results(path)
