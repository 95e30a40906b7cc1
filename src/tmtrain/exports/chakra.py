"""Export "chakra": a planned step as a Chakra execution trace (MLCommons), for ASTRA-sim and its like.

Each slice is a COMP node, recomputations included. Each transfer of the plan is a MEM_STORE and a MEM_LOAD node. They
depend on one another through data alone:

* a slice on the slice before it, and on the loads that must be back before it;
* a store on the slice before the one from which on it may be written;
* a load on the slice before the one from which on it is fetched, and on the stores of its pages in this step.

It is one step of many alike. What the step before fetched for it is there. On what it fetches for the next step, no node
depends. Tensors are the extents of the step, with numbers from 1 on.

What is lost: that memory is full. A load may come no earlier than planned, but nothing makes it wait for a store that is
late. The output of a slice takes room that no node asks for.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from tmtrain.exports.ledger import Ledger
from tmtrain.importing.execution_traces.chakra import DURATION, MODEL, PHASE, SAMPLES
from tmtrain.importing.execution_traces.chakra_file import (
    Attribute,
    ChakraNode,
    IoInfo,
    NodeType,
    write_chakra,
)
from tmtrain.lowering.timeline import Timeline
from tmtrain.planning.monitor.steering import gap_of
from tmtrain.planning.problem.problem import build_problem
from tmtrain.trace import Phase

_DEVICE = "npu:0"
_FIRST_TENSOR = 1  # 0 is no storage at all


@dataclass(frozen=True, slots=True, kw_only=True)
class ChakraGraph:
    """The nodes, and what they add up to."""

    nodes: tuple[ChakraNode, ...]
    attributes: dict[str, Attribute]
    slices: int
    loads: int
    stores: int
    bytes_in: int
    """Of all loads; the plan's prediction, as is `bytes_out` of all stores."""
    bytes_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Move:
    """One transfer in one direction."""

    extent: int
    first_page: int
    end_page: int
    epoch: int | None
    """Of the content; None where flash has it already."""
    needed_by: int
    """Of a load: the slice that needs it."""

    @property
    def pages(self) -> int:
        """Return how many move."""
        return self.end_page - self.first_page


def make_chakra(ledger: Ledger) -> ChakraGraph:
    """Lay out a plan's step as nodes.

    >>> from tmtrain.exports.example import example_ledger
    >>> ledger = example_ledger()
    >>> graph = make_chakra(ledger)
    >>> graph.bytes_in == ledger.plan.prediction.bytes_in, graph.nodes[-1].type.name
    (True, 'COMP')
    """
    stores, loads = _moves(ledger)
    build = _Build(ledger.longer_step)
    for t in range(len(ledger.longer_step.slices)):
        for move in stores[t]:
            build.store(move)
        for move in loads[t]:
            build.load(move, t)
        build.compute(t)
    page = ledger.longer_step.page_bytes
    flat_stores, flat_loads = ([move for row in rows for move in row] for rows in (stores, loads))
    return ChakraGraph(
        nodes=tuple(build.nodes),
        attributes={MODEL: ledger.trace.model, SAMPLES: ledger.trace.samples},
        slices=len(ledger.longer_step.slices),
        loads=len(flat_loads),
        stores=len(flat_stores),
        bytes_in=page * sum(move.pages for move in flat_loads),
        bytes_out=page * sum(move.pages for move in flat_stores),
    )


def save_chakra(graph: ChakraGraph, path: Path) -> None:
    """Write the nodes to `path`; gzipped if it ends in ".gz".

    Raises:
        InputError: the disk refuses.
    """
    write_chakra(path, graph.nodes, attributes=graph.attributes)


def _moves(ledger: Ledger) -> tuple[list[list[_Move]], list[list[_Move]]]:
    """Return the stores and the loads that begin before each slice.

    Pieces of an extent leave from its front, and one copy serves the whole epoch: so of each piece only what no earlier one
    of its epoch has written is stored.
    """
    moves, T = ledger.plan.transfers, len(ledger.longer_step.slices)
    problem = build_problem(ledger.longer_step)
    gap = gap_of(problem, moves)
    epochs: list[int] = problem.gaps.epoch[gap].tolist()
    since_written = (moves.write_slice - problem.gaps.last_write[gap] - 1) % T
    ends: list[int] = (moves.first_page + moves.pages).tolist()
    stores: list[list[_Move]] = [[] for _ in range(T)]
    loads: list[list[_Move]] = [[] for _ in range(T)]
    written: dict[int, int] = defaultdict(int)
    for row in np.lexsort((moves.first_page, since_written)).tolist():
        epoch = epochs[row] if epochs[row] >= 0 else None
        load = _Move(
            extent=int(moves.extent[row]),
            first_page=int(moves.first_page[row]),
            end_page=ends[row],
            epoch=epoch,
            needed_by=int(moves.return_slice[row]) % T,
        )
        loads[int(moves.fetch_slice[row]) % T].append(load)
        if epoch is not None and load.end_page > written[epoch]:
            store = replace(load, first_page=written[epoch])
            stores[int(moves.write_slice[row]) % T].append(store)
            written[epoch] = load.end_page
    return stores, loads


@dataclass(slots=True)
class _Build:
    """Nodes, growing slice by slice."""

    timeline: Timeline
    nodes: list[ChakraNode] = field(default_factory=list[ChakraNode])
    last_compute: int | None = None
    stored: dict[int, list[tuple[int, int, int]]] = field(
        default_factory=lambda: defaultdict[int, list[tuple[int, int, int]]](list)
    )
    """Of each epoch: first page, end and node of its stores so far in this step."""
    awaited: dict[int, list[int]] = field(default_factory=lambda: defaultdict[int, list[int]](list))
    """Loads that must be back before each slice."""
    elapsed_s: float = 0.0

    def store(self, move: _Move) -> None:
        """Add a MEM_STORE node."""
        assert move.epoch is not None, "flash has it already"
        node = self._memory(NodeType.MEM_STORE, move, after=[])
        self.stored[move.epoch].append((move.first_page, move.end_page, node))

    def load(self, move: _Move, t: int) -> None:
        """Add a MEM_LOAD node before slice t."""
        rows = [] if move.epoch is None else self.stored[move.epoch]
        after = [node for first, end, node in rows if first < move.end_page and move.first_page < end]
        node = self._memory(NodeType.MEM_LOAD, move, after=after)
        if move.needed_by >= t:  # else in the next step
            self.awaited[move.needed_by].append(node)

    def compute(self, t: int) -> None:
        """Add the COMP node of slice t."""
        timeline, slices = self.timeline, self.timeline.slices
        rows = slice(int(timeline.accesses.ptr[t]), int(timeline.accesses.ptr[t + 1]))
        extents = timeline.accesses.extent[rows]
        begin_s, duration_s = self.elapsed_s, float(slices.duration_s[t])
        self.elapsed_s += duration_s
        before = [] if self.last_compute is None else [self.last_compute]
        self.last_compute = len(self.nodes)
        self.nodes.append(
            ChakraNode(
                id=len(self.nodes),
                name=timeline.operator_names[slices.op[t]],
                type=NodeType.COMP,
                data_deps=(*before, *self.awaited[t]),
                # Rounded at both ends, so that a thousand short slices are not a thousand times nothing.
                duration_micros=round(self.elapsed_s * 1e6) - round(begin_s * 1e6),
                inputs=self._tensors(extents[timeline.accesses.needs_content[rows]].tolist()),
                outputs=self._tensors(extents[timeline.accesses.writes[rows]].tolist()),
                attributes={
                    "is_cpu_op": False,
                    "num_ops": round(float(slices.matrix_flops[t] + slices.vector_ops[t])),
                    "tensor_size": round(float(slices.fast_bytes[t])),
                    DURATION: duration_s,
                    PHASE: Phase(int(slices.phase[t])).name.lower(),
                },
            )
        )

    def _memory(self, kind: NodeType, move: _Move, *, after: list[int]) -> int:
        number = len(self.nodes)
        before = [] if self.last_compute is None else [self.last_compute]
        self.nodes.append(
            ChakraNode(
                id=number,
                name=f"{'load' if kind is NodeType.MEM_LOAD else 'store'} extent {move.extent}",
                type=kind,
                data_deps=(*before, *after),
                attributes={
                    "is_cpu_op": False,
                    "tensor_size": move.pages * self.timeline.page_bytes,
                    "first_byte": move.first_page * self.timeline.page_bytes,
                },
            )
        )
        return number

    def _tensors(self, extents: Iterable[int]) -> IoInfo:
        sizes = [
            (extent, int(self.timeline.extents.pages[extent]) * self.timeline.page_bytes)
            for extent in extents
        ]
        # Tensor, storage, offset, elements, bytes of one, device: every extent is a storage of its own.
        values = [
            [_FIRST_TENSOR + extent, _FIRST_TENSOR + extent, 0, size, 1, _DEVICE] for extent, size in sizes
        ]
        return IoInfo(
            values=json.dumps(values),
            shapes=json.dumps([[size] for _, size in sizes]),
            types=json.dumps(["Tensor(unsigned char)"] * len(sizes)),
        )
