"""The zoo of 2026: published parameters, and steps captured on fake tensors, small ones of each kind and all whole ones."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.support.calls import works_of
from tests.support.thoroughness import rest_slow
from torch._subclasses.fake_tensor import FakeTensorMode

from tmtrain.capturing import ZOO, StepOptions, ZooModel, capture_model
from tmtrain.capturing.fake import capture_zoo_model
from tmtrain.capturing.jobs.catalog import find_model, resolve_options
from tmtrain.capturing.jobs.zoo import build_job
from tmtrain.capturing.pretending.values import small_values
from tmtrain.counting import uncounted_operators
from tmtrain.trace import Phase, Role, Trace

PARAMETERS = {
    # Those of the published weights (huggingface.co, "Model size" of the safetensors files; read 2026-11-30).
    "convnext-large": 197_767_336,
    "llama-3-8b": 8_030_261_248,
    # Hu et al.: beside them 32 layers of 8 x (4096 + 4096) and 8 x (4096 + 1024).
    "llama-3-8b-lora": 8_030_261_248 + 3_407_872,
    "llama-3-70b": 70_553_706_496,
    "llama-3-405b": 405_853_388_800,
    "qwen3-8b": 8_190_735_360,
    "mixtral-8x7b": 46_702_792_704,
    "qwen3-235b-a22b": 235_093_634_560,
    "gpt-oss-20b": 20_914_757_184,
    "mamba-2-7b": 7_285_403_648,
    "whisper-large": 1_543_490_560,
    # Peebles and Xie, table 4: 675 million; with the table of positions, which is not trained.
    "dit-xl": 675_129_632,
    # Dosovitskiy et al., "An Image is Worth 16x16 Words" (2021), table 1: 632 million.
    "vit-huge": 632_045_800,
}
SMALL: Mapping[str, dict[str, Any]] = {
    "mixtral-8x7b": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "qwen3-235b-a22b": {
        "hidden_size": 32,
        "moe_intermediate_size": 16,
        "num_attention_heads": 4,
        "head_dim": 8,
        "num_experts": 8,
        "num_experts_per_tok": 2,
    },
    "gpt-oss-20b": {
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": 8,
    },
    "llama-3-8b-lora": {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    },
    "mamba-2-7b": {"hidden_size": 32, "num_heads": 4, "head_dim": 16, "state_size": 8, "n_groups": 2},
    "convnext-large": {"depths": [1, 1], "hidden_sizes": [8, 16], "num_stages": 2, "image_size": 32},
    "whisper-large": {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        "max_source_positions": 16,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 3,
    },
    "dit-xl": {"width": 32, "layers": 2, "heads": 2, "side": 8},
}


def small(name: str, **fields: Any) -> ZooModel:
    """The architecture of a model of the zoo with two layers and few numbers."""
    model = find_model(name)
    fewer = {"vocab_size": 128, "num_hidden_layers": 2} if model.sequence else {}
    layers = {key: value for key, value in fewer.items() if key in model.fields}
    return replace(
        model,
        batch=2,
        sequence=model.sequence and 16,
        fields={**model.fields, **layers, **SMALL[name], **fields},
    )


def captured(model: ZooModel, **options: Any) -> Trace:
    return capture_zoo_model(model, resolve_options(model, StepOptions(**options)))


@pytest.mark.parametrize("name", rest_slow(PARAMETERS, quick=1))
def test_parameters_are_the_published_ones(name: str) -> None:
    model = ZOO[name]
    with FakeTensorMode(), small_values():
        job = build_job(model, resolve_options(model, StepOptions()))
    assert sum(parameter.numel() for parameter in job.model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", rest_slow(SMALL, quick=3))
def test_a_small_one_of_each_kind_is_captured_and_counted(name: str) -> None:
    model = small(name)
    trace = captured(model, optimizer="sgd")
    assert trace.operators.flops.sum() > 0
    assert uncounted_operators(trace) == {}
    assert dict(model.notes).items() <= trace.options.items()


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_every_model_is_captured_and_counted(name: str) -> None:
    trace = capture_model(name)
    assert uncounted_operators(trace) == {}
    assert set(trace.operators.phase.tolist()) >= {Phase.FORWARD, Phase.BACKWARD, Phase.OPTIMIZER}


def test_a_mixture_works_as_much_as_its_routed_tokens_whoever_gets_them() -> None:
    # On real tensors and expert by expert, as transformers has it without grouped products.
    model = small("mixtral-8x7b")
    options = resolve_options(model, StepOptions(optimizer="sgd", attention="eager"))
    torch.manual_seed(0)
    job = build_job(model, options)
    job.model.set_experts_implementation("eager")
    for parameter in job.model.parameters():
        torch.nn.init.normal_(parameter)
    by_expert = sum(work.flops for _, work in works_of(job.step))
    assert captured(model, optimizer="sgd", attention="eager").operators.flops.sum() == by_expert


def test_windows_count_the_scores_in_them() -> None:
    length, window, heads, width, batch = 16, 8, 4, 16, 2
    trace = captured(small("gpt-oss-20b"), optimizer="sgd")
    o = trace.operators
    flops = [int(o.flops[op]) for op in range(len(o)) if "_flash_attention_forward" in o.name[op]]
    scores = sum(1 for row in range(length) for key in range(length) if 0 <= row - key < window)
    assert flops == [2 * batch * heads * scores * 2 * width]
    backward = [
        int(o.flops[op]) for op in range(len(o)) if o.name[op] == "aten._flash_attention_backward.default"
    ]
    assert backward == [2 * batch * heads * scores * 5 * width]


def test_adapters_alone_are_trained() -> None:
    trace = captured(small("llama-3-8b-lora"), optimizer="adamw")
    s = trace.storages
    trained = {
        name
        for name, role in zip(s.name, s.role, strict=True)
        if role == Role.OPTIMIZER_STATE and "exp_avg" in name
    }
    assert len(trained) == 2 * 2 * 2 * 2  # moments, projections, matrices of each, layers
    assert all(".down." in name or ".up." in name for name in trained)
    written = {int(row) for row in trace.operands.storage[trace.operands.writes]}
    frozen = [
        i
        for i, name in enumerate(s.name)
        if ".base.weight" in name or ("mlp" in name and s.role[i] == Role.PARAMETER)
    ]
    assert frozen
    assert not written & set(frozen)


def test_a_frozen_weight_has_no_gradient_product() -> None:
    whole = captured(replace(small("llama-3-8b-lora"), adapter_rank=None), optimizer="sgd")
    adapted = captured(small("llama-3-8b-lora"), optimizer="sgd")

    def backward(trace: Trace) -> int:
        return int(trace.operators.flops[trace.operators.phase == Phase.BACKWARD].sum())

    assert backward(adapted) < 0.62 * backward(whole)


@pytest.mark.slow
def test_the_diffusion_transformer_multiplies_as_often_as_published() -> None:
    # Peebles and Xie, table 4: DiT-XL/2 at 256 x 256 takes 118.64 G multiplications with additions.
    trace = capture_model("dit-xl", StepOptions(batch=1, optimizer="sgd"))
    forward = int(trace.operators.flops[trace.operators.phase == Phase.FORWARD].sum())
    assert forward == pytest.approx(2 * 118.64e9, rel=0.01)
