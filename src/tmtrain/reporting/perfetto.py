"""The simulated step as a Chrome trace (JSON) that https://ui.perfetto.dev and chrome://tracing open.

Tracks: compute (one event per slice), stalls, flash reads, flash writes; counters: fast memory by role,
bytes in flight. What cannot overlap (compute, stalls) is written as begin/end pairs on a thread;
transfers, which may, as asynchronous pairs with an id each. Times are whole nanoseconds in microseconds:
rounding cannot reorder events.
"""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tmtrain.bundle import write_bytes_atomically
from tmtrain.errors import InputError
from tmtrain.simulation.result import Result
from tmtrain.trace.trace import Phase, Role

_PID = 1
_COMPUTE, _STALLS = 1, 2

_Event = dict[str, Any]


def write_perfetto(result: Result, path: Path, *, names: Sequence[str] | None = None) -> None:
    """Write `result` as a trace, compressed if `path` ends in ".gz".

    A transfer that was under way when the step began has begun before 0; then everything is shifted so that
    the earliest event is at 0.

    Args:
        result: the step.
        path: ends in ".json" or ".json.gz".
        names: of the slices, e.g. their operators; "slice 0", "slice 1", ... if not given.

    Raises:
        InputError: another ending, not one name per slice, or the disk refuses.

    >>> import tempfile
    >>> from tmtrain.reporting.example import example_result
    >>> path = Path(tempfile.mkdtemp()) / "step.json"
    >>> write_perfetto(example_result("tmtrain"), path)
    >>> msgspec.json.decode(path.read_bytes())["displayTimeUnit"]
    'ms'
    """
    if not path.name.endswith((".json", ".json.gz")):
        raise InputError(f"{path} does not say which format to write: end the name in .json or .json.gz")
    slices = len(result.series.start_s)
    if names is not None and len(names) != slices:
        raise InputError(f"{len(names)} names for {slices} slices of {result.policy}: give one per slice")
    names = names if names is not None else [f"slice {t}" for t in range(slices)]
    data = msgspec.json.encode({"displayTimeUnit": "ms", "traceEvents": _events(result, names)})
    # No time stamp in the archive: the same step gives the same bytes.
    write_bytes_atomically(path, gzip.compress(data, mtime=0) if path.name.endswith(".gz") else data)


def _events(result: Result, names: Sequence[str]) -> list[_Event]:
    """Return all events, ascending in time; the sort is stable: equal times keep the order of their track."""
    traffic, series = result.traffic, result.series
    earliest = min(0.0, float(traffic.start_s.min(initial=0.0)))
    timed = [
        *_slices(series.start_s - earliest, series.end_s - earliest, names=names, phase=series.phase),
        *_stalls(series.start_s - earliest, end=series.end_s - earliest, stall=series.stall_s),
        *_transfers(result, earliest),
        *_counters(result, earliest),
    ]
    return [*_metadata(result), *sorted(timed, key=lambda event: event["ts"])]


def _metadata(result: Result) -> list[_Event]:
    def named(kind: str, name: str, tid: int) -> _Event:
        return {"ph": "M", "pid": _PID, "tid": tid, "name": kind, "args": {"name": name}}

    process = named("process_name", f"{result.policy} on {result.machine}", 0)
    return [process, named("thread_name", "compute", _COMPUTE), named("thread_name", "stalls", _STALLS)]


def _slices(
    start: NDArray[np.float64], end: NDArray[np.float64], *, names: Sequence[str], phase: NDArray[np.int8]
) -> Iterator[_Event]:
    phases = [Phase(int(p)).name.lower() for p in phase]
    track: _Event = {"pid": _PID, "tid": _COMPUTE}
    for t, (begin, finish) in enumerate(zip(_us(start), _us(end), strict=True)):
        yield {"ph": "B", "ts": begin, "name": names[t], "cat": phases[t], "args": {"slice": t}, **track}
        yield {"ph": "E", "ts": finish, **track}


def _stalls(
    start: NDArray[np.float64], *, end: NDArray[np.float64], stall: NDArray[np.float64]
) -> Iterator[_Event]:
    waits = np.flatnonzero(stall > 0)
    # Not before the slice before has ended: start - stall may be off by a rounding error.
    before = np.concatenate(([0.0], end[:-1]))[waits]
    begins, ends = _us(np.maximum(start[waits] - stall[waits], before)), _us(start[waits])
    for t, begin, finish in zip(waits.tolist(), begins, ends, strict=True):
        args = {"slice": t}
        yield {
            "ph": "B",
            "pid": _PID,
            "tid": _STALLS,
            "ts": begin,
            "name": "stall",
            "cat": "stall",
            "args": args,
        }
        yield {"ph": "E", "pid": _PID, "tid": _STALLS, "ts": finish}


def _transfers(result: Result, earliest: float) -> Iterator[_Event]:
    t = result.traffic
    rows = zip(_us(t.start_s - earliest), _us(t.end_s - earliest), t.is_write.tolist(), strict=True)
    for i, (begin, end, is_write) in enumerate(rows):
        name = "flash write" if is_write else "flash read"
        same = {"pid": _PID, "tid": 0, "cat": "flash", "name": name, "id": i}
        yield {"ph": "b", "ts": begin, "args": {"bytes": int(t.bytes[i]), "extent": int(t.extent[i])}, **same}
        yield {"ph": "e", "ts": end, **same}


def _counters(result: Result, earliest: float) -> Iterator[_Event]:
    series = result.series
    roles = [role for role in Role if series.resident_bytes[:, role].any()]
    resident = {role.name.lower(): series.resident_bytes[:, role] for role in roles}
    times = _us(series.start_s - earliest)
    yield from _counter("fast memory (bytes)", resident, times)
    yield from _counter("in flight (bytes)", {"in flight": series.in_flight_bytes}, times)


def _counter(name: str, columns: dict[str, NDArray[np.int64]], times: list[float]) -> Iterator[_Event]:
    """Yield the values where one of them changes."""
    if not columns or not times:
        return
    table = np.column_stack(list(columns.values()))
    changes = [0, *(np.flatnonzero(np.diff(table, axis=0).any(axis=1)) + 1).tolist()]
    for t in changes:
        args = dict(zip(columns, table[t].tolist(), strict=True))
        yield {"ph": "C", "pid": _PID, "ts": times[t], "name": name, "args": args}


def _us(seconds: NDArray[np.float64]) -> list[float]:
    """Round to whole nanoseconds, in microseconds; a monotone step, so what did not overlap does not."""
    return (np.rint(seconds * 1e9) / 1e3).tolist()
