"""`lower`: Trace x Machine x capacity -> Timeline.

Named stages: cut every operator into slices (`tmtrain.lowering.slicing`) and price them (`tmtrain.lowering.cost`). Then cut
storages into extents along the edges of all page runs that slices touch, and read off which content is needed when
(`tmtrain.lowering.extents`). Views and operators that touch nothing make no slice.

Note [Given durations]
    A step from outside may bring measured seconds along (`Operators.duration_s`). Then they hold, on whatever machine, and
    a slice takes its share of them; the machine says what bytes cost. Nothing is recomputed in such a step, unless its
    operators stay whole: what some rows of one would take was not measured, and the model of a machine would be another
    clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby, islice
from math import prod

import numpy as np
from numpy.typing import NDArray

from tmtrain.errors import InfeasibleError, InputError
from tmtrain.lowering.cost import MATRIX_DIMS, Loads, operator_loads, slice_work
from tmtrain.lowering.extents import PageRuns, assemble_extents
from tmtrain.lowering.loops import LoopNest, Operand, loop_nests, uncut
from tmtrain.lowering.producers import RowLoop, find_producers, no_producers, row_loop
from tmtrain.lowering.slicing import Slice, choose_cuts, most_pages, slices_of
from tmtrain.lowering.timeline import Slices, Timeline
from tmtrain.machine import Machine
from tmtrain.trace import Trace, trace_fingerprint
from tmtrain.units import format_bytes

SLICE_SHARE = 1 / 16
"""A slice should need at most this share of the fast tier, so that the pages of others can be on their way meanwhile."""

MOST_SLICES = 1_000_000
"""More are laid out for no step: hours, and gigabytes, for a memory that nobody would build."""


def lower(
    trace: Trace,
    *,
    machine: Machine,
    fast_bytes: int,
    slice_share: float = SLICE_SHARE,
    whole_operators: bool = False,
) -> Timeline:
    """Lay a step on a machine with `fast_bytes` of fast memory.

    Args:
        trace: The step.
        machine: Rates, page size.
        fast_bytes: Capacity of the fast tier; rounded down to whole pages.
        slice_share: Largest share of the fast tier that a slice should need.
        whole_operators: Cut none: what runs them (`tmtrain.runtime`) has each operator's operands there all at once.

    Raises:
        InputError: no operator of the step touches memory, or SRAM does not hold the smallest tiles of a product.
        InfeasibleError: an operator cannot be cut into slices that fit (says which, what it needs, what there is), or
            the step falls into more than a million slices.

    >>> from tmtrain.machine import load_machine
    >>> from tmtrain.trace import example_trace
    >>> timeline = lower(example_trace(), machine=load_machine("v4-slc"), fast_bytes=24576)
    >>> len(timeline.slices) >= 8
    True
    """
    page = machine.slow.page_bytes
    limit = max(1, int(fast_bytes // page * slice_share))
    nests = _cut_nests(trace, page_bytes=page, limit_pages=None if whole_operators else limit)
    if not nests:
        raise InputError(
            f"the step of {trace.model!r} has no operator that touches memory: there is nothing to place"
        )
    _check_fits(trace, nests, page_bytes=page, fast_pages=fast_bytes // page)
    _check_count(trace, nests, fast_bytes=fast_bytes)
    cut = _cut_operators(trace, nests, page_bytes=page)
    loads = operator_loads(trace, machine=machine)
    slices = _priced_slices(trace, cut, loads, machine=machine)
    extents, accesses, frees = assemble_extents(trace, cut.runs, slice_op=slices.op, page_bytes=page)
    # Note [Given durations]: what some rows of an operator take was not measured.
    is_repeatable = trace.operators.duration_s is None or whole_operators
    return Timeline(
        trace_fingerprint=trace_fingerprint(trace),
        machine=machine.name,
        machine_fingerprint=machine.fingerprint,
        page_bytes=page,
        fast_bytes=fast_bytes // page * page,
        footprint_bytes=trace.footprint_bytes,
        samples=trace.samples,
        operator_names=trace.operators.name,
        slices=slices,
        extents=extents,
        accesses=accesses,
        frees=frees,
        producers=find_producers(trace, loops=cut.loops, loads=loads) if is_repeatable else no_producers(),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _CutNest:
    """A loop nest of an operator, and into how many parts its loops are cut."""

    op: int
    nest: LoopNest
    weight: float
    """Share of the operator's work."""
    cuts: tuple[int, ...]

    def slices(self, trace: Trace, *, page_bytes: int) -> Iterator[Slice]:
        return slices_of(self.nest, trace.operands, cuts=self.cuts, page_bytes=page_bytes)

    @property
    def count(self) -> int:
        parts = prod(self.cuts)
        return parts * self.nest.passes if parts > 1 else 1

    def most_pages(self, trace: Trace, *, page_bytes: int) -> int:
        """Return how many pages none of its slices exceeds."""
        return most_pages(self.nest, trace.operands, cuts=self.cuts, page_bytes=page_bytes)

    def pages_needed(self, trace: Trace, *, page_bytes: int) -> int:
        """Return what the largest of its first slices touches: of hundreds all are alike but for a page."""
        first_ones = islice(self.slices(trace, page_bytes=page_bytes), 256)
        return max(_pages_touched(trace, piece) for piece in first_ones)


def _cut_nests(trace: Trace, *, page_bytes: int, limit_pages: int | None) -> list[_CutNest]:
    """Choose cuts until no slice needs more than the limit; without one, cut none."""
    operands = trace.operands
    bounds = np.searchsorted(operands.op, np.arange(len(trace.operators) + 1))
    touches = operands.reads | operands.writes
    cut_nests: list[_CutNest] = []
    for op in range(len(trace.operators)):
        rows = range(int(bounds[op]), int(bounds[op + 1]))
        if trace.operators.is_view[op] or not touches[rows.start : rows.stop].any():
            continue
        whole_nests = [uncut(rows)] if limit_pages is None else loop_nests(trace, op, rows)
        # What an operator takes in but does not touch (a shape's tensor) needs no memory.
        nests = [_touching(nest, touches) for nest in whole_nests]
        for nest, weight in zip(nests, _weights(nests, operands.span_bytes), strict=True):
            cuts = choose_cuts(nest, operands, page_bytes=page_bytes, limit_pages=limit_pages or 0)
            cut_nests.append(_CutNest(op=op, nest=nest, weight=weight, cuts=cuts))
    return cut_nests


@dataclass(slots=True)
class _Cut:
    """Columns that grow slice by slice."""

    op: list[int] = field(default_factory=list)
    share: list[float] = field(default_factory=list)
    dims: list[tuple[float, ...]] = field(default_factory=list)
    runs: PageRuns = field(default_factory=PageRuns)
    loops: dict[int, RowLoop] = field(default_factory=dict[int, RowLoop])
    """How each operator could be cut along rows, were it recomputed."""


def _cut_operators(trace: Trace, nests: list[_CutNest], *, page_bytes: int) -> _Cut:
    cut = _Cut()
    for op, group in groupby(nests, key=lambda chosen: chosen.op):
        of_op = list(group)
        cut.loops[op] = row_loop(trace, [chosen.nest for chosen in of_op])
        for chosen in of_op:
            for piece in chosen.slices(trace, page_bytes=page_bytes):
                cut.runs.add(len(cut.op), piece.touches, trace, page_bytes=page_bytes)
                cut.op.append(op)
                cut.share.append(piece.share * chosen.weight)
                cut.dims.append(tuple(piece.dims.get(name, 1.0) for name in MATRIX_DIMS))
    return cut


def _priced_slices(trace: Trace, cut: _Cut, loads: Loads, *, machine: Machine) -> Slices:
    op = np.array(cut.op, np.int32)
    dims = np.array(cut.dims).reshape(-1, len(MATRIX_DIMS))
    work = slice_work(loads.of(op), machine, share=np.array(cut.share), dims=dims)
    return Slices(
        op=op,
        phase=trace.operators.phase[op],
        duration_s=work.duration_s,
        matrix_flops=work.matrix_flops,
        vector_ops=work.vector_ops,
        fast_bytes=work.fast_bytes,
        sram_bytes=work.sram_bytes,
    )


def _touching(nest: LoopNest, touches: NDArray[np.bool_]) -> LoopNest:
    kept: tuple[Operand, ...] = tuple(o for o in nest.operands if touches[o.row])
    return LoopNest(trips=nest.trips, operands=kept, matrix_dims=nest.matrix_dims, passes=nest.passes)


def _weights(nests: list[LoopNest], span_bytes: NDArray[np.int64]) -> list[float]:
    """Share of an operator's work that each of its nests does, by bytes."""
    if len(nests) == 1:
        return [1.0]
    spans = [float(sum(span_bytes[o.row] for o in nest.operands)) for nest in nests]
    total = sum(spans)
    return [span / total if total else 1 / len(nests) for span in spans]


def _check_fits(trace: Trace, nests: list[_CutNest], *, page_bytes: int, fast_pages: int) -> None:
    """Before any slice is laid out: where one operator has no room, others may have millions of slices."""
    large = [chosen for chosen in nests if chosen.most_pages(trace, page_bytes=page_bytes) > fast_pages]
    needs = [(chosen.pages_needed(trace, page_bytes=page_bytes), chosen.op) for chosen in large]
    need, op = max(needs, default=(0, -1))
    if need <= fast_pages:
        return
    where = f" in module {trace.operators.module[op]!r}" if trace.operators.module[op] else ""
    raise InfeasibleError(
        f"[Capacity] operator {op} ({trace.operators.name[op]}{where}) needs {format_bytes(need * page_bytes)} resident at "
        f"once, even in its smallest slice; the fast tier has {format_bytes(fast_pages * page_bytes)}, "
        f"{format_bytes((need - fast_pages) * page_bytes)} short: "
        f"give it at least that much (`--fast {need * page_bytes}B`), or the step a smaller batch",
        limit="memory",
        needed_bytes=need * page_bytes,
        capacity_bytes=fast_pages * page_bytes,
        operator=trace.operators.name[op],
        operator_index=op,
        module=trace.operators.module[op] or None,
    )


def _check_count(trace: Trace, nests: list[_CutNest], *, fast_bytes: int) -> None:
    count = sum(chosen.count for chosen in nests)
    if count > MOST_SLICES:
        raise InfeasibleError(
            f"[Capacity] with fast memory of {format_bytes(fast_bytes)} the step falls into {count:,} slices, and at most "
            f"{MOST_SLICES:,} can be laid out: give it more than that of {format_bytes(trace.footprint_bytes)}",
            limit="memory",
            capacity_bytes=fast_bytes,
        )


def _pages_touched(trace: Trace, piece: Slice) -> int:
    """Count the pages of a slice; where operands overlap in a storage, once."""
    runs = sorted((int(trace.operands.storage[t.row]), t.first_page, t.end_page) for t in piece.touches)
    pages, storage, reached = 0, -1, 0
    for owner, first, end in runs:
        reached = reached if owner == storage else 0
        pages += max(0, end - max(first, reached))
        storage, reached = owner, max(end, reached)
    return pages
