"""FLOPs and matrix dimensions against numbers worked out by hand, on real operators."""

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from tmtrain.capturing.signature import signature_of
from tmtrain.capturing.work import NO_WORK, OperatorWork, work_of

aten = torch.ops.aten


class Works(TorchDispatchMode):
    """Collects the work of every operator that has some."""

    def __init__(self) -> None:
        super().__init__()
        self.work_by_name: dict[str, OperatorWork] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        work = work_of(func, args, kwargs or {}, out)
        if work != NO_WORK:
            self.work_by_name[func.__name__] = work
        return out


def works(function) -> dict[str, OperatorWork]:
    with Works() as collected:
        function()
    return collected.work_by_name


def product(batch: int, m: int, n: int, k: int) -> OperatorWork:
    return OperatorWork(flops=2 * batch * m * n * k, batch=batch, m=m, n=n, k=k)


@pytest.mark.parametrize(
    ("function", "name", "expected"),
    [
        (lambda: torch.ones(3, 5) @ torch.ones(5, 7), "mm.default", product(1, 3, 7, 5)),
        (
            lambda: torch.addmm(torch.ones(7), torch.ones(3, 5), torch.ones(5, 7)),
            "addmm.default",
            product(1, 3, 7, 5),
        ),
        (
            lambda: torch.bmm(torch.ones(2, 3, 5), torch.ones(2, 5, 7)),
            "bmm.default",
            product(2, 3, 7, 5),
        ),
        (
            lambda: torch.baddbmm(torch.ones(1), torch.ones(2, 3, 5), torch.ones(2, 5, 7)),
            "baddbmm.default",
            product(2, 3, 7, 5),
        ),
        (lambda: torch.mv(torch.ones(3, 5), torch.ones(5)), "mv.default", product(1, 3, 1, 5)),
        (lambda: torch.dot(torch.ones(5), torch.ones(5)), "dot.default", product(1, 1, 1, 5)),
        (lambda: torch.ones(3) + 1, "none", None),
    ],
)
def test_products(function, name: str, expected: OperatorWork | None) -> None:
    assert works(function).get(name) == expected


def test_convolution_and_its_backward() -> None:
    # 2 images, 8 channels in 4 groups to 12, kernel 3 x 3 on 10 x 10 without padding: 8 x 8 positions.
    images = torch.ones(2, 8, 10, 10, requires_grad=True)
    layer = torch.nn.Conv2d(8, 12, 3, groups=4)
    work_by_name = works(lambda: layer(images).sum().backward())
    forward = product(4, 2 * 64, 3, 2 * 9)
    assert work_by_name["convolution.default"] == forward
    backward = work_by_name["convolution_backward.default"]
    assert (backward.batch, backward.m, backward.n, backward.k) == (4, 128, 3, 18)
    assert backward.flops > 0


def test_transposed_convolution() -> None:
    layer = torch.nn.ConvTranspose2d(6, 4, 2, stride=2)
    work_by_name = works(lambda: layer(torch.ones(3, 6, 5, 5)))
    assert work_by_name["convolution.default"] == product(1, 3 * 25, 4 * 4, 6)


def test_attention_on_cpu_and_its_backward() -> None:
    query, key, value = (torch.ones(2, 3, length, 8, requires_grad=True) for length in (5, 7, 7))
    work_by_name = works(lambda: functional.scaled_dot_product_attention(query, key, value).sum().backward())
    forward = work_by_name["_scaled_dot_product_flash_attention_for_cpu.default"]
    backward = work_by_name["_scaled_dot_product_flash_attention_for_cpu_backward.default"]
    one_product = 2 * (2 * 3) * 5 * 7 * 8
    assert forward == OperatorWork(flops=2 * one_product, batch=6, m=5, n=7, k=8)
    # Scores recomputed, then the gradients of value, scores, query and key.
    assert backward == OperatorWork(flops=5 * one_product, batch=6, m=5, n=7, k=8)


def test_a_whole_transformer_block_has_the_flops_of_torchs_counter() -> None:
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    tokens = torch.ones(2, 6, 16)

    def step() -> None:
        layer(tokens).sum().backward()

    total = sum_of_work(step)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        step()
    attention = 2 * (2 * 2) * 6 * 6 * 8 * (2 + 5)
    assert total == counter.get_total_flops() + attention


def sum_of_work(function) -> int:
    class Sum(Works):
        total = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            self.total += work_of(func, args, kwargs or {}, out).flops
            return out

    with Sum() as summed:
        function()
    return summed.total


@pytest.mark.parametrize(
    ("func", "reads", "writes"),
    [
        (aten.add.Tensor, ["self", "other"], []),
        (aten.add_.Tensor, ["self", "other"], ["self"]),
        (aten.copy_.default, ["src"], ["self"]),
        (aten.zero_.default, [], ["self"]),
        (aten.mul.out, ["self", "other"], ["out"]),
        (aten.cat.default, ["tensors"], []),
        (aten._foreach_add_.List, ["self", "other"], ["self"]),
        (
            aten.native_batch_norm.default,
            ["input", "weight", "bias", "running_mean", "running_var"],
            ["running_mean", "running_var"],
        ),
        (
            aten._native_batch_norm_legit.default,
            ["input", "weight", "bias", "running_mean", "running_var"],
            ["running_mean", "running_var"],
        ),
    ],
)
def test_what_an_operator_reads_and_writes(func, reads: list[str], writes: list[str]) -> None:
    arguments = signature_of(func).arguments
    assert [argument.name for argument in arguments if argument.reads] == reads
    assert [argument.name for argument in arguments if argument.writes] == writes


def test_random_operators() -> None:
    ones = torch.ones(1)
    attention = signature_of(aten._scaled_dot_product_flash_attention.default)
    assert signature_of(aten.bernoulli_.float).draws((ones, 0.5))
    assert not signature_of(aten.add.Tensor).draws((ones, ones))
    assert attention.draws((ones, ones, ones, 0.1))
    assert not attention.draws((ones, ones, ones, 0.0))
    assert not attention.draws((ones, ones, ones))
