"""Modules that transformers writes in single operators and that training on accelerators has one kernel for.

Note [Kernels of the zoo]: PyTorch runs what the model says, and says so for a user's own model. But nobody trains these
models with seven operators per norm: Megatron-LM, torchtitan and Liger take a fused RMS norm, Megatron-LM and nanoGPT one
GELU. Both compute the same function. Dropping in is for the zoo alone, and only with an accelerator's operators.
"""

import functools

import torch
from transformers.activations import ACT2FN


def use_kernels(network: torch.nn.Module) -> None:
    """Let the RMS norms and the GELUs of `network` be one operator each."""
    for module in network.modules():
        kind = type(module).__name__
        if kind.endswith("RMSNorm") or kind == "T5LayerNorm":
            weight = module.weight
            module.forward = functools.partial(_rms_norm, weight=weight, eps=module.variance_epsilon)
        elif kind == "NewGELUActivation":
            module.forward = ACT2FN["gelu_pytorch_tanh"].forward


def _rms_norm(hidden_states: torch.Tensor, *, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return torch.rms_norm(hidden_states, weight.shape, weight, eps)
