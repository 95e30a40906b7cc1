"""Fused attention against loops over the scores that are needed."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.support.calls import works_of
from torch.nn import functional

from tmtrain.counting import OperatorCall, OperatorWork, count_work
from tmtrain.counting.attention import ATTENTION, AttentionForm

aten = torch.ops.aten
BATCH, HEADS, ROWS, KEYS, WIDTH, VALUE_WIDTH = 2, 3, 5, 7, 8, 8


def scores(rows: int, keys: int, *, is_causal: bool) -> int:
    return sum(1 for row in range(rows) for key in range(keys) if not is_causal or key <= row)


def by_hand(rows: int, keys: int, *, is_causal: bool, value: int = VALUE_WIDTH) -> tuple[int, int]:
    """Forward: each score is a product over the width, and weighs a value. Backward: the score again, the gradients of
    value, score, query and key."""
    count = BATCH * HEADS * scores(rows, keys, is_causal=is_causal)
    return 2 * count * (WIDTH + value), 2 * count * (3 * WIDTH + 2 * value)


def tensors(rows: int, keys: int, value: int = VALUE_WIDTH, *, heads: int = HEADS) -> list[torch.Tensor]:
    shapes = (HEADS, rows, WIDTH), (heads, keys, WIDTH), (heads, keys, value)
    return [torch.ones(BATCH, *shape, requires_grad=True) for shape in shapes]


@pytest.mark.parametrize(
    ("rows", "keys", "is_causal"), [(5, 7, False), (6, 6, True), (1, 1, True), (5, 7, True)]
)
def test_on_cpu(rows: int, keys: int, is_causal: bool) -> None:
    def step() -> None:
        functional.scaled_dot_product_attention(*tensors(rows, keys), is_causal=is_causal).sum().backward()

    works = [
        work
        for name, work in works_of(step)
        if name.startswith("_scaled_dot_product_flash_attention_for_cpu")
    ]
    assert tuple(work.flops for work in works) == by_hand(rows, keys, is_causal=is_causal)
    assert [work[1:] for work in works] == [(BATCH * HEADS, rows, keys, WIDTH)] * 2


def test_grouped_heads_count_those_of_the_query() -> None:
    query, key, value = tensors(4, 4, heads=1)
    [(_, work)] = works_of(
        lambda: functional.scaled_dot_product_attention(query, key, value, enable_gqa=True)
    )
    assert work.flops == by_hand(4, 4, is_causal=False)[0]


def test_values_of_another_width() -> None:
    query, key, value = (t.to("meta") for t in tensors(ROWS, KEYS, 16))
    [(_, work)] = works_of(
        lambda: aten._scaled_dot_product_efficient_attention(query, key, value, None, True)
    )
    assert work.flops == by_hand(ROWS, KEYS, is_causal=False, value=16)[0]


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(
    "call",
    [
        lambda q, c: aten._scaled_dot_product_flash_attention(q, q, q, 0.0, c),
        lambda q, c: aten._scaled_dot_product_efficient_attention(q, q, q, None, True, 0.0, c),
        lambda q, c: aten._scaled_dot_product_cudnn_attention(q, q, q, None, True, 0.0, c),
        lambda q, c: aten._flash_attention_forward(
            *[q.transpose(1, 2)] * 3, None, None, ROWS, ROWS, 0.0, c, False
        ),
        lambda q, c: aten._efficient_attention_forward(
            *[q.transpose(1, 2)] * 3, None, None, None, None, None, 0.0, int(c)
        ),
    ],
)
def test_on_accelerators(call: Callable[[torch.Tensor, bool], Any], is_causal: bool) -> None:
    query = torch.ones(BATCH, HEADS, ROWS, WIDTH, device="meta", dtype=torch.bfloat16)
    [(_, work)] = works_of(lambda: call(query, is_causal))
    assert work.flops == by_hand(ROWS, ROWS, is_causal=is_causal)[0]


def test_packed_sequences_count_as_equally_long_ones() -> None:
    rows, ends = (4 * ROWS, HEADS, WIDTH), (5,)
    arguments = [rows, rows, rows, ends, ends, ROWS, ROWS, 0.0, True, False]
    work = count_work(OperatorCall(name="_flash_attention_forward", arguments=arguments, results=[rows]))
    one = HEADS * scores(ROWS, ROWS, is_causal=True) * 2 * 2 * WIDTH
    assert work == OperatorWork(4 * one, 4 * HEADS, ROWS, ROWS, WIDTH)


@pytest.mark.parametrize(
    "name", [name for name, form in ATTENTION.items() if isinstance(form, AttentionForm)]
)
def test_arguments_are_where_torch_has_them(name: str) -> None:
    form = ATTENTION[name]
    assert isinstance(form, AttentionForm)
    names = [argument.name for argument in getattr(aten, name).default._schema.arguments]
    assert names[form.query] == "query"
    assert names[form.causal] in ("is_causal", "custom_mask_type")
    assert form.is_backward == names[0].startswith("grad")
    assert form.ends is None or names[form.ends] in ("cum_seq_q", "cu_seqlens_q")


def test_the_fast_path_of_evaluation_counts_as_the_slow_one() -> None:
    layer = torch.nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True).eval()
    tokens = torch.ones(2, 6, 16)

    def run() -> int:
        return sum(work.flops for _, work in works_of(lambda: layer(tokens)))

    with torch.no_grad():
        fast = run()
    assert fast == run() > 0
