"""Small trainings of the usual kinds, and what they leave behind, as one digest."""

import contextlib
import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers

from tmtrain.runtime.following.step_log import StepLog
from tmtrain.runtime.host.drive import DriveRates
from tmtrain.runtime.host.host import host_machine
from tmtrain.runtime.training import step_plans

HOST = host_machine(DriveRates(read_bytes_per_s=2e9, write_bytes_per_s=1e9, shared_bytes_per_s=2.5e9))
"""Whose drive nobody has to measure."""

_CONFIGS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "gpt2": ("GPT2Config", "CausalLM", {"n_layer": 2, "n_embd": 128, "n_head": 4, "n_positions": 128}),
    "llama": (
        "LlamaConfig",
        "CausalLM",
        {
            "hidden_size": 128,
            "intermediate_size": 344,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 128,
        },
    ),
    "bert": (
        "BertConfig",
        "MaskedLM",
        {
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
    ),
    "t5": (
        "T5Config",
        "Seq2SeqLM",
        {
            "d_model": 128,
            "d_kv": 32,
            "d_ff": 512,
            "num_layers": 2,
            "num_heads": 4,
            "decoder_start_token_id": 0,
        },
    ),
    "vit": (
        "ViTConfig",
        "ImageClassification",
        {
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "image_size": 64,
            "num_labels": 10,
        },
    ),
    "resnet": (
        "ResNetConfig",
        "ImageClassification",
        {
            "embedding_size": 32,
            "hidden_sizes": [64, 128],
            "depths": [2, 2],
            "layer_type": "bottleneck",
            "num_labels": 10,
        },
    ),
}
MODELS = tuple(_CONFIGS)
OPTIMIZERS = ("adamw", "sgd", "adafactor")
VOCABULARY = 1024
BATCH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SmallTraining:
    """A model, its optimizer, one step of theirs, and the batches."""

    model: torch.nn.Module
    optimizer: torch.optim.Optimizer
    step: Callable[[dict[str, torch.Tensor]], float]
    batches: Callable[[int], dict[str, torch.Tensor]]
    """By the number of the step: another one each time."""

    def digest(self, losses: list[float]) -> str:
        """A SHA-256 over losses, parameters, buffers and optimizer state."""
        digest = hashlib.sha256(repr(losses).encode())
        for _, tensor in [*self.model.named_parameters(), *self.model.named_buffers()]:
            digest.update(_bytes(tensor))
        for parameter in self.model.parameters():
            for _, value in sorted(self.optimizer.state[parameter].items()):
                digest.update(_bytes(value) if isinstance(value, torch.Tensor) else repr(value).encode())
        return digest.hexdigest()


def small_training(
    name: str, *, optimizer: str = "adamw", bf16: bool = False, **options: Any
) -> SmallTraining:
    """Build a training that starts from the same seed each time.

    Args:
        name: One of MODELS.
        optimizer: One of OPTIMIZERS.
        bf16: Under autocast.
        options: Of the optimizer.
    """
    torch.manual_seed(0)
    config_class, task, fields = _CONFIGS[name]
    images = task == "ImageClassification"
    tokens = (
        {} if images else {"vocab_size": VOCABULARY, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    )
    config = getattr(transformers, config_class)(**fields, **tokens)
    config.use_cache = False
    model = getattr(transformers, f"AutoModelFor{task}").from_config(config)
    model.loss_type = f"For{task}" if model.loss_type is None else model.loss_type
    model.train()
    torch_optimizer = _optimizer(model, optimizer, options)

    def step(batch: dict[str, torch.Tensor]) -> float:
        cast = torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()
        with cast:
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0, foreach=False)
        torch_optimizer.step()
        torch_optimizer.zero_grad()
        return loss.item()

    def batches(number: int) -> dict[str, torch.Tensor]:
        dice = torch.Generator().manual_seed(number)
        if images:
            pixels = torch.randn(BATCH, 3, 64, 64, generator=dice)
            return {"pixel_values": pixels, "labels": torch.randint(0, 10, (BATCH,), generator=dice)}
        ids = torch.randint(1, VOCABULARY, (BATCH, 64), generator=dice)
        return {"input_ids": ids, "labels": ids}

    return SmallTraining(model=model, optimizer=torch_optimizer, step=step, batches=batches)


def _optimizer(model: torch.nn.Module, name: str, options: dict[str, Any]) -> torch.optim.Optimizer:
    if name == "adafactor":
        return transformers.Adafactor(model.parameters(), lr=1e-3, scale_parameter=False, relative_step=False)
    options = {"foreach": False} | options
    if name == "sgd":
        return torch.optim.SGD(model.parameters(), lr=1e-2, momentum=0.9, **options)
    return torch.optim.AdamW(model.parameters(), lr=1e-3, **options)


def _bytes(tensor: torch.Tensor) -> bytes:
    return (
        tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()
        if tensor.dim()
        else repr(tensor.item()).encode()
    )


def plan_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the same plans on every host, and keep them: as if each operator took 200 us, however busy the host is.

    The first step after another plan would begin with what that one has left.
    """

    def ran(self: StepLog, op: int, *, seconds: float) -> None:
        self.seconds[op] = 2e-4

    monkeypatch.setattr(StepLog, "ran", ran)
    monkeypatch.setattr(step_plans, "DRIFT", math.inf)
    monkeypatch.setattr(step_plans, "DRIVE_DRIFT", math.inf)
