"""A Result on disk comes back bit for bit, or not at all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tmtrain.bundle import MANIFEST, Bundle, read_bundle, write_bundle
from tmtrain.errors import FileFormatError, InputError
from tmtrain.reporting.example import example_result
from tmtrain.simulation.file import load_result, save_result
from tmtrain.simulation.result import Result, Series, Traffic


def _same(a: Result, b: Result) -> bool:
    scalars = set(Result.__slots__) - {"series", "traffic"}
    pairs = [(a.series, b.series, name) for name in Series.__slots__]
    pairs += [(a.traffic, b.traffic, name) for name in Traffic.__slots__]
    columns = [(getattr(x, name), getattr(y, name)) for x, y, name in pairs]
    return all(getattr(a, name) == getattr(b, name) for name in scalars) and all(
        x.dtype == y.dtype and x.shape == y.shape and np.array_equal(x, y) for x, y in columns
    )


@pytest.mark.parametrize("policy", ["tmtrain", "all-fast"])
def test_round_trip_is_exact(tmp_path: Path, policy: str) -> None:
    result = example_result(policy)
    save_result(result, tmp_path / "run")
    assert _same(load_result(tmp_path / "run"), result)


def test_joules_sum_to_the_same_bits_whatever_the_names(tmp_path: Path) -> None:
    parts = {"z": 1.0, "y": 1.0, "a": 1e16}
    result = replace(example_result("lru"), energy_by_component_j=parts)
    save_result(result, tmp_path / "run")
    loaded = load_result(tmp_path / "run")
    assert list(loaded.energy_by_component_j) == list(parts)
    assert loaded.energy_j == result.energy_j


def test_edited_truncated_and_newer_files_are_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    save_result(example_result("lru"), run)
    series = run / "series.parquet"
    whole = series.read_bytes()
    series.write_bytes(whole[:-10])
    with pytest.raises(FileFormatError, match="truncated"):
        load_result(run)
    series.write_bytes(whole)
    manifest = json.loads((run / MANIFEST).read_text())
    (run / MANIFEST).write_text(json.dumps(manifest | {"version": 99}))
    with pytest.raises(FileFormatError, match="update tmtrain"):
        load_result(run)
    (run / MANIFEST).write_text(json.dumps(manifest | {"meta": manifest["meta"] | {"stall_s": 0.0}}))
    with pytest.raises(FileFormatError, match="edited"):
        load_result(run)
    with pytest.raises(InputError, match="no such file"):
        load_result(tmp_path / "nothing")


def test_a_result_without_its_parts_is_refused(tmp_path: Path) -> None:
    save_result(example_result("lru"), tmp_path / "run")
    whole = read_bundle(tmp_path / "run", kind="result", version=5)
    series = whole.tables["series"]
    lacking = {
        "column": ({**whole.tables, "series": series.drop_columns(["end_s"])}, whole.meta),
        "table": ({"series": series}, whole.meta),
        "scalar": (whole.tables, {k: v for k, v in whole.meta.items() if k != "stall_s"}),
        "type": (whole.tables, whole.meta | {"bytes_in": "many"}),
    }
    for name, (tables, meta) in lacking.items():
        write_bundle(tmp_path / name, Bundle(kind="result", version=5, meta=meta, tables=tables))
        with pytest.raises(FileFormatError, match="lacks a part of a result"):
            load_result(tmp_path / name)
