"""Slices cover their operator exactly, on real captured steps at several capacities."""

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from tests.support.operators import Tensor, one_operator
from tests.support.thoroughness import rest_slow
from tests.support.traces import TINY, tiny_trace

from tmtrain.errors import InfeasibleError
from tmtrain.lowering import Timeline, lower, verbs
from tmtrain.lowering.cost import operator_bytes
from tmtrain.lowering.loops import LoopNest, loop_nests
from tmtrain.lowering.slicing import MOST_CUTS, choose_cuts, slices_of
from tmtrain.machine import Machine, load_machine
from tmtrain.trace import Trace

SHARES = (1.0, 0.5, 0.35)
"""Of the footprint. (The perceptrons have only a few dozen pages.)"""
STRIDE = {"bert": 97, "resnet": 23}
"""Of operators looked at one by one, where there are thousands."""
Pages = set[tuple[int, int]]

cases = pytest.mark.parametrize(
    ("name", "share"), rest_slow([(name, share) for share in SHARES for name in TINY], quick=len(TINY))
)


@cache
def machine() -> Machine:
    return load_machine("v4-slc")


@cache
def lowered(name: str, share: float) -> Timeline:
    trace = tiny_trace(name)
    return lower(trace, machine=machine(), fast_bytes=int(share * trace.footprint_bytes))


def rows_of(trace: Trace) -> list[range]:
    bounds = np.searchsorted(trace.operands.op, np.arange(len(trace.operators) + 1)).tolist()
    return [range(low, high) for low, high in pairwise(bounds)]


def working(trace: Trace) -> list[int]:
    """Operators that touch memory, and so make slices."""
    touches = trace.operands.reads | trace.operands.writes
    return [
        op
        for op, rows in enumerate(rows_of(trace))
        if not trace.operators.is_view[op] and any(touches[row] for row in rows)
    ]


def operand_pages(trace: Trace, rows: range, page_bytes: int) -> Pages:
    o = trace.operands
    pages: Pages = set()
    for row in rows:
        if (o.reads[row] or o.writes[row]) and o.span_bytes[row]:
            first, last = o.offset_bytes[row], o.offset_bytes[row] + o.span_bytes[row] - 1
            pages |= {(int(o.storage[row]), p) for p in range(first // page_bytes, last // page_bytes + 1)}
    return pages


def touched_pages(timeline: Timeline, slice_: int) -> Pages:
    e, pages = timeline.extents, set[tuple[int, int]]()
    for row in range(timeline.accesses.ptr[slice_], timeline.accesses.ptr[slice_ + 1]):
        extent = timeline.accesses.extent[row]
        first = int(e.first_page[extent])
        pages |= {(int(e.storage[extent]), p) for p in range(first, first + int(e.pages[extent]))}
    return pages


@cases
def test_every_working_operator_has_slices_in_order(name: str, share: float) -> None:
    timeline = lowered(name, share)
    assert (np.diff(timeline.slices.op) >= 0).all()
    assert sorted(set(timeline.slices.op.tolist())) == working(tiny_trace(name))
    assert (timeline.slices.phase == tiny_trace(name).operators.phase[timeline.slices.op]).all()


@cases
def test_work_of_the_slices_adds_up_to_the_operators(name: str, share: float) -> None:
    trace, timeline = tiny_trace(name), lowered(name, share)
    count = len(trace.operators)
    flops = np.bincount(timeline.slices.op, timeline.slices.matrix_flops, count)
    moved = np.bincount(timeline.slices.op, timeline.slices.fast_bytes, count)
    in_slices = np.zeros(count, bool)
    in_slices[working(trace)] = True
    is_product = in_slices & (trace.operators.batch > 0)
    np.testing.assert_allclose(flops, np.where(is_product, trace.operators.flops, 0), rtol=1e-9)
    np.testing.assert_allclose(moved, np.where(in_slices, operator_bytes(trace), 0), rtol=1e-9)


@cases
def test_the_pages_of_the_slices_are_those_of_the_operands(name: str, share: float) -> None:
    trace, timeline = tiny_trace(name), lowered(name, share)
    op = timeline.slices.op.tolist()
    for number, rows in enumerate(rows_of(trace)):
        if number not in op or number % STRIDE.get(name, 1):
            continue
        mine = [t for t, o in enumerate(op) if o == number]
        touched = set[tuple[int, int]]().union(*(touched_pages(timeline, t) for t in mine))
        assert touched == operand_pages(trace, rows, timeline.page_bytes), trace.operators.name[number]


def nests(name: str) -> list[LoopNest]:
    trace = tiny_trace(name)
    return [nest for op in working(trace) for nest in loop_nests(trace, op, rows_of(trace)[op])]


@pytest.mark.parametrize("limit_pages", rest_slow([7, 1, 100, 4000], quick=2))
@pytest.mark.parametrize("name", TINY)
def test_pieces_of_an_operand_tile_it(name: str, limit_pages: int) -> None:
    """Runs of two pieces are disjoint or the same page, and together the whole operand."""
    operands = tiny_trace(name).operands
    for nest in nests(name)[:: STRIDE.get(name, 1)]:
        cuts = choose_cuts(nest, operands, page_bytes=4096, limit_pages=limit_pages)
        runs: dict[int, set[tuple[int, int]]] = {}
        share = 0.0
        for piece in slices_of(nest, operands, cuts=cuts, page_bytes=4096):
            share += piece.share
            for touch in piece.touches:
                runs.setdefault(touch.row, set()).add((touch.first_page, touch.end_page))
        assert share == pytest.approx(1.0)
        for row, pages in runs.items():
            ordered = sorted(pages)
            start, span = int(operands.offset_bytes[row]), int(operands.span_bytes[row])
            if span:
                assert (ordered[0][0], ordered[-1][1]) == (start // 4096, -(-(start + span) // 4096))
                assert all(a[1] == b[0] for a, b in pairwise(ordered))


@pytest.mark.parametrize("limit_pages", rest_slow([16, 1, 300]))
@pytest.mark.parametrize("name", TINY)
def test_a_slice_meets_the_limit_or_cannot_be_cut_further(name: str, limit_pages: int) -> None:
    operands = tiny_trace(name).operands

    def largest(nest: LoopNest, cuts: tuple[int, ...]) -> int:
        """Pages of the largest slice, from its runs."""
        pieces = slices_of(nest, operands, cuts=cuts, page_bytes=4096)
        return max(sum(t.end_page - t.first_page for t in piece.touches) for piece in pieces)

    for nest in nests(name)[:: STRIDE.get(name, 1)]:
        cuts = choose_cuts(nest, operands, page_bytes=4096, limit_pages=limit_pages)
        assert all(
            c <= min(trip, MOST_CUTS) and c & (c - 1) == 0 for c, trip in zip(cuts, nest.trips, strict=True)
        )
        size = largest(nest, cuts)
        if size > limit_pages and nest.passes == 1:
            finer = [
                tuple(c * 2 if i == loop else c for i, c in enumerate(cuts))
                for loop, trip in enumerate(nest.trips)
                if cuts[loop] * 2 <= min(trip, MOST_CUTS)
            ]
            assert all(largest(nest, other) >= size for other in finer), "a finer cut would have helped"
        coarser = [
            tuple(c // 2 if i == loop else c for i, c in enumerate(cuts))
            for loop in range(len(cuts))
            if cuts[loop] > 1
        ]
        if len(coarser) == 1 and nest.passes == 1:
            assert largest(nest, coarser[0]) > limit_pages, "it is cut no finer than the limit asks for"


def test_a_broadcast_operand_of_a_batch_of_one_does_not_keep_the_operator_whole() -> None:
    """A mask (1, 1, n) against scores (1, m, n) agrees with them in a dimension of size 1 only: that says nothing."""
    shape = (1, 1024, 1024)
    tensors = [Tensor(shape=shape), Tensor(shape=(1, 1, 1024)), Tensor(shape=shape, result=True)]
    timeline = lower(
        one_operator("add", tensors, pointwise=True), machine=machine(), fast_bytes=1 << 20, slice_share=1 / 4
    )
    assert len(timeline.slices) == 64, "two matrices of 4 MiB, 64 KiB of each and the mask at a time"


def test_foreach_and_fused_optimizers_are_cut_tensor_by_tensor() -> None:
    """The working set of one call is the whole optimizer state; of one slice a part of one parameter's."""
    for name, prefix in (("foreach", "_foreach"), ("fused", "_fused_adamw")):
        trace, timeline = tiny_trace(name), lowered(name, 0.5)
        parameters = [i for i, n in enumerate(trace.storages.name) if n in {"0.weight", "3.weight"}]
        assert len(parameters) == 2
        for t, op in enumerate(timeline.slices.op.tolist()):
            if base(trace, op).startswith(prefix):
                touched = {storage for storage, _ in touched_pages(timeline, t)}
                assert len(touched & set(parameters)) <= 1
        calls = [op for op in working(trace) if base(trace, op).startswith(prefix)]
        assert calls
        assert (
            max(np.count_nonzero(timeline.slices.op == op) for op in calls) >= 6
        )  # one per parameter at least


def base(trace: Trace, op: int) -> str:
    return trace.operators.name[op].split(".")[1]


@pytest.mark.parametrize("name", ["foreach", "fused"])
def test_what_cannot_fit_is_refused_and_the_advice_helps(name: str) -> None:
    trace = tiny_trace(name)
    with pytest.raises(InfeasibleError) as caught:
        lower(trace, machine=machine(), fast_bytes=3 * 4096)
    need = re.search(
        r"operator \d+ \(aten\.[\w.]+.*\) needs .* resident at once.*`--fast (\d+)B`", str(caught.value)
    )
    assert need is not None
    assert "the fast tier has 12.00 KiB" in str(caught.value)
    enough = int(need[1])
    assert lower(trace, machine=machine(), fast_bytes=enough).fast_bytes == enough
    with pytest.raises(InfeasibleError):
        lower(trace, machine=machine(), fast_bytes=enough - 4096)


def test_what_cannot_fit_is_refused_before_the_step_is_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other operators of the step may fall into millions of slices."""

    def laid_out(*_: object) -> None:
        raise AssertionError("a slice was laid out")

    monkeypatch.setattr(verbs, "_cut_operators", laid_out)
    with pytest.raises(InfeasibleError, match="the fast tier has 0 B"):
        lower(tiny_trace("foreach"), machine=machine(), fast_bytes=1024)


def test_a_step_of_too_many_slices_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    trace = tiny_trace("bert")
    count = len(lower(trace, machine=machine(), fast_bytes=trace.footprint_bytes // 10).slices)
    monkeypatch.setattr(verbs, "MOST_SLICES", count)
    lower(trace, machine=machine(), fast_bytes=trace.footprint_bytes // 10)
    monkeypatch.setattr(verbs, "MOST_SLICES", count - 1)
    with pytest.raises(InfeasibleError, match=f"falls into {count:,} slices, and at most {count - 1:,}"):
        lower(trace, machine=machine(), fast_bytes=trace.footprint_bytes // 10)


def test_operands_that_share_pages_count_once_in_a_refusal() -> None:
    """x + x needs x and the result: 2 pages."""
    trace = one_operator(
        "add", [Tensor(shape=(8,)), Tensor(shape=(8,)), Tensor(shape=(8,), result=True)], pointwise=True
    )
    twice = replace(trace, operands=replace(trace.operands, storage=np.array([0, 0, 2], np.int32)))
    assert len(lower(twice, machine=machine(), fast_bytes=2 * 4096).slices) == 1
    with pytest.raises(InfeasibleError, match=r"needs 12\.00 KiB"):
        lower(trace, machine=machine(), fast_bytes=2 * 4096)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.5, 0.1])
def test_every_page_of_every_operator_of_bert_and_resnet_is_covered(share: float) -> None:
    for name in ("bert", "resnet"):
        trace, timeline = tiny_trace(name), lowered(name, share)
        slices: dict[int, list[int]] = {}
        for t, op in enumerate(timeline.slices.op.tolist()):
            slices.setdefault(op, []).append(t)
        for op, mine in slices.items():
            touched = set[tuple[int, int]]().union(*(touched_pages(timeline, t) for t in mine))
            assert touched == operand_pages(trace, rows_of(trace)[op], timeline.page_bytes)
