"""FLOPs of whole steps: language models by the rule of six, image models by published counts."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import transformers
from tests.support.calls import works_of
from tests.support.thoroughness import rest_slow

from tmtrain.capturing import StepOptions, capture_model


def gpt(*, layers: int, width: int, vocabulary: int = 50257) -> tuple[int, int]:
    """Weights that each token meets, and layers times width of attention."""
    return layers * 12 * width**2 + vocabulary * width, layers * width


def bert(*, layers: int, width: int) -> tuple[int, int]:
    weights, attention = gpt(layers=layers, width=width, vocabulary=30522)
    return weights + width**2, attention


def llama(*, layers: int, width: int, inner: int, vocabulary: int) -> tuple[int, int]:
    return layers * (4 * width**2 + 3 * width * inner) + vocabulary * width, layers * width


def t5(*, layers: int, width: int, inner: int, vocabulary: int) -> tuple[int, int]:
    # The encoder's tokens meet its weights, and the keys and values of the decoder's second attention; three attentions.
    weights = layers * (4 + 4 + 4) * width**2 + 2 * layers * 2 * width * inner
    return weights + vocabulary * width, 3 * layers * width


LANGUAGE = {
    "gpt2": gpt(layers=12, width=768),
    "bert-large": bert(layers=24, width=1024),
    "gpt2-xl": gpt(layers=48, width=1600),
    "t5-large": t5(layers=24, width=1024, inner=4096, vocabulary=32128),
    "llama-2-7b": llama(layers=32, width=4096, inner=11008, vocabulary=32000),
}


@pytest.mark.parametrize("name", rest_slow(LANGUAGE))
def test_a_step_is_six_for_each_weight_and_token_and_attention(name: str) -> None:
    weights, width_of_all_layers = LANGUAGE[name]
    batch, length = 2, 128
    options = StepOptions(batch=batch, sequence=length, attention="eager", optimizer="sgd")
    trace = capture_model(name, options)
    # Kaplan et al., "Scaling Laws for Neural Language Models" (2020): 6 N D; attention: two products of each query with
    # each key, forward, and twice that backward, 12 s h for each layer and token.
    tokens = batch * length
    expected = 6 * weights * tokens + 12 * length * width_of_all_layers * tokens
    assert int(trace.operators.flops.sum()) == pytest.approx(expected, rel=0.01)


@pytest.mark.slow
def test_fused_causal_attention_counts_the_half_that_is_computed_and_the_scores_again() -> None:
    batch, length = 2, 128
    whole, causal = (
        capture_model(
            "llama-2-7b", StepOptions(batch=batch, sequence=length, attention=kind, optimizer="sgd")
        )
        for kind in ("eager", None)
    )
    one_product = 2 * batch * length**2 * 32 * 4096
    difference = int(whole.operators.flops.sum()) - int(causal.operators.flops.sum())
    assert difference == 6 * one_product - 7 * one_product * (length + 1) // (2 * length)


def residual_network() -> Any:
    return transformers.ResNetConfig(depths=[3, 8, 36, 3], layer_type="bottleneck", num_labels=1000)


def efficient_network() -> Any:
    return transformers.EfficientNetConfig(
        width_coefficient=1.0, depth_coefficient=1.0, hidden_dim=1280, image_size=224, num_labels=1000
    )


IMAGE: dict[str, tuple[Callable[[], Any], float]] = {
    # torchvision 0.20's weights, field `_ops` of their metadata: multiplications with their additions in 1e9, 224 x 224
    # (github.com/pytorch/vision, torchvision/models/*.py, read 2026-11-30).
    "mobilenet-v2": (lambda: transformers.MobileNetV2Config(num_labels=1000), 0.301),
    "resnet-152": (residual_network, 11.514),
    "convnext-t": (lambda: transformers.ConvNextConfig(num_labels=1000), 4.456),
    "efficientnet-b0": (efficient_network, 0.386),
}


@pytest.mark.parametrize("name", IMAGE)
def test_forward_is_what_was_published_and_backward_twice_that(name: str) -> None:
    config, giga_products = IMAGE[name]
    with torch.device("meta"):
        model = transformers.AutoModelForImageClassification.from_config(config()).train()
        images = torch.empty(1, 3, 224, 224)

    def flops(step: Callable[[], Any]) -> int:
        return sum(work.flops for _, work in works_of(step))

    with torch.no_grad():
        forward = flops(lambda: model(images))
    assert forward == pytest.approx(2e9 * giga_products, rel=0.01)
    # All but the gradient of the images.
    first = next(weight for weight in model.parameters() if weight.ndim == 4)
    step = flops(lambda: model(images).logits.sum().backward())
    positions = (224 // convolution_stride(model)) ** 2
    assert step == 3 * forward - 2 * first.numel() * positions


def convolution_stride(model: torch.nn.Module) -> int:
    return next(module for module in model.modules() if isinstance(module, torch.nn.Conv2d)).stride[0]
