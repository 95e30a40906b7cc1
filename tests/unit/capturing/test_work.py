"""What an operator reads, writes, draws and works, from its call. The formulas are tested in `counting`."""

import pytest
import torch
from tests.support.calls import works_of
from torch.utils.flop_counter import FlopCounterMode

from tmtrain.capturing.signature import signature_of

aten = torch.ops.aten


def test_a_whole_transformer_block_has_the_flops_of_torchs_counter() -> None:
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
    tokens = torch.ones(2, 6, 16)

    def step() -> None:
        layer(tokens).sum().backward()

    total = sum(work.flops for _, work in works_of(step))
    with FlopCounterMode(display=False) as counter:
        step()
    attention = 2 * (2 * 2) * 6 * 6 * 8 * (2 + 5)
    assert total == counter.get_total_flops() + attention


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
