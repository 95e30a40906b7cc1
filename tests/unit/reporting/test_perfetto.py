"""The Perfetto trace: ascending, nothing misnested, every pair closed, no byte or second lost."""

import gzip
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tmtrain.errors import InputError
from tmtrain.reporting import write_perfetto
from tmtrain.reporting.example import example_result
from tmtrain.simulation.result import Result

Event = dict[str, Any]


def _events(result: Result, folder: Path) -> list[Event]:
    path = folder / "step.json"
    write_perfetto(result, path)
    return json.loads(path.read_text())["traceEvents"]


def _spans(events: list[Event], tid: int) -> list[tuple[float, float]]:
    """Return the begin/end pairs of a thread; fails if one begins before the last has ended."""
    spans, begun = [], None
    for event in events:
        if event.get("tid") != tid or event["ph"] not in "BE":
            continue
        assert (event["ph"] == "B") == (begun is None), f"misnested at {event}"
        if begun is None:
            begun = event["ts"]
        else:
            spans.append((begun, event["ts"]))
            begun = None
    assert begun is None
    return spans


@pytest.fixture
def overlapping() -> Result:
    """A result whose transfers overlap, and one of which began before the step."""
    result = example_result("lru")
    traffic = replace(result.traffic, start_s=result.traffic.start_s - 0.05)
    return replace(result, traffic=traffic)


def test_it_ascends_and_every_pair_is_closed(overlapping: Result, tmp_path: Path) -> None:
    events = _events(overlapping, tmp_path)
    times = [event["ts"] for event in events if event["ph"] != "M"]
    assert times == sorted(times)
    assert times[0] == 0
    begun: dict[int, Event] = {}
    for event in events:
        if event["ph"] == "b":
            assert event["id"] not in begun
            begun[event["id"]] = event
        elif event["ph"] == "e":
            begin = begun.pop(event["id"])
            assert (begin["name"], begin["cat"], begin["pid"]) == (event["name"], event["cat"], event["pid"])
            assert event["ts"] >= begin["ts"]
    assert not begun


def test_compute_and_stalls_never_overlap_and_last_as_long(overlapping: Result, tmp_path: Path) -> None:
    events = _events(overlapping, tmp_path)
    compute, stalls = _spans(events, 1), _spans(events, 2)
    assert len(compute) == len(overlapping.series.start_s)
    assert sum(end - begin for begin, end in compute) == pytest.approx(
        1e6 * overlapping.ideal_step_time_s, rel=1e-4
    )
    assert sum(end - begin for begin, end in stalls) == pytest.approx(1e6 * overlapping.stall_s, rel=1e-4)


def test_no_byte_is_lost(overlapping: Result, tmp_path: Path) -> None:
    moved: Counter[str] = Counter()
    for event in _events(overlapping, tmp_path):
        if event["ph"] == "b":
            moved[event["name"]] += event["args"]["bytes"]
    assert moved == {"flash read": overlapping.bytes_in, "flash write": overlapping.bytes_out}


def test_counters_follow_residency(overlapping: Result, tmp_path: Path) -> None:
    counters = [event for event in _events(overlapping, tmp_path) if event["ph"] == "C"]
    memory = [event for event in counters if event["name"].startswith("fast memory")]
    assert memory[-1]["args"]["activation"] == overlapping.series.resident_bytes[-1, 3]
    assert any(event["name"].startswith("in flight") for event in counters)


def test_slices_without_length_do_not_misnest(tmp_path: Path) -> None:
    result = example_result("tmtrain", slices=60)
    start = np.repeat(np.linspace(0, 1.0, 20), 3)
    series = replace(result.series, start_s=start, end_s=start, stall_s=np.diff(start, prepend=0.0))
    assert len(_spans(_events(replace(result, series=series), tmp_path), 1)) == 60


def test_names_are_those_given(tmp_path: Path) -> None:
    result = example_result("tmtrain", slices=3)
    write_perfetto(result, tmp_path / "a.json", names=["aten.mm.default", "b", "c"])
    events = json.loads((tmp_path / "a.json").read_text())["traceEvents"]
    assert [event["name"] for event in events if event["ph"] == "B" and event["tid"] == 1] == [
        "aten.mm.default",
        "b",
        "c",
    ]
    with pytest.raises(InputError, match="2 names for 3 slices"):
        write_perfetto(result, tmp_path / "b.json", names=["a", "b"])
    assert not (tmp_path / "b.json").exists()


def test_compressed_is_the_same_and_reproducible(tmp_path: Path) -> None:
    result = example_result("tmtrain", slices=10)
    for name in ("a.json", "a.json.gz", "b.json.gz"):
        write_perfetto(result, tmp_path / name)
    assert gzip.decompress((tmp_path / "a.json.gz").read_bytes()) == (tmp_path / "a.json").read_bytes()
    assert (tmp_path / "a.json.gz").read_bytes() == (tmp_path / "b.json.gz").read_bytes()
    with pytest.raises(InputError, match=r"\.json or \.json\.gz"):
        write_perfetto(result, tmp_path / "a.txt")
