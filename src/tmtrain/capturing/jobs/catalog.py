"""The models of the zoo and their default steps, as data. Imports no torch.

Fields that are left out keep the default of the transformers configuration, which is that of the published model
(GPT-2 small, BERT-base, ViT-base, T5-small, Llama 7B). Dropout is as published there.
"""

import difflib
from collections.abc import Mapping
from typing import get_args

from tmtrain.capturing.jobs.models.language import LANGUAGE_MODELS
from tmtrain.capturing.jobs.models.mixtures import MIXTURES
from tmtrain.capturing.jobs.models.others import OTHER_MODELS
from tmtrain.capturing.jobs.models.zoo_model import ZooModel
from tmtrain.capturing.jobs.options import (
    Attention,
    Checkpointing,
    Operators,
    OptimizerName,
    Precision,
    ResolvedOptions,
    StepOptions,
)
from tmtrain.errors import InputError

_MODELS = (
    ZooModel(
        name="gpt2-tiny",
        config="GPT2Config",
        task="CausalLM",
        batch=2,
        sequence=16,
        max_sequence=64,
        fields={
            "n_layer": 2,
            "n_embd": 32,
            "n_head": 2,
            "n_positions": 64,
            "vocab_size": 128,
            "bos_token_id": 0,
            "eos_token_id": 0,
        },
    ),
    ZooModel(name="gpt2", config="GPT2Config", task="CausalLM", batch=4, sequence=256, max_sequence=1024),
    ZooModel(
        name="gpt2-xl",
        config="GPT2Config",
        task="CausalLM",
        batch=8,
        sequence=1024,
        max_sequence=1024,
        fields={"n_layer": 48, "n_embd": 1600, "n_head": 25},
    ),
    ZooModel(
        name="bert-large",
        config="BertConfig",
        task="MaskedLM",
        batch=32,
        sequence=512,
        max_sequence=512,
        fields={
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
        },
    ),
    ZooModel(
        name="vit-large",
        config="ViTConfig",
        task="ImageClassification",
        batch=64,
        fields={
            "hidden_size": 1024,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "intermediate_size": 4096,
            "image_size": 224,
            "patch_size": 16,
            "num_labels": 1000,
        },
    ),
    ZooModel(
        name="resnet-152",
        config="ResNetConfig",
        task="ImageClassification",
        batch=128,
        attends=False,
        blocks=r"resnet\.encoder\.stages\.\d+\.layers\.\d+",
        fields={"depths": [3, 8, 36, 3], "layer_type": "bottleneck", "num_labels": 1000},
    ),
    ZooModel(
        name="t5-large",
        config="T5Config",
        task="Seq2SeqLM",
        batch=8,
        sequence=512,
        fields={
            "d_model": 1024,
            "d_kv": 64,
            "d_ff": 4096,
            "num_layers": 24,
            "num_heads": 16,
            "decoder_start_token_id": 0,
        },
    ),
    ZooModel(
        name="llama-2-7b",
        config="LlamaConfig",
        task="CausalLM",
        batch=4,
        sequence=2048,
        max_sequence=4096,
        fields={"max_position_embeddings": 4096},
    ),
    ZooModel(
        name="gpt3-175b",
        config="GPT2Config",
        task="CausalLM",
        batch=1,
        sequence=2048,
        max_sequence=2048,
        fields={"n_layer": 96, "n_embd": 12288, "n_head": 96, "n_positions": 2048},
    ),
)
ZOO: Mapping[str, ZooModel] = {
    model.name: model for model in (*_MODELS, *LANGUAGE_MODELS, *MIXTURES, *OTHER_MODELS)
}
"""The models by name."""


def find_model(name: str) -> ZooModel:
    """Return the model of that name.

    Raises:
        InputError: there is none; lists those that there are.

    >>> find_model("gpt2-xl").batch
    8
    """
    if name in ZOO:
        return ZOO[name]
    if name.endswith(".py"):
        raise InputError(f"{name} does not name a function: write {name}:FUNCTION")
    near = difflib.get_close_matches(name, ZOO, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise InputError(
        f"unknown model {name!r}{hint}: choose one of {', '.join(ZOO)}, or give FILE.py:FUNCTION for your own"
    )


def resolve_options(model: ZooModel, options: StepOptions) -> ResolvedOptions:
    """Return the options with the model's defaults filled in.

    Raises:
        InputError: a value out of range, or a choice that the model does not have.

    >>> resolve_options(find_model("gpt2-xl"), StepOptions(batch=2)).sequence
    1024
    """
    _check_choices(model, options)
    return ResolvedOptions(
        batch=options.batch or model.batch,
        sequence=options.sequence or model.sequence,
        precision=options.precision or ("bf16" if model.sequence is None else "bf16-mixed"),
        attention=options.attention or ("fused" if model.attends else None),
        operators=options.operators or "accelerator",
        optimizer=options.optimizer or "adamw",
        checkpointing=options.checkpointing,
    )


def _check_choices(model: ZooModel, options: StepOptions) -> None:
    for name in ("batch", "sequence"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"{name} is {value}, at least 1 is needed")
    for name, allowed in _CHOICES.items():
        value = getattr(options, name)
        if value is not None and value not in allowed:
            raise InputError(f"{name} is {value!r}, needs to be one of {', '.join(allowed)}")
    if options.sequence is not None and model.sequence is None:
        raise InputError(f"{model.name} trains on images and has no sequence length: leave it out")
    if model.max_sequence is not None and (options.sequence or 0) > model.max_sequence:
        raise InputError(
            f"sequence length {options.sequence} is too long for {model.name}: at most {model.max_sequence}"
        )
    if options.attention is not None and not model.attends:
        raise InputError(f"{model.name} has no attention to choose: leave it out")


_CHOICES = {
    "precision": get_args(Precision),
    "attention": get_args(Attention),
    "operators": get_args(Operators),
    "optimizer": get_args(OptimizerName),
    "checkpointing": get_args(Checkpointing),
}
