"""The Chakra export: one node per slice and per transfer, the plan's bytes, its order, and back again."""

from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from tests.support.exported import gpt2_ledger
from tests.support.proposals import proposed

from tmtrain.exports import export
from tmtrain.exports.chakra import make_chakra, save_chakra
from tmtrain.exports.example import example_ledger
from tmtrain.exports.ledger import Ledger, open_ledger
from tmtrain.importing import import_trace
from tmtrain.importing.execution_traces.chakra_file import ChakraNode, NodeType, read_chakra
from tmtrain.lowering import Timeline, lower
from tmtrain.machine import load_machine

LEDGERS = ("example", "gpt2", "g10")
BERT = Path(__file__).parents[3] / "benchmarks/g10"
GIB = 1 << 30


@cache
def _ledger(name: str) -> Ledger:
    if name == "gpt2":
        return gpt2_ledger("40%")
    if name == "g10":
        trace, machine = import_trace(BERT), load_machine("g10-host")
        timeline = lower(trace, machine=machine, fast_bytes=40 * GIB)
        ours = proposed(timeline, machine=machine)
        return open_ledger(ours, trace=trace, timeline=timeline, machine=machine)
    return example_ledger()


@pytest.fixture(params=LEDGERS)
def ledger(request: pytest.FixtureRequest) -> Ledger:
    return _ledger(request.param)


def _bytes_of(nodes: tuple[ChakraNode, ...], kind: NodeType) -> int:
    return sum(int(node.attributes["tensor_size"]) for node in nodes if node.type == kind)


def test_loads_and_stores_add_up_to_the_prediction(ledger: Ledger) -> None:
    graph = make_chakra(ledger)
    assert graph.bytes_in == ledger.plan.prediction.bytes_in > 0
    assert graph.bytes_out == ledger.plan.prediction.bytes_out
    assert _bytes_of(graph.nodes, NodeType.MEM_LOAD) == graph.bytes_in
    assert _bytes_of(graph.nodes, NodeType.MEM_STORE) == graph.bytes_out


def test_what_depends_comes_later_and_slices_keep_their_order(ledger: Ledger) -> None:
    nodes = make_chakra(ledger).nodes
    assert [node.id for node in nodes] == list(range(len(nodes)))
    assert all(dep < node.id for node in nodes for dep in node.data_deps)
    slices = [node for node in nodes if node.type == NodeType.COMP]
    assert all(before.id in node.data_deps for before, node in pairwise(slices))


def test_a_slice_waits_for_every_load_that_this_step_makes_for_it(ledger: Ledger) -> None:
    nodes, moves = make_chakra(ledger).nodes, ledger.plan.transfers
    slices = [node for node in nodes if node.type == NodeType.COMP]
    T, page = len(slices), ledger.longer_step.page_bytes
    columns = (moves.extent, moves.first_page, moves.pages, moves.fetch_slice, moves.return_slice)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    wanted: Counter[tuple[int, str, int, int]] = Counter()
    for extent, first, pages, fetch, back in rows:
        if fetch // T == back // T:
            wanted[back % T, f"load extent {extent}", first * page, pages * page] += 1
    loads: Counter[tuple[int, str, int, int]] = Counter()
    for t, node in enumerate(slices):
        for dep in node.data_deps:
            load = nodes[dep]
            if load.type == NodeType.MEM_LOAD:
                size = int(load.attributes["tensor_size"])
                loads[t, load.name, int(load.attributes["first_byte"]), size] += 1
    assert loads == wanted


def test_what_this_step_stores_is_stored_before_it_is_loaded(ledger: Ledger) -> None:
    nodes = make_chakra(ledger).nodes
    stored: dict[str, list[ChakraNode]] = {}
    slices = {node.id: t for t, node in enumerate(node for node in nodes if node.type == NodeType.COMP)}
    writers: dict[int, int] = {}
    for node in nodes:
        extent = int(node.name.rsplit(" ", 1)[-1]) if node.type != NodeType.COMP else -1
        if node.type == NodeType.COMP:
            t = slices[node.id]
            rows = slice(int(ledger.longer_step.accesses.ptr[t]), int(ledger.longer_step.accesses.ptr[t + 1]))
            written = ledger.longer_step.accesses.extent[rows][ledger.longer_step.accesses.writes[rows]]
            writers |= {int(e): node.id for e in written}
        elif node.type == NodeType.MEM_STORE:
            stored.setdefault(f"load extent {extent}", []).append(node)
        else:
            # Content made in this step comes from flash only after its store.
            before = [s.id for s in stored.get(node.name, []) if s.id > writers.get(extent, -1)]
            if extent in writers:
                assert set(node.data_deps) & set(before), node
                assert writers[extent] < min(before)


def _touched(timeline: Timeline) -> list[Counter[tuple[int, bool, bool]]]:
    accesses, pages = timeline.accesses, timeline.extents.pages
    rows = [
        (int(pages[extent]), bool(needs), bool(writes))
        for extent, needs, writes in zip(
            accesses.extent.tolist(), accesses.needs_content, accesses.writes, strict=True
        )
    ]
    ptr = accesses.ptr.tolist()
    return [Counter(rows[a:b]) for a, b in pairwise(ptr)]


def test_the_importer_gives_the_step_back(ledger: Ledger, tmp_path: Path) -> None:
    save_chakra(make_chakra(ledger), tmp_path / "step.et")
    trace = import_trace(tmp_path / "step.et")
    longer_step = ledger.longer_step
    back = lower(trace, machine=ledger.machine, fast_bytes=1 << 50)
    assert (trace.model, trace.samples) == (ledger.trace.model, ledger.trace.samples)
    assert back.slices.duration_s.tolist() == longer_step.slices.duration_s.tolist()
    assert back.slices.phase.tolist() == longer_step.slices.phase.tolist()
    assert _touched(back) == _touched(longer_step)


def test_microseconds_add_up(ledger: Ledger) -> None:
    # Rounded at both ends of each slice: the sum is off by half a microsecond at most.
    nodes = make_chakra(ledger).nodes
    micros = sum(node.duration_micros for node in nodes)
    assert micros == pytest.approx(ledger.longer_step.compute_s * 1e6, abs=0.5)


def test_the_verb_writes_it(tmp_path: Path) -> None:
    ledger = example_ledger()
    done = export(
        ledger.plan,
        tmp_path / "x.et.gz",
        to="chakra",
        trace=ledger.trace,
        timeline=ledger.timeline,
        machine=ledger.machine,
    )
    file = read_chakra(tmp_path / "x.et.gz")
    assert len(file.nodes) == done.facts["slices"] + done.facts["loads"] + done.facts["stores"]
