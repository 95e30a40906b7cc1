"""``results.json``, ``sensitivity.json`` and ``monitor.json``, read strictly: a report shows what was written."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from tmtrain.bundle import DIGEST, is_sealed, rename_keys
from tmtrain.errors import FileFormatError, InputError
from tmtrain.evaluation.monitored import MONITOR_SCHEMA, MONITORED, STATIC, MonitorRecord, gain_of
from tmtrain.evaluation.row import RENAMED, SCHEMA, Results, Row
from tmtrain.evaluation.sensitivity import SENSITIVITY_SCHEMA, Sensitivity
from tmtrain.reporting.section import setting_of

RESULTS = "results.json"
SENSITIVITY = "sensitivity.json"
MONITOR = "monitor.json"

_ROUNDING = 1e-6
"""Relative difference below which two numbers that should agree do."""

_T = TypeVar("_T", Results, Sensitivity, MonitorRecord)


def read_results(path: Path) -> Results:
    """Read a ``results.json``.

    Raises:
        InputError: no such file.
        FileFormatError: truncated, of a newer schema, or edited so that a field is missing, unknown,
            of another type, out of range, or contradicts another.

    >>> import tempfile
    >>> from tmtrain.reporting.example import write_example
    >>> folder = write_example(Path(tempfile.mkdtemp()))
    >>> len(read_results(folder / "results.json").rows)
    10
    """
    results = _read(path, Results, newest=SCHEMA, sealed_from=7)
    _refuse(path, _contradictions(results))
    return results


def read_sensitivity(path: Path) -> Sensitivity:
    """Read a ``sensitivity.json``.

    Raises:
        InputError: no such file.
        FileFormatError: as for `read_results`.

    >>> import tempfile
    >>> from tmtrain.reporting.example import write_example
    >>> folder = write_example(Path(tempfile.mkdtemp()))
    >>> read_sensitivity(folder / "sensitivity.json").cases[0].constant
    'slow.program_energy_j_per_byte'
    """
    sensitivity = _read(path, Sensitivity, newest=SENSITIVITY_SCHEMA, sealed_from=2)
    _refuse(path, _out_of_range(sensitivity))
    return sensitivity


def read_monitor(path: Path) -> MonitorRecord:
    """Read a ``monitor.json``.

    Raises:
        InputError: no such file.
        FileFormatError: as for `read_results`.

    >>> import tempfile
    >>> from tmtrain.reporting.example import write_example
    >>> folder = write_example(Path(tempfile.mkdtemp()))
    >>> [contender.name for contender in read_monitor(folder / "monitor.json").runs[0].contenders]
    ['static plan', 'monitor', 'perfect knowledge']
    """
    record = _read(path, MonitorRecord, newest=MONITOR_SCHEMA, sealed_from=2)
    _refuse(path, _broken_runs(record))
    return record


def _read(path: Path, kind: type[_T], *, newest: int, sealed_from: int) -> _T:
    raw = _decoded(path)
    # The schema before anything else: whatever else is wrong with a newer file, "update" is the answer.
    schema = raw.get("schema") if isinstance(raw, dict) else None
    # Not isinstance: true is an int too.
    if type(schema) is not int or schema < 1:
        raise FileFormatError(
            f"{path} does not say which schema it has: it is not a file of tmtrain", path=path
        )
    if schema > newest:
        raise FileFormatError(
            f"{path} has schema {schema}, this release reads up to {newest}: update tmtrain",
            path=path,
            version=schema,
            newest_version=newest,
        )
    # Whether it has one, not what schema it says: one edit must not be enough.
    if (DIGEST in raw or schema >= sealed_from) and not is_sealed(raw):
        raise FileFormatError(
            f"{path} was edited or is damaged: it does not say what was written; evaluate again", path=path
        )
    raw.pop(DIGEST, None)
    if schema < newest:
        raw = rename_keys(raw, RENAMED)
    try:
        decoded = msgspec.convert(raw, kind, strict=True)
    except msgspec.ValidationError as error:
        raise FileFormatError(
            f"{path} does not fit schema {schema}: {error}; evaluate again", path=path, version=schema
        ) from error
    _refuse(path, _unknown_keys(raw, msgspec.to_builtins(decoded), "$"))
    _refuse(path, _endless_numbers(raw, "$"))
    return decoded


def _decoded(path: Path) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes())
    except FileNotFoundError as error:
        raise InputError(f"no such file: {path}; `tmtrain evaluate --out {path.parent}` makes it") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFormatError(
            f"{path} is truncated or not JSON ({error}): evaluate again", path=path
        ) from error


def _refuse(path: Path, faults: Iterator[str]) -> None:
    """Raise for the first fault; one is enough to distrust the file."""
    for fault in faults:
        raise FileFormatError(f"{path} was edited or is damaged: {fault}; evaluate again", path=path)


def _unknown_keys(raw: Any, known: Any, where: str) -> Iterator[str]:
    """Yield each key that decoding dropped: msgspec refuses unknown keys for its own structs only."""
    if isinstance(raw, dict):
        for key, value in raw.items():
            if key not in known:
                yield f"`{where}.{key}` is not a field"
            else:
                yield from _unknown_keys(value, known[key], f"{where}.{key}")
    elif isinstance(raw, list):
        for i, (value, counterpart) in enumerate(zip(raw, known, strict=True)):
            yield from _unknown_keys(value, counterpart, f"{where}[{i}]")


def _endless_numbers(raw: Any, where: str) -> Iterator[str]:
    """Yield each number that is too large to be one."""
    if isinstance(raw, float) and not math.isfinite(raw):
        yield f"`{where}` is {raw}"
    parts = raw.items() if isinstance(raw, dict) else enumerate(raw) if isinstance(raw, list) else ()
    for key, part in parts:
        yield from _endless_numbers(part, f"{where}.{key}")


def _contradictions(results: Results) -> Iterator[str]:
    seen: set[tuple[object, ...]] = set()
    for i, row in enumerate(results.rows):
        yield from (f"`$.rows[{i}]` ({row.model}, {row.policy}): {fault}" for fault in _row_faults(row))
        key = (*setting_of(row), row.policy)
        if key in seen:
            yield f"`$.rows[{i}]` repeats {row.policy} on {row.model}, {row.machine}, {row.budget_bytes} bytes"
        seen.add(key)


_POSITIVE = (
    "batch",
    "budget_bytes",
    "fast_bytes",
    "fast_fraction",
    "footprint_bytes",
    "step_time_s",
    "energy_j",
    "measured_steps",
)
_NOT_NEGATIVE = (
    "ideal_step_time_s",
    "recompute_s",
    "stall_s",
    "bytes_in",
    "bytes_out",
    "bytes_written_per_step",
    "memory_cost_usd",
    "transfer_energy_share",
)
"""Columns of a row: `Row` gives their types, not their ranges."""


def _row_faults(row: Row) -> Iterator[str]:
    """Yield what a row contradicts: the ranges of its numbers, and itself."""
    for name in _POSITIVE:
        # Not `<= 0`: NaN is neither.
        if not getattr(row, name) > 0:
            yield f"{name} is {getattr(row, name)}, not positive"
    for name in _NOT_NEGATIVE:
        if getattr(row, name) < 0:
            yield f"{name} is {getattr(row, name)}, negative"
    parts: dict[str, Any] = {"bounds": row.bounds, "wall_clock": row.wall_clock} | row.costs
    parts["energy_by_component_j"] = row.energy_by_component_j
    for part, record in parts.items():
        for name, value in msgspec.to_builtins(record).items():
            if value is not None and value < 0:
                yield f"{part}.{name} is {value}, negative"
    yield from _broken_sums(row)


def _broken_sums(row: Row) -> Iterator[str]:
    """Yield the columns that do not follow from others, as they must."""
    if row.traffic_bytes != row.bytes_in + row.bytes_out:
        yield f"traffic_bytes is {row.traffic_bytes}, bytes_in + bytes_out is {row.bytes_in + row.bytes_out}"
    sums = (
        ("energy_j", row.energy_j, sum(row.energy_by_component_j.values()), "the sum of its components"),
        ("average_power_w", row.average_power_w * row.step_time_s, row.energy_j, "energy_j / step_time_s"),
        ("samples_per_s", row.samples_per_s * row.step_time_s, row.batch, "batch / step_time_s"),
        (
            "fast_fraction",
            row.fast_fraction * row.footprint_bytes,
            row.fast_bytes,
            "fast_bytes / footprint_bytes",
        ),
        ("samples_per_j", row.samples_per_j * row.energy_j, row.batch, "batch / energy_j"),
    )
    for name, value, expected, rule in sums:
        if not math.isclose(value, expected, rel_tol=_ROUNDING):
            yield f"{name} is not {rule}"
    if row.peak_power_w < row.average_power_w * (1 - _ROUNDING):
        yield f"peak_power_w is {row.peak_power_w}, less than average_power_w, {row.average_power_w}"


def _broken_runs(record: MonitorRecord) -> Iterator[str]:
    """Yield what the runs of the monitor contradict: the contenders met the same steps, and a gain follows from means."""
    for i, run in enumerate(record.runs):
        where, contenders = f"`$.runs[{i}]` ({run.model})", {c.name: c for c in run.contenders}
        if len({len(contender.steps) for contender in run.contenders}) != 1:
            yield f"{where}: the contenders have not run the same steps"
        if STATIC not in contenders or (MONITORED in contenders) != (run.time_gain is not None):
            yield f"{where}: a gain is of a monitor over a static plan"
        elif run.time_gain is not None:
            gain = gain_of(contenders[MONITORED].step_time_s, contenders[STATIC].step_time_s)
            if not math.isclose(gain, run.time_gain, abs_tol=_ROUNDING):
                yield f"{where}: time_gain is not what the mean step times say"


def _out_of_range(sensitivity: Sensitivity) -> Iterator[str]:
    for i, case in enumerate(sensitivity.cases):
        if not case.low <= case.nominal <= case.high:
            yield f"`$.cases[{i}]`: {case.constant} is not ordered: {case.low}, {case.nominal}, {case.high}"
        if not (case.energy_j > 0 and case.samples_per_j > 0):
            yield f"`$.cases[{i}]`: energy and samples per joule of {case.policy} must be positive"
