"""FLOPs and dimensions of matrix products, of whatever form, against loops and against the operators they are made of."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.support.calls import works_of

from tmtrain.counting import OperatorCall, OperatorWork, count_work, product_work

aten = torch.ops.aten


def ones(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype, device="meta")


def multiplied(*loops: int) -> int:
    """FLOPs of nested loops around one multiplication and one addition."""
    return 2 * sum(1 for _ in itertools.product(*map(range, loops)))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: aten.mm(ones(3, 5), ones(5, 7)), (1, 3, 7, 5)),
        (lambda: aten.addmm(ones(7), ones(3, 5), ones(5, 7)), (1, 3, 7, 5)),
        (lambda: aten.addmm_(ones(3, 7), ones(3, 5), ones(5, 7)), (1, 3, 7, 5)),
        (lambda: aten._addmm_activation(ones(7), ones(3, 5), ones(5, 7)), (1, 3, 7, 5)),
        (lambda: aten._int_mm(ones(32, 8, dtype=torch.int8), ones(8, 16, dtype=torch.int8)), (1, 32, 16, 8)),
        (lambda: aten.bmm(ones(2, 3, 5), ones(2, 5, 7)), (2, 3, 7, 5)),
        (lambda: aten.baddbmm(ones(1), ones(2, 3, 5), ones(2, 5, 7)), (2, 3, 7, 5)),
        (lambda: aten.addbmm(ones(3, 7), ones(2, 3, 5), ones(2, 5, 7)), (2, 3, 7, 5)),
        (lambda: aten.mv(ones(3, 5), ones(5)), (1, 3, 1, 5)),
        (lambda: aten.addmv(ones(3), ones(3, 5), ones(5)), (1, 3, 1, 5)),
        (lambda: aten.dot(ones(5), ones(5)), (1, 1, 1, 5)),
        (lambda: aten.vdot(ones(5), ones(5)), (1, 1, 1, 5)),
        (lambda: aten.addr(ones(3, 5), ones(3), ones(5)), (1, 3, 5, 1)),
        (lambda: aten._euclidean_dist(ones(3, 5), ones(4, 5)), (1, 3, 4, 7)),
    ],
)
def test_dimensions_and_flops(function: Callable[[], Any], expected: tuple[int, int, int, int]) -> None:
    [(_, work)] = works_of(function)
    assert work == OperatorWork(multiplied(*expected), *expected)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda: aten.linear(ones(2, 3, 5), ones(7, 5), None), (1, 6, 7, 5)),
        (lambda: aten.matmul(ones(4, 1, 3, 5), ones(2, 5, 7)), (8, 3, 7, 5)),
        (lambda: aten.matmul(ones(4, 3, 5), ones(5)), (1, 12, 1, 5)),
        (lambda: aten.matmul(ones(5), ones(5, 7)), (1, 1, 7, 5)),
        (lambda: aten.einsum("bik,bkj->bij", [ones(2, 3, 5), ones(2, 5, 7)]), (2, 3, 7, 5)),
        (
            lambda: aten.conv2d(ones(2, 4, 6, 6), ones(6, 2, 3, 3), None, [1, 1], [0, 0], [1, 1], 2),
            (2, 32, 3, 18),
        ),
    ],
)
def test_operators_that_inference_leaves_whole(
    function: Callable[[], Any], expected: tuple[int, int, int, int]
) -> None:
    with torch.inference_mode():
        [(_, work)] = works_of(function)
    assert work == product_work(*expected)
    # Elsewhere they are taken apart, and their parts add up to the same.
    assert sum(part.flops for _, part in works_of(function)) == work.flops


def test_a_sum_of_many_operands_has_no_formula() -> None:
    call = OperatorCall(name="einsum", arguments=["ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]], results=[(2, 5)])
    assert count_work(call) == OperatorWork()


@pytest.mark.parametrize(
    ("shapes", "sizes", "flops"),
    [
        # 48 tokens to 3 experts, 16 wide, 8 wide: whoever gets how many, each token meets one matrix.
        ([(48, 16), (3, 16, 8)], [16, 16, 16], multiplied(48, 16, 8)),
        ([(48, 16), (3, 16, 8)], [8, 24, 16], multiplied(48, 16, 8)),
        ([(3, 16, 8), (8, 48)], [16, 16, 16], multiplied(16, 8, 48)),
        ([(16, 48), (48, 8)], [16, 16, 16], multiplied(16, 48, 8)),
        ([(3, 48, 16), (3, 16, 8)], None, multiplied(3, 48, 16, 8)),
    ],
)
def test_grouped_products(shapes: list[tuple[int, ...]], sizes: list[int] | None, flops: int) -> None:
    a, b = (torch.ones(shape, dtype=torch.bfloat16) for shape in shapes)
    ends = None if sizes is None else torch.tensor(sizes).cumsum(0).to(torch.int32)
    works = works_of(
        lambda: aten._grouped_mm(a.to("meta"), b.to("meta"), ends if ends is None else ends.to("meta"))
    )
    assert [work.flops for _, work in works] == [flops]
    # And group by group, as products of their own.
    if ends is not None:
        cuts = list(itertools.pairwise([0, *ends.tolist()]))
        parts = [group(a, b, start, stop, i) for i, (start, stop) in enumerate(cuts)]
        assert sum(2 * left.shape[0] * left.shape[1] * right.shape[1] for left, right in parts) == flops


def group(
    a: torch.Tensor, b: torch.Tensor, start: int, stop: int, index: int
) -> tuple[torch.Tensor, torch.Tensor]:
    if a.ndim == b.ndim == 2:
        return a[:, start:stop], b[start:stop]
    return (a[start:stop], b[index]) if a.ndim == 2 else (a[index], b[:, start:stop])


def test_products_in_a_list() -> None:
    call = OperatorCall(name="_foreach_mm", arguments=[[(2, 3), (4, 5)], [(3, 7), (5, 6)]], results=[])
    assert count_work(call) == OperatorWork(multiplied(2, 3, 7) + multiplied(4, 5, 6), 1, 2, 7, 3)


def test_gradients_that_are_asked_for() -> None:
    one = multiplied(6, 7, 5)
    for mask, products in ([True, True, True], 2), ([False, True, True], 1), ([False, False, True], 0):
        call = OperatorCall(
            name="linear_backward", arguments=[(6, 5), (6, 7), (7, 5), mask], results=[(6, 5), (7, 5), (7,)]
        )
        assert count_work(call) == OperatorWork(products * one, 1, 6, 7, 5)


def test_bilinear_and_its_gradients_count_as_the_products_they_are_made_of() -> None:
    rows, left, right, out = 4, 3, 5, 2
    layer = torch.nn.Bilinear(left, right, out, bias=False)
    a, b = torch.ones(rows, left, requires_grad=True), torch.ones(rows, right, requires_grad=True)
    works = works_of(lambda: layer(a, b).sum().backward())
    forward = works[0][1].flops
    # For each output: the first factor times its matrix, then a sum with the second.
    assert forward == multiplied(out, rows, left, right) + multiplied(out, rows, right)
    # Gradients, too, for each output: two tensors are multiplied (summed: twice the work), and then with the third.
    of_left = out * (rows * left * right + 2 * rows * left * right)
    of_weight = out * (rows * left + 2 * rows * left * right)
    of_right = out * (2 * rows * left * right + rows * right)
    assert sorted(work.flops for _, work in works[1:]) == sorted((of_left, of_weight, of_right))


def test_distances() -> None:
    [(_, forward)] = works_of(lambda: aten._cdist_forward(ones(2, 3, 5), ones(2, 4, 5), 1.0, None))
    assert forward == OperatorWork(flops=3 * 2 * 3 * 4 * 5)
    [(_, pairs)] = works_of(lambda: aten._pdist_forward(torch.ones(6, 5), 2.0))
    assert pairs.flops == 3 * 5 * len(list(itertools.combinations(range(6), 2)))


def test_fourier_transforms() -> None:
    # 3 transforms of 8 numbers: 5 N log2 N; half of it where they are real.
    signal = torch.ones(3, 8)
    [(_, of_real), (_, back)] = works_of(lambda: torch.fft.irfft(torch.fft.rfft(signal)))
    [(_, of_complex)] = works_of(lambda: torch.fft.fft(torch.ones(3, 8, dtype=torch.complex64)))
    assert (of_real.flops, back.flops, of_complex.flops) == (180, 180, 360)


def test_another_call_of_that_name_has_no_work() -> None:
    for arguments in ([], [(3,)], [None, None], ["a", "b"], [(3, 5), None]):
        assert count_work(OperatorCall(name="mm", arguments=arguments, results=[])) == OperatorWork()
