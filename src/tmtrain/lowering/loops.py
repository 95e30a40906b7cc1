"""Along which loops an operator may be cut, and which operand each loop cuts.

An operator is a nest of loops; cutting a loop cuts every operand whose storage order follows it into consecutive runs of
bytes, and leaves the others whole. What is cut how:

===========================================  =============================================================================
operator                                     loops
===========================================  =============================================================================
mm, addmm                                    m, n, k. Each matrix is cut along the one of its two dimensions that varies
                                             slowest in memory; cutting k (or a loop the result does not follow) makes
                                             the result accumulate over the slices
bmm, baddbmm                                 batch
scaled dot product attention, both ways      batch and heads, as far as all four operands are ordered by them
flash attention, both ways                   the same; lengths come before heads in its shapes, so that it is cut along
                                             heads only where memory has them outside
convolution and its backward                 batch; weights and their gradients are whole (gradients accumulate)
batch norm and its backward                  batch, in two passes: statistics, then results
embedding and its backward                   positions and rows of the table: every run of the table serves the
                                             positions that look into it
pointwise (torch's tag) and row-wise ones    leading dimensions in which the operands agree; broadcast operands (a bias)
(softmax, layer norm, loss, dropout, copy,   are whole, reduced results (a sum over rows) accumulate. Row-wise operators
reductions, pooling)                         keep their last dimension together
foreach and fused optimizers                 tensor by tensor, then pointwise
everything else                              not cut
===========================================  =============================================================================

Known limitation: row-wise operators are taken to work along their last dimension (softmax over another one would need
that one whole); the trace does not carry scalar arguments.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tmtrain.trace import Operands, Trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Operand:
    """One tensor of a loop nest."""

    row: int
    """In `tmtrain.trace.Operands`."""
    loop: int | None
    """The loop that cuts it; None: every slice touches all of it."""
    first_pass: int = 0
    """Pass of a two-pass operator in which it is touched first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopNest:
    """One operator, or one tensor of a foreach operator."""

    trips: tuple[int, ...]
    """Iterations of each loop, outermost first: the most pieces it can be cut into."""
    operands: tuple[Operand, ...]
    matrix_dims: tuple[str, ...] = ()
    """For each loop the dimension of the matrix product it runs over ("batch", "m", "n", "k"); () without a product."""
    passes: int = 1
    """How often the loops are run through."""


def names_in(*lines: str) -> frozenset[str]:
    """Return the names in lines of them.

    >>> sorted(names_in("sum mean", "amax"))
    ['amax', 'mean', 'sum']
    """
    return frozenset(name for line in lines for name in line.split())


_ROW_WISE = names_in(
    "_softmax _safe_softmax _softmax_backward_data _log_softmax _log_softmax_backward_data",
    "native_layer_norm native_layer_norm_backward _fused_rms_norm _fused_rms_norm_backward",
    "nll_loss_forward nll_loss_backward cross_entropy cross_entropy_backward",
    "native_dropout masked_fill where",
    "sum mean mean_backward amax var_mean argmax linalg_vector_norm",
    "gather copy_ _to_copy cat stack constant_pad_nd slice_backward select_backward",
    "fill_ fill zero_ zeros zeros_like new_zeros ones ones_like new_ones full full_like",
    "bernoulli_ normal_ uniform_",
    "max_pool2d_with_indices max_pool2d_with_indices_backward",
    "_adaptive_avg_pool2d _adaptive_avg_pool2d_backward",
)
_BATCH_NORM = names_in(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_functional _batch_norm_with_update",
    "native_batch_norm_backward batch_norm_backward cudnn_batch_norm cudnn_batch_norm_backward",
)
_EMBEDDING = names_in("embedding embedding_dense_backward")
SEEDS: dict[str, frozenset[int]] = {
    "_scaled_dot_product_flash_attention": frozenset(Operands.RESULT + i for i in (6, 7, 8)),
    "_scaled_dot_product_efficient_attention": frozenset(Operands.RESULT + i for i in (2, 3)),
}
"""Positions of results that hold the generator's state, a few bytes from which any part of the random numbers follows."""


def loop_nests(trace: Trace, op: int, rows: range) -> list[LoopNest]:
    """Return the loop nests of operator `op`, whose operands are `rows`; they run one after the other."""
    name = base_name(trace.operators.name[op])
    if name.startswith(("_foreach", "_fused")) and "rms" not in name:
        return _foreach(trace.operands, rows)
    if name in {"mm", "addmm"}:
        return [_matrix(trace, op, rows)]
    if name in {"bmm", "baddbmm"}:
        return [_leading(trace.operands, rows, most_dims=1, matrix_dims=("batch",))]
    if "scaled_dot_product" in name:
        # Heads and numbers per row; a seed of two elements is no batch of two.
        tensors = [row for row in rows if len(trace.operands.shape[row]) > 2]
        return [_leading(trace.operands, rows, cut_operands=tensors, most_dims=2, matrix_dims=("batch",))]
    if name.startswith("_flash_attention_"):
        return [_heads_behind(trace.operands, rows)]
    if name.startswith("convolution"):
        images = [row for row in rows if _is_image(trace.operands, row, backward="backward" in name)]
        return [_leading(trace.operands, rows, cut_operands=images, most_dims=1, matrix_dims=("m",))]
    if name in _BATCH_NORM:
        return [_two_pass(trace.operands, rows)]
    if name in _EMBEDDING:
        return [_embedding(trace.operands, rows, backward="backward" in name)]
    if trace.operators.is_pointwise[op]:
        return [_pointwise(trace.operands, rows)]
    if name in _ROW_WISE:
        return [_leading(trace.operands, rows, keep_last=True)]
    return [uncut(rows)]


def uncut(rows: Sequence[int]) -> LoopNest:
    """Return the nest of an operator that is taken whole."""
    return LoopNest(trips=(), operands=tuple(Operand(row=row, loop=None) for row in rows))


def base_name(qualified: str) -> str:
    """Return the operator's name without namespace and overload.

    >>> base_name("aten.mm.default")
    'mm'
    """
    return qualified.split(".")[1]


def ordered_dims(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Return how many leading dimensions vary slowest in memory, in order: along these a cut gives runs of bytes.

    >>> ordered_dims((4, 8, 16), (128, 16, 1)), ordered_dims((8, 16), (1, 8))
    (3, 0)
    """
    for i, size in enumerate(shape):
        if size == 1:
            continue
        if stride[i] == 0:
            return i
        inner = sum((shape[j] - 1) * stride[j] for j in range(i + 1, len(shape)))
        if stride[i] <= inner:
            return i
    return len(shape)


def _matrix(trace: Trace, op: int, rows: range) -> LoopNest:
    operands = trace.operands
    m, n, k = (int(column[op]) for column in (trace.operators.m, trace.operators.n, trace.operators.k))
    matrices = [row for row in rows if len(operands.shape[row]) == 2]
    left, right = [row for row in matrices if operands.position[row] < Operands.RESULT][-2:]
    loops: dict[int, tuple[int, int]] = {left: (0, 2), right: (2, 1)}
    cut_operands: list[Operand] = []
    for row in rows:
        if len(operands.shape[row]) != 2:  # the bias of addmm: every slice needs all of it
            cut_operands.append(Operand(row=row, loop=None))
            continue
        slow_first, slow_second = loops.get(row, (0, 1))
        # Only along the dimension that varies slowest in memory is a part of a matrix one run of bytes.
        ordered = operands.stride[row][0] >= operands.stride[row][1] or operands.shape[row][1] == 1
        loop = slow_first if ordered else slow_second
        expected = (m, n, k)[loop]
        has = operands.shape[row][0 if ordered else 1]
        cut_operands.append(Operand(row=row, loop=loop if has == expected else None))
    return LoopNest(trips=(m, n, k), operands=tuple(cut_operands), matrix_dims=("m", "n", "k"))


def _leading(
    operands: Operands,
    rows: Sequence[int],
    *,
    cut_operands: Sequence[int] | None = None,
    most_dims: int | None = None,
    keep_last: bool = False,
    matrix_dims: tuple[str, ...] = (),
    order: tuple[int, ...] = (),
) -> LoopNest:
    """One loop over the leading dimensions that the operands (or only `cut_operands`) share with the largest of them.

    Operands with as many dimensions as `order` has them in that order.
    """
    candidates = rows if cut_operands is None else cut_operands
    shapes, strides = (
        {row: _in_order(of[row], order) for row in rows} for of in (operands.shape, operands.stride)
    )
    largest = max(candidates, key=lambda row: prod(shapes[row]), default=None)
    if largest is None:
        return uncut(rows)
    shape = shapes[largest]
    dims = len(shape) - int(keep_last)
    dims = min(dims, most_dims) if most_dims is not None else dims
    follows: dict[int, int] = {}
    for row in candidates:
        agree = _agreement(shapes[row], shape)
        led = min(agree, ordered_dims(shapes[row], strides[row]))
        if prod(shapes[row][:led]) > 1:  # to agree in dimensions of size 1 only is to be broadcast
            follows[row] = led
    shared = min([dims, *follows.values()])
    trip = prod(shape[:shared])
    members = tuple(Operand(row=row, loop=0 if row in follows and shared else None) for row in rows)
    return LoopNest(trips=(trip,), operands=members, matrix_dims=matrix_dims)


def _in_order(numbers: tuple[int, ...], order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(numbers[i] for i in order) if len(numbers) == len(order) else numbers


def _heads_behind(operands: Operands, rows: range) -> LoopNest:
    """Flash attention: (batch, length, heads, width), or without batch where sequences are packed; (.., heads, length)."""
    dims = max((len(operands.shape[row]) for row in rows), default=0)
    if dims < 3:  # nothing of it is recorded
        return uncut(rows)
    batch = tuple(range(dims - 3))
    tensors = [row for row in rows if len(operands.shape[row]) >= dims - 1]
    return _leading(
        operands,
        rows,
        cut_operands=tensors,
        most_dims=dims - 2,
        matrix_dims=("batch",),
        order=(*batch, dims - 2, dims - 3, dims - 1),
    )


def _pointwise(operands: Operands, rows: Sequence[int]) -> LoopNest:
    """Broadcasting aligns shapes on the right: an operand with fewer dimensions serves every slice."""
    most = max((len(operands.shape[row]) for row in rows), default=0)
    return _leading(operands, rows, cut_operands=[row for row in rows if len(operands.shape[row]) == most])


def _is_image(operands: Operands, row: int, *, backward: bool) -> bool:
    """Input, output and their gradients have a batch dimension; weights and biases do not."""
    return int(operands.position[row]) in ({0, 1, Operands.RESULT} if backward else {0, Operands.RESULT})


def _agreement(shape: tuple[int, ...], with_shape: tuple[int, ...]) -> int:
    """Count the leading dimensions in which two shapes agree.

    A shape that agrees with the last dimensions too (the sum over the rows of a square matrix, its layer norm's weight)
    may follow either; it is taken to follow none, which costs a little memory and is right for both.
    """
    if len(shape) < len(with_shape) and shape == with_shape[len(with_shape) - len(shape) :]:
        return 0
    agree = 0
    for size, other in zip(shape, with_shape, strict=False):
        if size != other:
            break
        agree += 1
    return agree


def _two_pass(operands: Operands, rows: range) -> LoopNest:
    most = max((len(operands.shape[row]) for row in rows), default=0)
    nest = _leading(
        operands, rows, cut_operands=[row for row in rows if len(operands.shape[row]) == most], most_dims=1
    )
    # What the operator allocates and cuts is its result, which the second pass makes; statistics come of the first.
    members = tuple(
        Operand(
            row=o.row, loop=o.loop, first_pass=int(bool(operands.allocates[o.row]) and o.loop is not None)
        )
        for o in nest.operands
    )
    return LoopNest(trips=nest.trips, operands=members, passes=2 if nest.trips and nest.trips[0] > 1 else 1)


def _embedding(operands: Operands, rows: range, *, backward: bool) -> LoopNest:
    """Positions outside, rows of the table inside; indices and vectors follow the first, the table the second."""
    table_position = Operands.RESULT if backward else 0
    by_position = {int(operands.position[row]): row for row in rows}
    index_shape, table = operands.shape[by_position[1]], by_position[table_position]

    def loop_of(row: int) -> int | None:
        """A cut gives runs of bytes only where memory follows the loop: all dimensions of the index, rows of the table."""
        ordered = ordered_dims(operands.shape[row], operands.stride[row])
        return int(row == table) if ordered >= (1 if row == table else len(index_shape)) else None

    members = tuple(Operand(row=row, loop=loop_of(row)) for row in rows)
    return LoopNest(trips=(prod(index_shape), operands.shape[table][0]), operands=members)


def _foreach(operands: Operands, rows: range) -> list[LoopNest]:
    per_position: dict[int, int] = defaultdict(int)
    for row in rows:
        per_position[int(operands.position[row])] += 1
    longest = max(per_position.values(), default=0)
    items: dict[int, list[int]] = defaultdict(list)
    shared: list[int] = []
    for row in rows:
        is_list = per_position[int(operands.position[row])] == longest
        (items[int(operands.item[row])] if is_list else shared).append(row)
    return [_pointwise(operands, [*members, *shared]) for members in items.values()]
