"""Recurrent layers as one operator against the same layers step by step, whose every product is counted."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from tests.support.calls import works_of

STEPS, BATCH, INTO, HIDDEN = 7, 3, 4, 5


@contextmanager
def taken_apart() -> Generator[None]:
    """Layers run as the products that they are made of. (torch's own switch warns of something else.)"""
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(True)


def flops(function: Callable[[], Any]) -> int:
    return sum(work.flops for _, work in works_of(function))


@pytest.mark.parametrize("options", [{}, {"num_layers": 2}, {"bidirectional": True}, {"batch_first": True}])
def test_an_lstm_layer_by_hand_and_by_its_products(options: dict[str, Any]) -> None:
    layer = torch.nn.LSTM(INTO, HIDDEN, **options)
    shape = (BATCH, STEPS, INTO) if options.get("batch_first") else (STEPS, BATCH, INTO)
    sequence = torch.ones(shape, requires_grad=True)
    stack = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    state = [torch.ones(stack, BATCH, HIDDEN, requires_grad=True) for _ in range(2)]

    def step() -> None:
        layer(sequence, state)[0].sum().backward()

    whole = flops(step)
    assert any(name.startswith("mkldnn_rnn_layer") for name, _ in works_of(step))
    weights = sum(weight.numel() for weight in layer.parameters() if weight.ndim == 2)
    assert whole == 3 * 2 * STEPS * BATCH * weights
    with taken_apart():
        assert whole == flops(step)


def test_the_dimensions_are_those_of_one_step() -> None:
    layer = torch.nn.LSTM(INTO, HIDDEN)
    work = dict(works_of(lambda: layer(torch.ones(STEPS, BATCH, INTO))))["mkldnn_rnn_layer.default"]
    assert (work.batch, work.m, work.n, work.k) == (STEPS, BATCH, 4 * HIDDEN, HIDDEN)


@pytest.mark.parametrize("kind", [torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN])
def test_what_inference_leaves_whole(kind: Any) -> None:
    layer, sequence = kind(INTO, HIDDEN, num_layers=2), torch.ones(STEPS, BATCH, INTO)
    rows = torch.nn.utils.rnn.pack_sequence([torch.ones(n, INTO) for n in (5, 3, 2)])
    with taken_apart():
        for given in sequence, rows:
            with torch.inference_mode():
                whole = flops(lambda given=given: layer(given))
            assert whole == flops(lambda given=given: layer(given)) > 0


@pytest.mark.parametrize("is_batch_first", [False, True])
def test_what_a_gpu_runs(is_batch_first: bool) -> None:
    layer = torch.nn.LSTM(INTO, HIDDEN, num_layers=2)
    weights = [weight.detach().to("meta") for weight in layer.parameters()]
    shape = (BATCH, STEPS, INTO) if is_batch_first else (STEPS, BATCH, INTO)
    sequence, state = (torch.ones(s, device="meta") for s in (shape, (2, BATCH, HIDDEN)))
    call = (
        sequence,
        weights,
        4,
        None,
        state,
        state,
        2,
        HIDDEN,
        0,
        2,
        is_batch_first,
        0.0,
        True,
        False,
        [],
        None,
    )
    [(name, work)] = works_of(lambda: torch.ops.aten._cudnn_rnn(*call))
    assert name == "_cudnn_rnn.default"
    assert work.flops == flops(lambda: layer(torch.ones(STEPS, BATCH, INTO)))
    assert (work.batch, work.m, work.n, work.k) == (STEPS, BATCH, 4 * HIDDEN, HIDDEN)
