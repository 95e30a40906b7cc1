"""The flash device beside MQSim, an event-driven SSD simulator: 15 request traces, counts and times.

We ran the reference ourselves (``data/mqsim/README.md``). Its device is described here, its rules are those of
`tmtrain.simulation.flash`. Known differences:

* MQSim cuts the time of each message on the link to whole nanoseconds; ours are 0.06 to 0.7 ns more.
* Of several events of the same nanosecond another one may come first. So commands with several planes differ by some in
  random reads, and times by up to 0.7 % (case 3e).
* Writes that wait for a free block go on in order of arrival; MQSim keeps them ordered by memory address. It shows where
  collection starts no earlier than writes stop (case 4s): one page copied in 330,000.
* The host of MQSim queues 65,535 requests at most, and then rings for one as one is done. Ours rings for all at once, and
  the first of 300,000 requests comes 0.9 ms later. So least latencies are not compared.

Where blocks are collected nothing else differs: in all other cases the same pages are copied.
"""

import csv
from collections.abc import Iterator, Sequence
from importlib.resources import files

from tmtrain.simulation.flash import (
    Commands,
    Endurance,
    FlashDevice,
    FlashResult,
    Geometry,
    HostLink,
    RequestKind,
    Timing,
    Translation,
    simulate_flash,
)
from tmtrain.validation.comparison import Comparison
from tmtrain.validation.mqsim_traces import make_trace

_SOURCE = "MQSim 7ec40e3"
_BLOCKS = 256
_STOP_BLOCKS = 10
"""Host writes stop below so many free blocks; also the least threshold of collection."""
_CHANNELS = {"A8": 8, "A2": 2}
_COUNT_TOLERANCE, _AMPLIFICATION_TOLERANCE, _TIME_TOLERANCE = 0.0, 0.05, 0.1

_TIMING = Timing(
    read_s=50.02e-6,
    program_s=600e-6,
    erase_s=3.8e-3,
    channel_bytes_per_s=500e6,
    commands=Commands(
        read_s=290e-9,
        read_further_s=650e-9,
        program_s=361e-9,
        program_further_s=816e-9,
        erase_s=220e-9,
        erase_further_s=700e-9,
    ),
)
_LINK = HostLink(
    bytes_per_s=4 * 1.969e9,
    packet_bytes=128,
    packet_overhead_bytes=28,
    doorbell_bytes=4,
    fetch_bytes=4,
    command_bytes=72,
    completion_bytes=16,
)
"""As both devices were configured."""

_Row = dict[str, str]


def compare(cases: Sequence[str] | None = None) -> list[Comparison]:
    """Run the traces and compare; all 15 take some 15 seconds, compilation included.

    Args:
        cases: Names in `mqsim_traces.CASES`; None: all.
    """
    references = {row["case"]: row for row in _read("results.csv")}
    phases = _read("phases.csv")
    comparisons: list[Comparison] = []
    for case in cases or references:
        reference = references[case]
        result = simulate_flash(
            mqsim_device(reference["device"], collect_share=float(reference["gc_threshold_ratio"])),
            make_trace(case).requests(),
            queue_depth=int(reference["queue_depth"]),
        )
        comparisons += _counts(result, reference)
        comparisons += _times(result, [phase for phase in phases if phase["case"] == case])
    return comparisons


def mqsim_device(name: str, *, collect_share: float = 0.06) -> FlashDevice:
    """Return a device as it was configured in MQSim: A8, of 16 GiB on 8 channels, or A2, of 4 GiB on 2.

    A plane is collected when a share of its blocks is free; MQSim sets one block of each plane aside for its table.
    """
    channels = _CHANNELS[name]
    return FlashDevice(
        name=name,
        geometry=Geometry(
            channels=channels,
            dies_per_channel=4,
            planes_per_die=2,
            blocks_per_plane=_BLOCKS,
            block_bytes=2**20,
            page_bytes=2**14,
            capacity_bytes=channels * 2**31,
        ),
        timing=_TIMING,
        link=_LINK,
        endurance=Endurance(cycles=10_000),
        translation=Translation(
            over_provisioning=0.28,
            collect_below_blocks=max(_STOP_BLOCKS, int(collect_share * _BLOCKS)),
            reserve_blocks=_STOP_BLOCKS,
            levels_wear=False,
            table_blocks=1,
        ),
    )


def _counts(result: FlashResult, reference: _Row) -> Iterator[Comparison]:
    # Which pages a collection copies depends on the order of events of the same nanosecond: not exact where there is one.
    operations, collects = result.operations, int(reference["gc_page_moves"]) > 0
    exact = {
        "pages written by the host": (operations.host_programs, "host_page_writes"),
        "pages read by the host": (operations.host_reads, "host_page_reads"),
    }
    collected = {
        "pages copied": (operations.copy_programs, "gc_page_programs"),
        "blocks erased": (operations.erases, "blocks_erased"),
    }
    for quantity, (model, column) in (exact | collected).items():
        tolerance = _AMPLIFICATION_TOLERANCE if collects and quantity in collected else _COUNT_TOLERANCE
        yield _comparison(reference, quantity, model, float(reference[column]), tolerance)
    yield _comparison(
        reference,
        "write amplification",
        result.write_amplification,
        float(reference["waf_total"]),
        _AMPLIFICATION_TOLERANCE,
    )


def _times(result: FlashResult, phases: list[_Row]) -> Iterator[Comparison]:
    # A trace is its phases one after the other, and so are the requests of its result.
    first = 0
    for phase in phases:
        rows = slice(first, first + int(phase["reads"]) + int(phase["writes"]))
        first = rows.stop
        quantity, reference = f"{phase['phase']}: makespan, s", float(phase["duration_ns"]) / 1e9
        yield _comparison(phase, quantity, result.makespan_s(rows), reference, _TIME_TOLERANCE)
        for kind in (RequestKind.READ, RequestKind.WRITE):
            yield from _latencies(result, kind, rows, phase)


def _latencies(result: FlashResult, kind: RequestKind, rows: slice, phase: _Row) -> Iterator[Comparison]:
    name = kind.name.lower()
    if not phase[f"{name}_e2e_mean_us"]:  # the phase has no such requests
        return
    latency = result.latency(kind, rows)
    for which, model in (("mean", latency.mean_s), ("p50", latency.p50_s), ("p99", latency.p99_s)):
        reference = float(phase[f"{name}_e2e_{which}_us"]) / 1e6
        quantity = f"{phase['phase']}: {which} latency of {name}s, s"
        yield _comparison(phase, quantity, model, reference, _TIME_TOLERANCE)


def _comparison(row: _Row, quantity: str, model: float, reference: float, tolerance: float) -> Comparison:
    return Comparison(
        case=row["case"],
        quantity=quantity,
        model=model,
        reference=reference,
        tolerance=tolerance,
        source=_SOURCE,
    )


def _read(name: str) -> list[_Row]:
    with (files("tmtrain.validation") / "data" / "mqsim" / name).open() as file:
        return list(csv.DictReader(file))
