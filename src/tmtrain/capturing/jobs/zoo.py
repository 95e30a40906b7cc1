"""Builds the models of the catalog, with random weights, and their training step.

Note [Weights are not initialised]: under fake tensors initialisation costs time, and ``trunc_normal_`` even
needs values (it draws again until all are in range). It is skipped, and so is the tying of weights that it
ends with: that is called by hand.

Note [Mask of a causal model]: for plain full sequences torch's attention needs no mask tensor, and on real
tensors transformers builds none. On fake ones it cannot see that they are plain, and builds one for every
case, which changes the operators and, with grouped heads, copies keys and values. An attention registered
without a mask function gets no mask: what the batch of the zoo needs. T5 adds its position bias to the mask
and needs it.
"""

from contextlib import nullcontext
from typing import Any

import torch
import transformers
from transformers.initialization import no_init_weights
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tmtrain.capturing.jobs.adapters import add_adapters
from tmtrain.capturing.jobs.batches import make_batch
from tmtrain.capturing.jobs.checkpointing import checkpoint_blocks
from tmtrain.capturing.jobs.diffusion import DiffusionTransformer
from tmtrain.capturing.jobs.fused_modules import use_kernels
from tmtrain.capturing.jobs.job import TrainingJob
from tmtrain.capturing.jobs.models.zoo_model import ZooModel
from tmtrain.capturing.jobs.optimizers import make_optimizer
from tmtrain.capturing.jobs.options import ResolvedOptions
from tmtrain.capturing.jobs.scans import recomputed_scans
from tmtrain.capturing.jobs.windows import WINDOWED, windowed_attention

_MASKLESS = "tmtrain_sdpa"
transformers.AttentionInterface.register(_MASKLESS, sdpa_attention_forward)
transformers.AttentionInterface.register(WINDOWED, windowed_attention)

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "bf16-mixed": torch.bfloat16}
_ATTENTION = {"fused": "sdpa", "eager": "eager", None: None}
"""As transformers calls it."""


def build_job(model: ZooModel, options: ResolvedOptions) -> TrainingJob:
    """Build model, optimizer, batch and step, on real tensors or, under a fake tensor mode, fake ones.

    Args:
        model: From the catalog.
        options: From `tmtrain.capturing.jobs.catalog.resolve_options`.
    """
    network = _network(model, options)
    optimizer = make_optimizer(network, options)
    batch = make_batch(network, model, options, dtype=_DTYPES[options.precision])

    scans = recomputed_scans if model.config == "Mamba2Config" else nullcontext

    def step() -> None:
        with scans():
            network(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return TrainingJob(model=network, optimizer=optimizer, step=step, samples=options.batch)


def _network(model: ZooModel, options: ResolvedOptions) -> Any:
    network = _diffusion(model, options) if model.task == "Diffusion" else _of_transformers(model, options)
    if model.adapter_rank is not None:
        add_adapters(network, rank=model.adapter_rank)
    if options.checkpointing is not None:
        checkpoint_blocks(network, options.checkpointing, blocks=model.blocks)
    return network.train()


def _diffusion(model: ZooModel, options: ResolvedOptions) -> DiffusionTransformer:
    usual = torch.get_default_dtype()
    torch.set_default_dtype(_DTYPES[options.precision])
    try:
        return DiffusionTransformer(**model.fields, is_fused=options.attention != "eager")
    finally:
        torch.set_default_dtype(usual)


def _of_transformers(model: ZooModel, options: ResolvedOptions) -> Any:
    config = getattr(transformers, model.config)(**model.fields)
    config.use_cache = False
    head = getattr(transformers, f"AutoModelFor{model.task}")
    attention = _ATTENTION[options.attention]
    if attention == "sdpa" and model.task == "CausalLM":
        attention = WINDOWED if "sliding_window" in model.fields else _MASKLESS
    with no_init_weights():
        network = head.from_config(config, dtype=_DTYPES[options.precision], attn_implementation=attention)
    network.tie_weights()
    if network.loss_type is None:
        # transformers finds the loss by the class's name; that of GPT-2's head says nothing, and it logs so.
        network.loss_type = f"For{model.task}"
    if options.operators == "accelerator":
        use_kernels(network)
    return network
