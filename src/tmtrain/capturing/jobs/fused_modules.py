"""Modules that transformers writes in single operators and that training on accelerators has one kernel for.

Note [Kernels of the zoo]: of a user's own model PyTorch runs what it says, and so do we. But nobody trains the models of
the zoo with seven operators per norm: Megatron-LM, torchtitan and Liger take a fused RMS norm, Megatron-LM and nanoGPT one
GELU, Apex and Liger a cross-entropy that reads the logits as they are (transformers makes an fp32 copy before). Each
computes the same function. Only the zoo has them, and only with an accelerator's operators.
"""

import functools
from typing import Any

import torch
from torch.nn.functional import cross_entropy, pad
from transformers.activations import ACT2FN

_IGNORED = -100


def use_kernels(network: Any) -> None:
    """Let the RMS norms, the GELUs and the loss of a model of transformers be one operator each."""
    for module in network.modules():
        kind = type(module).__name__
        if kind.endswith("RMSNorm") or kind == "T5LayerNorm":
            module.forward = functools.partial(_rms_norm, module)
        elif kind == "NewGELUActivation":
            module.forward = ACT2FN["gelu_pytorch_tanh"].forward
    if network.loss_type in _LOSSES:
        network.loss_function = _LOSSES[network.loss_type]


def _rms_norm(module: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    weight = module.weight
    return torch.rms_norm(hidden_states, weight.shape, weight, module.variance_epsilon)


def _causal_loss(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **_: Any) -> torch.Tensor:
    return _masked_loss(logits, pad(labels, (0, 1), value=_IGNORED)[..., 1:], vocab_size)


def _masked_loss(logits: torch.Tensor, labels: torch.Tensor, vocab_size: int, **_: Any) -> torch.Tensor:
    return cross_entropy(logits.view(-1, vocab_size), labels.reshape(-1), ignore_index=_IGNORED)


_LOSSES = {"ForCausalLM": _causal_loss, "ForMaskedLM": _masked_loss}
