"""The trace file: a bundle of three tables; docs/trace-format.md says what each column is."""

from collections.abc import Iterable
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tmtrain.bundle import Bundle, check_range, fingerprint, read_bundle, write_bundle
from tmtrain.errors import FileFormatError
from tmtrain.trace.trace import Operands, Operators, Phase, Role, Storages, Trace

KIND = "trace"
VERSION = 1

_TEXT, _BOOL, _INTS = pa.string(), pa.bool_(), pa.list_(pa.int64())
SCHEMAS = {
    "storages": pa.schema(
        {
            "name": _TEXT,
            "bytes": pa.int64(),
            "dtype": _TEXT,
            "role": _TEXT,
            "persistent": _BOOL,
            "birth_op": pa.int32(),
            "death_op": pa.int32(),
            "module": _TEXT,
        }
    ),
    "operators": pa.schema(
        {
            "name": _TEXT,
            "module": _TEXT,
            "phase": _TEXT,
            "flops": pa.int64(),
            "batch": pa.int64(),
            "m": pa.int64(),
            "n": pa.int64(),
            "k": pa.int64(),
            "is_view": _BOOL,
            "is_pointwise": _BOOL,
            "is_random": _BOOL,
        }
    ),
    "operands": pa.schema(
        {
            "op": pa.int32(),
            "position": pa.int16(),
            "item": pa.int16(),
            "storage": pa.int32(),
            "reads": _BOOL,
            "writes": _BOOL,
            "allocates": _BOOL,
            "offset_bytes": pa.int64(),
            "span_bytes": pa.int64(),
            "itemsize": pa.int8(),
            "shape": _INTS,
            "stride": _INTS,
        }
    ),
}
"""The columns of format version 1, by table."""
_MEASURED = pa.field("duration_s", pa.float64())
"""Column of `operators` that only a step with times of its own has."""

_META = {"model": str, "samples": int, "options": dict}


def save_trace(trace: Trace, path: Path | str) -> None:
    """Write `trace` as folder `path` (by custom ``NAME.trace``), whole or not at all.

    Raises:
        InputError: `path` exists and is not a bundle of ours, or the disk refuses.

    Example:
        >>> import tempfile
        >>> from tmtrain.trace import example_trace
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_trace(example_trace(), Path(folder) / "example.trace")
        ...     load_trace(Path(folder) / "example.trace").operators.name[0]
        'aten.mm.default'
    """
    write_bundle(Path(path), Bundle(kind=KIND, version=VERSION, meta=_meta(trace), tables=_tables(trace)))


def load_trace(path: Path | str) -> Trace:
    """Read the trace at `path`, checking digests, columns and every index.

    Raises:
        InputError: there is nothing at `path`.
        FileFormatError: not a trace, truncated, edited, from a newer release, or inconsistent in itself.
    """
    bundle = read_bundle(Path(path), kind=KIND, version=VERSION)
    source = f"{path}"
    _check_meta(source, bundle.meta)
    tables = {name: _checked(source, name, bundle.tables.get(name)) for name in SCHEMAS}
    trace = Trace(
        model=bundle.meta["model"],
        samples=bundle.meta["samples"],
        options=bundle.meta["options"],
        storages=_read_storages(source, tables["storages"]),
        operators=_read_operators(source, tables["operators"]),
        operands=_read_operands(tables["operands"]),
    )
    _check_indices(source, trace)
    return trace


def trace_fingerprint(trace: Trace) -> str:
    """Return a SHA-256 over everything the trace says: equal content, equal fingerprint, in any process.

    >>> from tmtrain.trace import example_trace
    >>> trace_fingerprint(example_trace()) == trace_fingerprint(example_trace())
    True
    """
    return fingerprint(_tables(trace), _meta(trace))


def _meta(trace: Trace) -> dict[str, Any]:
    return {"model": trace.model, "samples": trace.samples, "options": trace.options}


def _tables(trace: Trace) -> dict[str, pa.Table]:
    columns = {
        "storages": {"role": _spell(Role, trace.storages.role)},
        "operators": {"phase": _spell(Phase, trace.operators.phase)},
        "operands": {"shape": _lists(trace.operands.shape), "stride": _lists(trace.operands.stride)},
    }
    tables: dict[str, pa.Table] = {}
    for name, schema in SCHEMAS.items():
        rows = getattr(trace, name)
        special = columns[name]
        tables[name] = pa.table(
            [special.get(field.name, getattr(rows, field.name)) for field in schema], schema=schema
        )
    if trace.operators.duration_s is not None:
        tables["operators"] = tables["operators"].append_column(
            _MEASURED, pa.array(trace.operators.duration_s)
        )
    return tables


def _spell(kind: type[IntEnum], values: NDArray[np.int8]) -> pa.Array:
    """Enum values as lower-case words."""
    words = np.array([member.name.lower() for member in kind], object)
    return pa.array(words[values], pa.string())


def _lists(tuples: Iterable[tuple[int, ...]]) -> pa.Array:
    rows = list(tuples)
    ends = np.cumsum([0, *map(len, rows)], dtype=np.int32)
    flat = np.fromiter((value for row in rows for value in row), np.int64, count=int(ends[-1]))
    return pa.ListArray.from_arrays(pa.array(ends), pa.array(flat))


def _check_meta(source: str, meta: dict[str, Any]) -> None:
    for key, kind in _META.items():
        if not isinstance(meta.get(key), kind):
            raise FileFormatError(
                f"{source}: the metadata has no {key!r} of type {kind.__name__}: capture the trace again",
                path=source,
                field=key,
            )


def _checked(source: str, name: str, table: pa.Table | None) -> pa.Table:
    """Return the table as it must be, or say what is wrong with it."""
    if table is None:
        raise FileFormatError(
            f"{source}: table {name!r} is missing: capture the trace again", path=source, field=name
        )
    need, actual = SCHEMAS[name], table.schema
    if name == "operators" and _MEASURED.name in actual.names:
        need = need.append(_MEASURED)
    if set(need.names) != set(actual.names) or len(need.names) != len(actual.names):
        raise FileFormatError(
            f"{source}: table {name!r} has columns {actual.names}, needs {need.names}",
            path=source,
            field=name,
        )
    for field in need:
        if actual.field(field.name).type != field.type:
            raise FileFormatError(
                f"{source}: column {name}.{field.name} is {actual.field(field.name).type}, needs {field.type}",
                path=source,
                field=f"{name}.{field.name}",
            )
        if table.column(field.name).null_count:
            raise FileFormatError(
                f"{source}: column {name}.{field.name} has empty cells, needs none",
                path=source,
                field=f"{name}.{field.name}",
            )
    return table.combine_chunks()


def _numbers(table: pa.Table, name: str) -> NDArray[Any]:
    return table.column(name).to_numpy()


def _texts(table: pa.Table, name: str) -> tuple[str, ...]:
    return tuple(table.column(name).to_pylist())


def _read_enum(source: str, table: pa.Table, name: str, kind: type[IntEnum]) -> NDArray[np.int8]:
    codes = {member.name.lower(): int(member) for member in kind}
    words = _texts(table, name)
    unknown = set(words) - set(codes)
    if unknown:
        raise FileFormatError(
            f"{source}: column {name!r} has unknown values {sorted(unknown)}, knows {list(codes)}",
            path=source,
            field=name,
        )
    return np.array([codes[word] for word in words], np.int8)


def _read_tuples(table: pa.Table, name: str) -> tuple[tuple[int, ...], ...]:
    array = table.column(name).combine_chunks()
    flat: list[int] = array.flatten().to_pylist()
    ends = np.cumsum(array.value_lengths().to_numpy()).tolist()
    return tuple(tuple(flat[start:end]) for start, end in zip([0, *ends], ends, strict=False))


def _read_storages(source: str, table: pa.Table) -> Storages:
    return Storages(
        name=_texts(table, "name"),
        bytes=_numbers(table, "bytes"),
        dtype=_texts(table, "dtype"),
        role=_read_enum(source, table, "role", Role),
        persistent=_numbers(table, "persistent"),
        birth_op=_numbers(table, "birth_op"),
        death_op=_numbers(table, "death_op"),
        module=_texts(table, "module"),
    )


def _read_operators(source: str, table: pa.Table) -> Operators:
    numbers = {
        name: _numbers(table, name) for name in table.column_names if name not in ("name", "module", "phase")
    }
    return Operators(
        name=_texts(table, "name"),
        module=_texts(table, "module"),
        phase=_read_enum(source, table, "phase", Phase),
        **numbers,
    )


def _read_operands(table: pa.Table) -> Operands:
    tuples = ("shape", "stride")
    numbers = {name: _numbers(table, name) for name in table.column_names if name not in tuples}
    return Operands(shape=_read_tuples(table, "shape"), stride=_read_tuples(table, "stride"), **numbers)


def _check_numbers(source: str, trace: Trace) -> None:
    """Refuse counts below what there can be."""
    operators, operands = trace.operators, trace.operands
    check_range(source, "meta.samples", np.array([trace.samples]), low=1)
    for name in ("flops", "batch", "m", "n", "k"):
        check_range(source, f"operators.{name}", getattr(operators, name), low=0)
    for name, low in (("position", 0), ("item", 0), ("itemsize", 1)):
        check_range(source, f"operands.{name}", getattr(operands, name), low=low)
    for shape, stride in zip(operands.shape, operands.stride, strict=True):
        if len(shape) != len(stride) or min((*shape, *stride), default=0) < 0:
            raise FileFormatError(
                f"{source}: an operand has the shape {shape} and the stride {stride}: capture the trace again",
                path=source,
                field="operands.shape",
            )


def _check_within(source: str, trace: Trace) -> None:
    """Refuse operands that lie outside of their storages."""
    operands = trace.operands
    outside = operands.offset_bytes > trace.storages.bytes[operands.storage] - operands.span_bytes
    if np.any(outside):
        row = int(np.argmax(outside))
        size = trace.storages.bytes[operands.storage[row]]
        raise FileFormatError(
            f"{source}: operand {row} ends at byte {operands.offset_bytes[row] + operands.span_bytes[row]} of a storage of "
            f"{size}: capture the trace again",
            path=source,
            field="operands.span_bytes",
            row=row,
        )


def _check_indices(source: str, trace: Trace) -> None:
    """Refuse a trace whose tables point outside each other: nothing downstream checks again."""
    ops, storages = len(trace.operators), len(trace.storages)
    _check_numbers(source, trace)
    check_range(source, "operands.op", trace.operands.op, low=0, high=ops - 1)
    check_range(source, "operands.storage", trace.operands.storage, low=0, high=storages - 1)
    check_range(source, "operands.offset_bytes", trace.operands.offset_bytes, low=0)
    check_range(source, "operands.span_bytes", trace.operands.span_bytes, low=0)
    check_range(source, "storages.bytes", trace.storages.bytes, low=0)
    _check_within(source, trace)
    check_range(source, "storages.birth_op", trace.storages.birth_op, low=0, high=ops)
    check_range(source, "storages.death_op", trace.storages.death_op, low=0, high=ops)
    if trace.operators.duration_s is not None:
        check_range(source, "operators.duration_s", trace.operators.duration_s, low=0)
    if np.any(np.diff(trace.operands.op) < 0):
        row = int(np.argmax(np.diff(trace.operands.op) < 0)) + 1
        raise FileFormatError(
            f"{source}: operands.op decreases at row {row}, rows must follow the operators' order",
            path=source,
            field="operands.op",
            row=row,
        )
