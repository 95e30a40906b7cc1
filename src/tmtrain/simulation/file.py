"""The Result on disk: a bundle of kind "result"; tables ``series`` and ``traffic``, scalars as metadata."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from tmtrain.bundle import Bundle, check_range, read_bundle, write_bundle
from tmtrain.errors import FileFormatError
from tmtrain.lowering.energy import WORK_COMPONENTS
from tmtrain.simulation.result import Conservation, Result, Series, Traffic
from tmtrain.trace.trace import Role

KIND = "result"
VERSION = 5
"""Format version; a newer file is refused."""
_RENAMED = {"replay_s": "recompute_s"}
"""Words of version 3."""

_SCALARS = (
    "policy",
    "machine",
    "fast_bytes",
    "step_time_s",
    "ideal_step_time_s",
    "recompute_s",
    "stall_s",
    "bytes_in",
    "bytes_out",
    "warm_up_steps",
    "measured_steps",
)
_WIDE = {
    "resident_bytes": tuple(f"resident_{role.name.lower()}_bytes" for role in Role),
    "work_j": tuple(f"{name.replace(' ', '_')}_j" for name in WORK_COMPONENTS),
}
"""Columns of the file for each part of a Series that has several."""


def save_result(result: Result, path: Path) -> None:
    """Write `result` as the bundle `path`, whole or not at all; every number comes back bit for bit.

    Raises:
        InputError: `path` is taken by something else, or the disk refuses.

    >>> import tempfile
    >>> from tmtrain.reporting.example import example_result
    >>> folder = Path(tempfile.mkdtemp()) / "run.tmtrain"
    >>> save_result(example_result("tmtrain"), folder)
    >>> sorted(file.name for file in folder.iterdir())
    ['manifest.json', 'series.parquet', 'traffic.parquet']
    """
    meta: dict[str, Any] = {name: getattr(result, name) for name in _SCALARS}
    # Pairs, not an object: the manifest sorts keys, and a sum in another order may differ in the last bit.
    meta["energy_by_component_j"] = list(result.energy_by_component_j.items())
    meta["conservation"] = msgspec.to_builtins(result.conservation)
    tables = {"series": _series_table(result.series), "traffic": _table(result.traffic)}
    write_bundle(path, Bundle(kind=KIND, version=VERSION, meta=meta, tables=tables))


def load_result(path: Path) -> Result:
    """Read the Result that `save_result` wrote.

    Raises:
        InputError: there is nothing at `path`.
        FileFormatError: not a result, of a newer version, truncated, edited, or with columns missing.

    >>> import tempfile
    >>> from tmtrain.reporting.example import example_result
    >>> folder = Path(tempfile.mkdtemp()) / "run.tmtrain"
    >>> save_result(example_result("tmtrain"), folder)
    >>> load_result(folder).policy
    'tmtrain'
    """
    bundle = read_bundle(path, kind=KIND, version=VERSION, renamed=_RENAMED)
    try:
        meta = {"measured_steps": 1, **bundle.meta}  # of files of version 4 and before
        components = msgspec.convert(meta.pop("energy_by_component_j"), list[tuple[str, float]])
        result = Result(
            **{name: msgspec.convert(meta[name], Result.__annotations__[name]) for name in _SCALARS},
            energy_by_component_j=dict(components),
            conservation=msgspec.convert(meta["conservation"], Conservation),
            series=_series(bundle.tables["series"]),
            traffic=Traffic(**{name: _column(bundle.tables["traffic"], name) for name in Traffic.__slots__}),
        )
    except (KeyError, ValueError, msgspec.ValidationError) as error:
        raise FileFormatError(
            f"{path} lacks a part of a result ({error}): simulate the policy again", path=path
        ) from error
    _check_numbers(f"{path}", result)
    return result


def _check_numbers(source: str, result: Result) -> None:
    """Refuse bytes, seconds and joules that cannot be, columns of different lengths, and books that do not balance."""
    scalars = {name: getattr(result, name) for name in _SCALARS if name not in ("policy", "machine")}
    scalars |= result.energy_by_component_j | msgspec.to_builtins(result.conservation)
    for name, value in scalars.items():
        check_range(source, f"meta.{name}", np.array([value]), low=1 if name == "measured_steps" else 0)
    for table in (result.series, result.traffic):
        columns = {name: getattr(table, name) for name in table.__slots__}
        for name, values in columns.items():
            low = -np.inf if name == "start_s" else 0
            check_range(source, name, values.ravel().astype(float), low=low)
        wrong = len({len(values) for values in columns.values()}) > 1 or np.any(table.end_s < table.start_s)
        if wrong:
            raise FileFormatError(
                f"{source}: columns have different lengths, or something ends before it begins: simulate the policy again",
                path=source,
            )
    if result.conservation.missing_bytes:
        raise FileFormatError(
            f"{source}: the books miss {result.conservation.missing_bytes} bytes: simulate the policy again",
            path=source,
            field="meta.conservation",
        )


def _series_table(series: Series) -> pa.Table:
    columns = {name: getattr(series, name) for name in Series.__slots__ if name not in _WIDE}
    for part, names in _WIDE.items():
        columns |= dict(zip(names, map(np.ascontiguousarray, getattr(series, part).T), strict=True))
    return pa.table(columns)


def _table(traffic: Traffic) -> pa.Table:
    return pa.table({name: getattr(traffic, name) for name in Traffic.__slots__})


def _series(table: pa.Table) -> Series:
    columns = {name: _column(table, name) for name in Series.__slots__ if name not in _WIDE}
    wide = {part: np.column_stack([_column(table, name) for name in names]) for part, names in _WIDE.items()}
    return Series(**columns, **wide)


def _column(table: pa.Table, name: str) -> Any:
    return table.column(name).to_numpy()
