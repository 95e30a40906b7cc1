"""Activation checkpointing: a model whose blocks are recomputed in backward instead of kept.

Note [Selective checkpointing]: "selective" keeps, inside each block, the results of matrix products,
convolutions and fused attention, and recomputes the rest: torch's selective activation checkpointing with
the list of operators of torchtitan (github.com/pytorch/torchtitan, `torchtitan/models/llama3/infra/parallelize.py`,
``_op_sac_save_list``, and `torchtitan/distributed/activation_checkpoint.py`; read 2026-11-24). What differs:

* every matrix product of a weight is kept; torchtitan has also had a variant that recomputes every second
  one;
* ``addmm`` (a layer with bias) and ``convolution`` are added, which Llama lacks; the collectives, the maximum
  for fp8 and compiled regions are left out, which our steps lack;
* batched products (``bmm``) are recomputed. Only unfused attention has them; a fused kernel keeps no scores. They
  are cheap and their results are large: gpt2-xl with a CPU's operators peaks at 25.1 GiB for 3 % more FLOPs than
  the plain step, at 64.9 GiB with them kept. It is also what "selective" means in Korthikanti et al., "Reducing
  Activation Recomputation in Large Transformer Models" (2022).

As in torch, the result of a listed operator is kept even where backward does not need it.
"""

import functools
import re
from collections.abc import Callable
from typing import Any

import torch
from torch._ops import OpOverload
from torch.utils.checkpoint import checkpoint, create_selective_checkpoint_contexts

from tmtrain.capturing.jobs.options import Checkpointing

_aten = torch.ops.aten
KEPT: tuple[OpOverload, ...] = (
    _aten.mm.default,
    _aten.addmm.default,
    _aten.convolution.default,
    _aten._scaled_dot_product_flash_attention.default,
    _aten._scaled_dot_product_flash_attention_for_cpu.default,
    _aten._scaled_dot_product_efficient_attention.default,
    _aten._scaled_dot_product_cudnn_attention.default,
    _aten._scaled_dot_product_fused_attention_overrideable.default,
)
"""Operators whose results selective checkpointing keeps."""


def checkpoint_blocks(network: Any, kind: Checkpointing, *, blocks: str | None) -> None:
    """Recompute the blocks of `network` in backward from here on.

    Random operators draw the same numbers as before, so the gradients are those of the plain step. The running
    statistics of batch norm are not: the second computation updates them again from the same batch, as one update
    with momentum ``1 - (1 - momentum)**2`` would (and ``num_batches_tracked`` counts two). Training does not read
    them; evaluation does.

    Args:
        network: A model of transformers.
        kind: What is kept inside a block: "full" nothing, "selective" see Note [Selective checkpointing].
        blocks: Regular expression of the paths of the blocks; None for those that transformers knows.
    """
    settings = _settings(kind)
    if blocks is None:
        network.activation_checkpointing_enable(settings)
        return
    modules = [module for path, module in network.named_modules() if re.fullmatch(blocks, path)]
    assert modules, f"no module of {type(network).__name__} is called {blocks}"
    for block in modules:
        # The forward alone, as transformers does it: hooks of the block itself run once.
        block.forward = _recomputed(block.forward, settings)


def _settings(kind: Checkpointing) -> dict[str, Any]:
    # The reentrant kind runs backward inside backward and cannot stop recomputing early.
    settings: dict[str, Any] = {"use_reentrant": False}
    if kind == "selective":
        settings["context_fn"] = functools.partial(create_selective_checkpoint_contexts, list(KEPT))
    return settings


def _recomputed(forward: Callable[..., Any], settings: dict[str, Any]) -> Callable[..., Any]:
    return functools.partial(checkpoint, forward, **settings)
