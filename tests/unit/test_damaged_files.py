"""Whatever happens to a file of ours, it says what was written, or it is refused in a sentence that names it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from tests.support.mutations import mutations
from tests.support.thoroughness import rest_slow

import tmtrain
from tmtrain.bundle import MANIFEST, is_sealed, read_bundle, sealed, write_bundle
from tmtrain.errors import FileFormatError, InputError
from tmtrain.evaluation.fate_record import load_fates, save_fates
from tmtrain.machine import load_machine
from tmtrain.machine.calibration import read_calibration
from tmtrain.planning.example import example_plan
from tmtrain.reporting.example import example_fates, example_result, write_example
from tmtrain.reporting.results import read_monitor, read_results, read_sensitivity
from tmtrain.simulation.file import load_result, save_result
from tmtrain.trace import example_trace


@dataclass(frozen=True)
class Format:
    """A kind of file: how one is written, and how it is read."""

    write: Callable[[Path], object]
    read: Callable[[Path], Any]
    kind: str = ""
    """Of a bundle; "" for a single file."""
    version: int = 0


FORMATS = {
    "trace": Format(lambda path: tmtrain.save_trace(example_trace(), path), tmtrain.load_trace, "trace", 1),
    "plan": Format(lambda path: tmtrain.save_plan(example_plan(), path), tmtrain.load_plan, "plan", 4),
    "result": Format(lambda path: save_result(example_result("lru"), path), load_result, "result", 5),
    "fates": Format(lambda path: save_fates(example_fates(), path), load_fates, "fates", 2),
}
RECORDS = {"results.json": read_results, "sensitivity.json": read_sensitivity, "monitor.json": read_monitor}


def said(value: Any) -> bytes:
    """What a reader understood, as bytes that can be compared."""

    def plain(part: Any) -> Any:
        if isinstance(part, np.ndarray):
            return [
                part.dtype.str,
                list(part.shape),
                part.tobytes().hex() if part.dtype != object else part.tolist(),
            ]
        return {name: getattr(part, name) for name in type(part).__slots__}

    return msgspec.json.encode(value, enc_hook=plain)


def same_or_refused(read: Callable[[Path], Any], path: Path, expected: bytes) -> None:
    found = read_or_sentence(read, path)
    if isinstance(found, str):
        assert path.name in found
    else:
        assert said(found) == expected


def read_or_sentence(read: Callable[[Path], Any], path: Path) -> Any:
    """Return what is read, or the sentence that refuses it."""
    try:
        return read(path)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("number", rest_slow([12, 400]))
@pytest.mark.parametrize("name", FORMATS)
def test_a_mutated_bundle_is_refused_or_says_the_same(name: str, number: int, tmp_path: Path) -> None:
    form, path = FORMATS[name], tmp_path / "some.bundle"
    form.write(path)
    expected = said(form.read(path))
    for file in sorted(path.iterdir()):
        whole = file.read_bytes()
        for content in mutations(whole, seed=number, number=number):
            file.write_bytes(content)
            same_or_refused(form.read, path, expected)
        file.write_bytes(whole)


@pytest.mark.parametrize("number", rest_slow([25, 1500]))
@pytest.mark.parametrize("name", RECORDS)
def test_a_mutated_record_is_refused_or_says_the_same(name: str, number: int, tmp_path: Path) -> None:
    path = write_example(tmp_path) / name
    read, whole = RECORDS[name], path.read_bytes()
    expected = said(read(path))
    for content in mutations(whole, seed=number, number=number):
        path.write_bytes(content)
        same_or_refused(read, path, expected)


@pytest.mark.parametrize("number", rest_slow([30, 600]))
@pytest.mark.parametrize("name", FORMATS)
def test_a_manifest_with_a_right_digest_never_ends_in_anything_but_a_sentence(
    name: str, number: int, tmp_path: Path
) -> None:
    form, path = FORMATS[name], tmp_path / "some.bundle"
    form.write(path)
    manifest = path / MANIFEST
    for content in mutations(manifest.read_bytes(), seed=number, number=number):
        try:
            edited = json.loads(content)
        except ValueError:
            continue
        manifest.write_text(json.dumps(sealed(edited)))
        read_or_sentence(form.read, path)


Column = tuple[str, str, str, Any]
BAD_COLUMNS: list[Column] = [
    ("trace", "storages", "bytes", 0),
    ("trace", "operators", "flops", -1),
    ("trace", "operators", "m", -5),
    ("trace", "operands", "span_bytes", 2**40),
    ("trace", "operands", "itemsize", 0),
    ("plan", "prices", "capacity_price", float("nan")),
    ("plan", "prices", "capacity_price", -1.0),
    ("plan", "multipliers", "value", float("inf")),
    ("plan", "transfers", "pages", 0),
    ("result", "series", "end_s", float("nan")),
    ("result", "series", "matrix_j", float("nan")),
    ("result", "series", "resident_activation_bytes", -1),
    ("result", "traffic", "bytes", -1),
    ("fates", "series", "price_per_byte", float("nan")),
    ("fates", "groups", "moved_bytes", -1),
]


@pytest.mark.parametrize(("name", "table", "column", "value"), BAD_COLUMNS)
def test_a_column_that_cannot_be_is_refused_whatever_its_digest(
    name: str, table: str, column: str, value: Any, tmp_path: Path
) -> None:
    form, path = FORMATS[name], tmp_path / "some.bundle"
    form.write(path)
    bundle = read_bundle(path, kind=form.kind, version=form.version)
    old = bundle.tables[table]
    index = old.column_names.index(column)
    values = pa.array([value, *old.column(column).to_pylist()[1:]], old.schema.field(column).type)
    changed = old.set_column(index, old.schema.field(column), values)
    write_bundle(path, replace(bundle, tables=bundle.tables | {table: changed}))
    with pytest.raises(FileFormatError, match=r"some\.bundle"):
        form.read(path)


BAD_SCALARS: list[tuple[str, tuple[str, ...], Any]] = [
    ("trace", ("samples",), 0),
    ("plan", ("fast_bytes",), 0),
    ("plan", ("prediction", "energy_j"), float("nan")),
    ("plan", ("prediction", "bytes_in"), -1),
    ("plan", ("certificate", "bound"), float("nan")),
    ("plan", ("certificate", "cuts"), [5, 3]),
    ("result", ("step_time_s",), float("nan")),
    ("result", ("stall_s",), -1.0),
    ("result", ("measured_steps",), 0),
    ("result", ("conservation", "born_bytes"), 7),
    ("result", ("energy_by_component_j",), [["flash", float("nan")]]),
]


@pytest.mark.parametrize(("name", "keys", "value"), BAD_SCALARS)
def test_a_number_that_cannot_be_is_refused_whatever_its_digest(
    name: str, keys: tuple[str, ...], value: Any, tmp_path: Path
) -> None:
    form, path = FORMATS[name], tmp_path / "some.bundle"
    form.write(path)
    bundle = read_bundle(path, kind=form.kind, version=form.version)
    inner = bundle.meta
    for key in keys[:-1]:
        inner = inner[key]
    inner[keys[-1]] = value
    write_bundle(path, bundle)
    with pytest.raises(FileFormatError, match=r"some\.bundle"):
        form.read(path)


@pytest.mark.parametrize(
    "tables", [{"../storages": ""}, {"storages": 3}, ["storages"], None, {"storages": "0" * 64}]
)
def test_a_manifest_that_lists_nonsense_is_refused(tables: Any, tmp_path: Path) -> None:
    path = tmp_path / "some.trace"
    tmtrain.save_trace(example_trace(), path)
    manifest = json.loads((path / MANIFEST).read_text())
    (path / MANIFEST).write_text(json.dumps(sealed(manifest | {"tables": tables})))
    with pytest.raises(FileFormatError, match=r"some\.trace"):
        tmtrain.load_trace(path)


def test_every_record_has_a_digest_that_one_edit_does_not_get_round(tmp_path: Path) -> None:
    for name, read in RECORDS.items():
        path = write_example(tmp_path) / name
        record = json.loads(path.read_text())
        assert is_sealed(record)
        older = record | {"schema": record["schema"] - 1}
        without = {key: value for key, value in record.items() if key != "digest"}
        for edited in (older, without):
            path.write_text(json.dumps(edited))
            with pytest.raises(FileFormatError, match="edited or is damaged"):
                read(path)


@pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff", b"[]", b"3", b"", b'{"format": "tmtrain"}'])
def test_what_is_no_object_is_refused(content: bytes, tmp_path: Path) -> None:
    for name, read in RECORDS.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(FileFormatError, match=name):
            read(tmp_path / name)
    for form in FORMATS.values():
        (tmp_path / MANIFEST).write_bytes(content)
        with pytest.raises(FileFormatError):
            form.read(tmp_path)


@pytest.mark.parametrize("number", rest_slow([40, 2000]))
def test_a_damaged_machine_or_calibration_never_ends_in_anything_but_a_sentence(
    number: int, tmp_path: Path
) -> None:
    """They are for hands to edit, so they have no digest: what they say is checked."""
    presets = Path(tmtrain.__file__).parent / "machine" / "presets" / "v4-slc.toml"
    table = b"operator,shapes,seconds\nmm,4096x1024;1024x4096,0.00018\naten.gelu.default,4096x4096,0.000031\n"
    for read, name, whole in (
        (load_machine, "edited.toml", presets.read_bytes()),
        (read_calibration, "edited.csv", table),
    ):
        path: Path = tmp_path / name
        for content in mutations(whole, seed=number, number=number):
            path.write_bytes(content)
            read_or_sentence(read, path)
