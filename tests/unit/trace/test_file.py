"""The trace file keeps every column exactly and refuses what is not whole."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.thoroughness import examples

from tmtrain.bundle import MANIFEST, Bundle, read_bundle, write_bundle
from tmtrain.errors import FileFormatError, InputError
from tmtrain.trace import (
    Operands,
    Operators,
    Phase,
    Role,
    Storages,
    Trace,
    example_trace,
    load_trace,
    save_trace,
    trace_fingerprint,
)
from tmtrain.trace.rows import OperandRow, operands_from_rows

TABLES = ("storages", "operators", "operands")


def assert_equal(left: Trace, right: Trace) -> None:
    assert (left.model, left.samples, left.options) == (right.model, right.samples, right.options)
    for table in TABLES:
        for field in dataclasses.fields(getattr(left, table)):
            mine, other = (getattr(getattr(trace, table), field.name) for trace in (left, right))
            if mine is None or isinstance(mine, tuple):
                assert mine == other, field.name
            else:
                np.testing.assert_array_equal(mine, other, err_msg=field.name)
                assert mine.dtype == other.dtype, field.name


_TEXT = st.text(max_size=6)
_INT64 = st.integers(0, 2**62)


@st.composite
def traces(draw: st.DrawFn) -> Trace:
    ops, storages = draw(st.integers(0, 5)), draw(st.integers(0, 5))

    def column(element: st.SearchStrategy, size: int, dtype: type) -> np.ndarray:
        return np.array(draw(st.lists(element, min_size=size, max_size=size)), dtype)

    def texts(size: int) -> tuple[str, ...]:
        return tuple(draw(st.lists(_TEXT, min_size=size, max_size=size)))

    when = st.integers(0, ops)
    shape = st.lists(st.integers(0, 2**40), max_size=3).map(tuple)
    row = st.builds(
        OperandRow,
        *(st.integers(0, max(ops - 1, 0)), st.integers(0, 1009), st.integers(0, 3)),
        st.integers(0, max(storages - 1, 0)),
        *(st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2**20), st.integers(0, 2**20)),
        *(st.sampled_from([1, 2, 4, 8]), shape, shape),
    ).map(lambda row: row._replace(stride=row.shape))
    rows = sorted(draw(st.lists(row, max_size=8))) if ops and storages else []
    return Trace(
        model=draw(_TEXT),
        samples=draw(st.integers(1, 99)),
        options=draw(st.dictionaries(_TEXT, st.none() | st.booleans() | st.integers() | _TEXT, max_size=3)),
        storages=Storages(
            name=texts(storages),
            bytes=column(st.integers(2**21, 2**62), storages, np.int64),  # as large as what operands touch
            dtype=texts(storages),
            role=column(st.sampled_from(list(Role)), storages, np.int8),
            persistent=column(st.booleans(), storages, np.bool_),
            birth_op=column(when, storages, np.int32),
            death_op=column(when, storages, np.int32),
            module=texts(storages),
        ),
        operators=Operators(
            name=texts(ops),
            module=texts(ops),
            phase=column(st.sampled_from(list(Phase)), ops, np.int8),
            flops=column(_INT64, ops, np.int64),
            batch=column(_INT64, ops, np.int64),
            m=column(_INT64, ops, np.int64),
            n=column(_INT64, ops, np.int64),
            k=column(_INT64, ops, np.int64),
            is_view=column(st.booleans(), ops, np.bool_),
            is_pointwise=column(st.booleans(), ops, np.bool_),
            is_random=column(st.booleans(), ops, np.bool_),
            duration_s=draw(st.none() | st.just(np.arange(ops, dtype=np.float64))),
        ),
        operands=operands_from_rows(rows),
    )


@examples(40)
@given(trace=traces())
def test_what_is_loaded_is_what_was_saved(trace: Trace, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("round") / "any.trace"
    save_trace(trace, path)
    loaded = load_trace(path)
    assert_equal(loaded, trace)
    assert trace_fingerprint(loaded) == trace_fingerprint(trace)


def test_pandas_reads_the_tables(tmp_path: Path) -> None:
    save_trace(example_trace(), tmp_path / "x.trace")
    storages = pd.read_parquet(tmp_path / "x.trace" / "storages.parquet")
    operators = pd.read_parquet(tmp_path / "x.trace" / "operators.parquet")
    operands = pd.read_parquet(tmp_path / "x.trace" / "operands.parquet")
    assert storages.set_index("name").loc["0.weight", "role"] == "parameter"
    assert list(operators["phase"])[:4] == ["forward", "forward", "loss", "backward"]
    assert list(operands["shape"][0]) == [32, 32]


def test_every_column_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "trace-format.md").read_text()
    for table in (Storages, Operators, Operands):
        for field in dataclasses.fields(table):
            assert f"| `{field.name}` |" in text, f"{table.__name__}.{field.name}"


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    code = "from tmtrain.trace import *; print(trace_fingerprint(example_trace()))"
    other = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == trace_fingerprint(example_trace())


@pytest.mark.parametrize("table", TABLES)
def test_the_fingerprint_sees_every_column(table: str) -> None:
    trace = example_trace()
    part = getattr(trace, table)
    for field in dataclasses.fields(part):
        values = getattr(part, field.name)
        if isinstance(values, tuple):
            changed = (*values[:-1], values[-1] + values[-1] + values[0])
        elif values is None:
            changed = np.zeros(len(part))
        else:
            changed = values.copy()
            changed[-1] = not changed[-1] if values.dtype == np.bool_ else changed[-1] - 1
        other = dataclasses.replace(trace, **{table: dataclasses.replace(part, **{field.name: changed})})
        assert trace_fingerprint(other) != trace_fingerprint(trace), field.name


def test_importing_the_trace_imports_no_torch() -> None:
    code = "import sys, tmtrain.trace, tmtrain.capturing; assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "x.trace"
    save_trace(example_trace(), path)
    return path


def rewrite(path: Path, **tables: pa.Table | None) -> None:
    """Write the bundle again with other tables and right digests: an error that no checksum finds."""
    bundle = read_bundle(path, kind="trace", version=1)
    merged = {name: table for name, table in (bundle.tables | tables).items() if table is not None}
    write_bundle(path, dataclasses.replace(bundle, tables=merged))


def table_of(path: Path, name: str) -> pa.Table:
    return read_bundle(path, kind="trace", version=1).tables[name]


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_trace(tmp_path / "absent.trace")


def test_truncated(saved: Path) -> None:
    file = saved / "operands.parquet"
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(FileFormatError, match=r"operands\.parquet is truncated or was edited"):
        load_trace(saved)


def test_edited_manifest(saved: Path) -> None:
    manifest = json.loads((saved / MANIFEST).read_text())
    manifest["meta"]["samples"] = 64
    (saved / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(FileFormatError, match="edited"):
        load_trace(saved)


def test_future_version(saved: Path) -> None:
    write_bundle(saved, dataclasses.replace(read_bundle(saved, kind="trace", version=1), version=2))
    with pytest.raises(FileFormatError, match="format version 2, this release reads up to 1"):
        load_trace(saved)


def test_another_kind(saved: Path) -> None:
    write_bundle(saved, Bundle(kind="plan", version=1, meta={}, tables={}))
    with pytest.raises(FileFormatError, match="'plan'"):
        load_trace(saved)


def test_missing_file(saved: Path) -> None:
    (saved / "storages.parquet").unlink()
    with pytest.raises(FileFormatError, match=r"storages\.parquet is missing"):
        load_trace(saved)


def test_missing_table(saved: Path) -> None:
    rewrite(saved, storages=None)
    with pytest.raises(FileFormatError, match="table 'storages' is missing"):
        load_trace(saved)


def test_missing_column(saved: Path) -> None:
    rewrite(saved, operators=table_of(saved, "operators").drop_columns(["flops"]))
    with pytest.raises(FileFormatError, match="table 'operators' has columns"):
        load_trace(saved)


def test_wrong_type(saved: Path) -> None:
    table = table_of(saved, "storages")
    rewrite(saved, storages=table.set_column(1, "bytes", pa.array(["many"] * len(table))))
    with pytest.raises(FileFormatError, match=r"storages\.bytes is string, needs int64"):
        load_trace(saved)


def test_empty_cell(saved: Path) -> None:
    table = table_of(saved, "operators")
    flops = pa.array([None, *range(len(table) - 1)], pa.int64())
    rewrite(saved, operators=table.set_column(table.column_names.index("flops"), "flops", flops))
    with pytest.raises(FileFormatError, match=r"operators\.flops has empty cells"):
        load_trace(saved)


def test_unknown_role(saved: Path) -> None:
    table = table_of(saved, "storages")
    roles = pa.array(["wizard"] * len(table))
    rewrite(saved, storages=table.set_column(table.column_names.index("role"), "role", roles))
    with pytest.raises(FileFormatError, match=r"unknown values \['wizard'\]"):
        load_trace(saved)


def test_missing_metadata(saved: Path) -> None:
    bundle = read_bundle(saved, kind="trace", version=1)
    write_bundle(saved, dataclasses.replace(bundle, meta={"model": "x", "options": {}}))
    with pytest.raises(FileFormatError, match="'samples' of type int"):
        load_trace(saved)


@pytest.mark.parametrize(
    ("table", "column", "value", "message"),
    [
        ("operands", "storage", 10, r"operands\.storage\[0\] is 10, needs to be in 0\.\.9"),
        ("operands", "op", -1, r"operands\.op\[0\] is -1"),
        ("operands", "op", 9, r"operands\.op decreases at row 1"),
        ("operands", "span_bytes", -4, r"operands\.span_bytes\[0\] is -4, needs to be at least 0"),
        ("storages", "death_op", 11, r"storages\.death_op\[0\] is 11, needs to be in 0\.\.10"),
        ("storages", "bytes", -1, r"storages\.bytes\[0\] is -1"),
    ],
)
def test_out_of_range(saved: Path, table: str, column: str, value: int, message: str) -> None:
    trace = load_trace(saved)
    values = getattr(getattr(trace, table), column).copy()
    values[0] = value
    wrong = dataclasses.replace(
        trace, **{table: dataclasses.replace(getattr(trace, table), **{column: values})}
    )
    save_trace(wrong, saved)
    with pytest.raises(FileFormatError, match=message):
        load_trace(saved)
