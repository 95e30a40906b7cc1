"""docs/results-schema.md names every field of every file, so that nobody has to read the code."""

from dataclasses import fields
from pathlib import Path

import pytest

from tmtrain.evaluation.monitored import MONITOR_SCHEMA, Contender, DisturbedStep, MonitoredRun, Strike
from tmtrain.evaluation.row import SCHEMA, Bounds, Cost, Row, WallClock
from tmtrain.evaluation.sensitivity import SENSITIVITY_SCHEMA, Case
from tmtrain.reporting.example import example_result
from tmtrain.simulation.file import VERSION, save_result
from tmtrain.simulation.result import Conservation, Result, Series, Traffic

DOC = (Path(__file__).parents[3] / "docs/results-schema.md").read_text()


KINDS = (
    *(Row, Bounds, Cost, WallClock, Case),
    *(MonitoredRun, Strike, Contender, DisturbedStep),
    *(Result, Conservation, Series, Traffic),
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_is_documented(kind: type) -> None:
    told_otherwise = {"resident_bytes", "work_j", "series", "traffic"}
    missing = [f.name for f in fields(kind) if f.name not in DOC and f.name not in told_otherwise]
    assert not missing


def test_the_versions_are_those_documented() -> None:
    assert f"results.json, schema {SCHEMA}" in DOC
    assert f"sensitivity.json, schema {SENSITIVITY_SCHEMA}" in DOC
    assert f"monitor.json, schema {MONITOR_SCHEMA}" in DOC
    assert f'kind "result", version {VERSION}' in DOC


def test_pandas_opens_a_run(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    result = example_result("lru")
    save_result(result, tmp_path / "run")
    series = pandas.read_parquet(tmp_path / "run/series.parquet")
    assert series["resident_activation_bytes"].tolist() == result.series.resident_bytes[:, 3].tolist()
    roles = ("parameter", "gradient", "optimizer_state", "activation", "buffer", "input", "temporary")
    parts = ("matrix", "vector", "sram", "fast_access")
    assert set(series.columns) - {f.name for f in fields(Series)} == {
        *(f"resident_{role}_bytes" for role in roles),
        *(f"{part}_j" for part in parts),
    }
