"""The slices of an operator compute it: they are run on integers, each seeing only the pages it touches."""

from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.loops import Paged, Run, runs_of
from tests.support.operators import Tensor, one_operator
from tests.support.thoroughness import examples

from tmtrain.lowering.loops import loop_nests
from tmtrain.trace import Trace

ITEM = 8
sides = st.sampled_from([8, 16, 32])


def paged(trace: Trace, *, page_bytes: int, seed: int = 0) -> Paged:
    rng = np.random.default_rng(seed)
    shapes = trace.operands.shape
    inputs = np.flatnonzero(trace.operands.reads).tolist()
    return Paged(trace, {row: rng.integers(-9, 10, shapes[row]) for row in inputs}, page_bytes=page_bytes)


def is_first(run: Run, *loops: int) -> bool:
    return all(run.index[loop] == 0 for loop in loops)


def product_trace(
    m: int, n: int, k: int, transposed: tuple[bool, bool, bool], *, bias: bool = False
) -> Trace:
    shapes = [(m, k), (k, n), (m, n)]
    left, right, result = (
        Tensor(shape=shape, stride=(1, shape[0]) if t else None, result=i == 2)
        for i, (shape, t) in enumerate(zip(shapes, transposed, strict=True))
    )
    tensors = [left, right, result]
    if bias:
        tensors.insert(0, Tensor(shape=(n,)))
    return one_operator("addmm" if bias else "mm", tensors, mnk=(m, n, k), itemsize=ITEM)


@examples(120)
@given(
    m=sides,
    n=sides,
    k=sides,
    transposed=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    limit=st.integers(1, 40),
    bias=st.booleans(),
)
def test_the_slices_of_a_matrix_product_compute_it(
    m: int, n: int, k: int, transposed: tuple[bool, bool, bool], limit: int, bias: bool
) -> None:
    """Row-major or transposed, cut along m, n and k in any way: the sum over the slices is the whole product."""
    trace = product_trace(m, n, k, transposed, bias=bias)
    page_bytes = 8 * ITEM  # every row or column is whole pages: a cut is exact
    memory = paged(trace, page_bytes=page_bytes)
    left, right, result = range(int(bias), 3 + int(bias))
    expected = memory.tensor(left) @ memory.tensor(right) + (memory.tensor(0) if bias else 0)
    done = np.zeros((m, n, k), int)
    for run in runs_of(trace, page_bytes=page_bytes, limit_pages=limit):
        rows, columns, inner = run.span(0), run.span(1), run.span(2)

        def body(
            seen: dict[int, np.ndarray],
            rows: slice = rows,
            columns: slice = columns,
            inner: slice = inner,
            fresh: bool = is_first(run, 2),
        ) -> None:
            if fresh:
                seen[result][rows, columns] = seen[0][columns] if bias else 0
            seen[result][rows, columns] += seen[left][rows, inner] @ seen[right][inner, columns]

        memory.run(run, body)
        done[rows, columns, inner] += 1
    assert (done == 1).all(), "every product is computed once"
    np.testing.assert_array_equal(memory.tensor(result), expected)


@examples(60)
@given(batch=sides, m=sides, limit=st.integers(1, 40), transposed=st.booleans())
def test_the_slices_of_a_batched_product_compute_it(batch: int, m: int, limit: int, transposed: bool) -> None:
    """A batch that lies innermost in memory cannot be cut: that operand is whole in every slice."""
    stride = (1, batch * 8, batch) if transposed else None
    tensors = [
        Tensor(shape=(batch, m, 8), stride=stride),
        Tensor(shape=(batch, 8, 8)),
        Tensor(shape=(batch, m, 8), result=True),
    ]
    trace = one_operator("bmm", tensors, mnk=(m, 8, 8), batch=batch, itemsize=ITEM)
    memory = paged(trace, page_bytes=8 * ITEM)
    expected = memory.tensor(0) @ memory.tensor(1)
    for run in runs_of(trace, page_bytes=8 * ITEM, limit_pages=limit):
        some = run.span(0)

        def body(seen: dict[int, np.ndarray], some: slice = some) -> None:
            seen[2][some] = seen[0][some] @ seen[1][some]

        memory.run(run, body)
    np.testing.assert_array_equal(memory.tensor(2), expected)


@examples(60)
@given(rows=sides, columns=sides, limit=st.integers(1, 40), keepdim=st.booleans())
def test_the_slices_of_a_sum_over_rows_accumulate(rows: int, columns: int, limit: int, keepdim: bool) -> None:
    """The gradient of a bias, square matrices included: the result is whole in every slice."""
    shape = (1, columns) if keepdim else (columns,)
    trace = one_operator(
        "sum", [Tensor(shape=(rows, columns)), Tensor(shape=shape, result=True)], itemsize=ITEM
    )
    memory = paged(trace, page_bytes=8 * ITEM)
    expected = memory.tensor(0).sum(axis=0).reshape(shape)
    for run in runs_of(trace, page_bytes=8 * ITEM, limit_pages=limit):
        some, fresh = run.span(0), is_first(run, 0)

        def body(seen: dict[int, np.ndarray], some: slice = some, fresh: bool = fresh) -> None:
            if fresh:
                seen[1][...] = 0
            seen[1][...] += seen[0][some].sum(axis=0).reshape(shape)

        memory.run(run, body)
    np.testing.assert_array_equal(memory.tensor(1), expected)


@examples(60)
@given(rows=sides, columns=sides, limit=st.integers(1, 40))
def test_the_slices_of_a_sum_over_columns_share_pages_of_the_result(
    rows: int, columns: int, limit: int
) -> None:
    """More pieces than pages: a later piece must not throw away what an earlier one left in the same page."""
    trace = one_operator(
        "sum", [Tensor(shape=(rows, columns)), Tensor(shape=(rows, 1), result=True)], itemsize=ITEM
    )
    memory = paged(trace, page_bytes=8 * ITEM)
    expected = memory.tensor(0).sum(axis=1, keepdims=True)
    for run in runs_of(trace, page_bytes=8 * ITEM, limit_pages=limit):
        some = run.span(0)

        def body(seen: dict[int, np.ndarray], some: slice = some) -> None:
            seen[1][some] = seen[0][some].sum(axis=1, keepdims=True)

        memory.run(run, body)
    np.testing.assert_array_equal(memory.tensor(1), expected)


@examples(60)
@given(positions=sides, entries=sides, limit=st.integers(1, 40), square=st.booleans(), seed=st.integers(0, 9))
def test_the_slices_of_an_embedding_compute_it(
    positions: int, entries: int, limit: int, square: bool, seed: int
) -> None:
    """As many positions as rows of the table included: which is which is told by the schema, not by the shape."""
    entries = positions if square else entries
    tensors = [
        Tensor(shape=(entries, 8)),
        Tensor(shape=(positions,)),
        Tensor(shape=(positions, 8), result=True),
    ]
    trace = one_operator("embedding", tensors, itemsize=ITEM)
    index = np.random.default_rng(seed).integers(0, entries, positions)
    table = np.random.default_rng(seed).integers(-9, 10, (entries, 8))
    memory = Paged(trace, {0: table, 1: index}, page_bytes=8 * ITEM)
    for run in runs_of(trace, page_bytes=8 * ITEM, limit_pages=limit):
        some, part = run.span(0), run.span(1)

        def body(seen: dict[int, np.ndarray], some: slice = some, part: slice = part) -> None:
            for at in range(some.start, some.stop):
                if part.start <= seen[1][at] < part.stop:
                    seen[2][at] = seen[0][seen[1][at]]

        memory.run(run, body)
    np.testing.assert_array_equal(memory.tensor(2), table[index])


@examples(60)
@given(positions=sides, entries=sides, limit=st.integers(1, 40), seed=st.integers(0, 9))
def test_the_slices_of_an_embedding_backward_accumulate(
    positions: int, entries: int, limit: int, seed: int
) -> None:
    tensors = [
        Tensor(shape=(positions, 8)),
        Tensor(shape=(positions,)),
        Tensor(shape=(entries, 8), result=True),
    ]
    trace = one_operator("embedding_dense_backward", tensors, itemsize=ITEM)
    index = np.random.default_rng(seed).integers(0, entries, positions)
    gradient = np.random.default_rng(seed).integers(-9, 10, (positions, 8))
    expected = np.zeros((entries, 8), np.int64)
    np.add.at(expected, index, gradient)
    memory = Paged(trace, {0: gradient, 1: index}, page_bytes=8 * ITEM)
    for run in runs_of(trace, page_bytes=8 * ITEM, limit_pages=limit):
        some, part, fresh = run.span(0), run.span(1), is_first(run, 0)

        def body(
            seen: dict[int, np.ndarray], some: slice = some, part: slice = part, fresh: bool = fresh
        ) -> None:
            if fresh:
                seen[2][part] = 0
            for at in range(some.start, some.stop):
                if part.start <= seen[1][at] < part.stop:
                    seen[2][seen[1][at]] += seen[0][at]

        memory.run(run, body)
    np.testing.assert_array_equal(memory.tensor(2), expected)


@examples(60)
@given(images=sides, limit=st.integers(1, 40))
def test_the_slices_of_a_batch_norm_compute_it_in_two_passes(images: int, limit: int) -> None:
    """Statistics over all images first, then the results (here: the deviation from the sum)."""
    shape = (images, 8, 8)
    tensors = [Tensor(shape=shape), Tensor(shape=shape, result=True), Tensor(shape=(8,), result=True)]
    trace = one_operator("native_batch_norm", tensors, itemsize=ITEM)
    memory = paged(trace, page_bytes=8 * ITEM)
    total = memory.tensor(0).sum(axis=(0, 2))
    expected = memory.tensor(0) - total[None, :, None]
    runs = list(runs_of(trace, page_bytes=8 * ITEM, limit_pages=limit))
    for run in runs:
        some, fresh = run.span(0), is_first(run, 0)
        whole = runs[-1].number == 0

        def body(
            seen: dict[int, np.ndarray],
            some: slice = some,
            fresh: bool = fresh,
            number: int = run.number,
            whole: bool = whole,
        ) -> None:
            if number == 0 and fresh:
                seen[2][...] = 0
            if number == 0:
                seen[2][...] += seen[0][some].sum(axis=(0, 2))
            if number == 1 or whole:
                seen[1][some] = seen[0][some] - seen[2][None, :, None]

        memory.run(run, body)
    np.testing.assert_array_equal(memory.tensor(2), total)
    np.testing.assert_array_equal(memory.tensor(1), expected)


@examples(80)
@given(
    shape=st.tuples(st.sampled_from([1, 2, 8]), sides, st.sampled_from([8, 16])),
    broadcast=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    permuted=st.booleans(),
    limit=st.integers(1, 40),
)
def test_the_slices_of_a_pointwise_operator_compute_it(
    shape: tuple[int, int, int], broadcast: tuple[bool, bool, bool], permuted: bool, limit: int
) -> None:
    """Broadcast and permuted operands are there where they are needed."""
    other = tuple(1 if flat else size for flat, size in zip(broadcast, shape, strict=True))
    stride = (1, other[0], other[0] * other[1]) if permuted else None
    tensors = [
        Tensor(shape=shape),
        Tensor(shape=other, stride=stride),
        Tensor(shape=(shape[2],)),
        Tensor(shape=shape, result=True),
    ]
    trace = one_operator("add", tensors, pointwise=True, itemsize=ITEM)
    memory = paged(trace, page_bytes=8 * ITEM)
    expected = memory.tensor(0) + memory.tensor(1) + memory.tensor(2)
    for run in runs_of(trace, page_bytes=8 * ITEM, limit_pages=limit):
        mask = np.zeros(run.nest.trips[0], bool)
        mask[run.span(0)] = True
        mask = mask.reshape(leading(shape, len(mask)))

        def body(seen: dict[int, np.ndarray], mask: np.ndarray = mask) -> None:
            seen[3][mask] = (seen[0] + seen[1] + seen[2])[mask]

        memory.run(run, body)
    np.testing.assert_array_equal(memory.tensor(3), expected)


def leading(shape: tuple[int, ...], trip: int) -> tuple[int, ...]:
    """The leading dimensions that a loop of so many iterations runs over."""
    return next(shape[:dims] for dims in range(len(shape) + 1) if np.prod(shape[:dims], dtype=int) == trip)


def heads_outside(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides of (.., length, heads, width) where memory has (.., heads, length, width)."""
    *batch, length, heads, width = shape
    return (*(length * heads * width for _ in batch), width, length * width, 1)


@examples(60)
@given(
    batch=st.sampled_from([(), (1,), (4,)]),
    heads=st.sampled_from([2, 8]),
    groups=st.sampled_from([1, 2]),
    outside=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    limit=st.integers(1, 60),
)
def test_the_slices_of_flash_attention_compute_it(
    batch: tuple[int, ...], heads: int, groups: int, outside: tuple[bool, ...], limit: int
) -> None:
    """Scores as they are, without softmax: (.., length, heads, width) in any layout, grouped heads, packed sequences."""
    query, key = (*batch, 8, heads, 8), (*batch, 16, heads // groups, 8)
    strides = [
        heads_outside(s) if o else None for s, o in zip((query, key, key, query), outside, strict=True)
    ]
    tensors = [
        Tensor(shape=shape, stride=stride, result=i == 3)
        for i, (shape, stride) in enumerate(zip((query, key, key, query), strides, strict=True))
    ]
    sums = Tensor(shape=(*batch, heads, 8), result=True)
    trace = one_operator("_flash_attention_forward", [*tensors, sums], itemsize=ITEM)
    memory = paged(trace, page_bytes=8 * ITEM)
    q, k, v = (memory.tensor(row).swapaxes(-3, -2).reshape(-1, *_matrix(query, key, row)) for row in range(3))
    k, v = (np.repeat(x, groups, axis=0) for x in (k, v))
    scores = q @ k.swapaxes(-1, -2)
    for run in runs_of(trace, page_bytes=8 * ITEM, limit_pages=limit):
        trip = run.nest.trips[0]
        per = len(scores) // trip
        some = slice(run.span(0).start * per, run.span(0).stop * per)

        def body(seen: dict[int, np.ndarray], some: slice = some) -> None:
            for at in range(some.start, some.stop):
                place = np.unravel_index(at, (*batch, heads))
                group = (*place[:-1], slice(None), place[-1] // groups)
                row = (*place[:-1], slice(None), place[-1])
                mine = seen[0][row] @ seen[1][group].T
                seen[3][row] = mine @ seen[2][group]
                seen[4][place] = mine.sum(axis=1)

        memory.run(run, body)
    result = memory.tensor(3).swapaxes(-3, -2).reshape(-1, 8, 8)
    np.testing.assert_array_equal(result, scores @ v)
    np.testing.assert_array_equal(memory.tensor(4).reshape(-1, 8), scores.sum(axis=2))


def _matrix(query: tuple[int, ...], key: tuple[int, ...], row: int) -> tuple[int, int]:
    shape = key if row else query
    return shape[-3], shape[-1]


@pytest.mark.parametrize("batch", [(), (2,)], ids=["packed", "batched"])
def test_flash_attention_is_cut_along_heads_where_memory_has_them_outside(batch: tuple[int, ...]) -> None:
    shape = (*batch, 64, 4, 8)
    for stride, trips in ((heads_outside(shape), prod(batch) * 4), (None, prod(batch))):
        tensors = [Tensor(shape=shape, stride=stride, result=i == 3) for i in range(4)]
        trace = one_operator("_flash_attention_forward", tensors, itemsize=ITEM)
        (nest,) = loop_nests(trace, 0, range(4))
        cut = {operand.loop for operand in nest.operands}
        assert (nest.trips, cut) == ((trips,), {0}) if trips > 1 else cut == {None}
